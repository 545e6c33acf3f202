"""The cases of many ops in turns, so that all get an equal share of a limited time."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from . import run_case


@dataclass
class Progress:
    """How far one op is. With a `failure`, its case number `cases` is the one that failed."""

    cases: int = 0
    seconds: float = 0.0
    failure: str = ""


class Record:
    """A folder with the progress of every op, and the case that runs now: what is left of a
    process that a case ended."""

    def __init__(self, folder: Path) -> None:
        self._progress, self._running = folder / "progress.json", folder / "running"
        self._file = os.open(self._running, os.O_RDWR | os.O_CREAT)

    def read(self) -> dict[str, Progress]:
        if not self._progress.exists():
            return {}
        return {name: Progress(**p) for name, p in json.loads(self._progress.read_text()).items()}

    def write(self, progress: dict[str, Progress]) -> None:
        new = self._progress.with_suffix(".new")
        new.write_text(json.dumps({name: asdict(p) for name, p in progress.items()}))
        new.replace(self._progress)

    def starts(self, name: str, case: int) -> None:
        os.pwrite(self._file, f"{name} {case}".ljust(80).encode(), 0)

    def running(self) -> tuple[str, int] | None:
        name, _, case = os.pread(self._file, 80, 0).decode().strip().partition(" ")
        return (name, int(case)) if case else None

    def idle_seconds(self) -> float:
        return time.time() - self._running.stat().st_mtime

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True)
class Limits:
    """An op ends after `cases(module)` of them, or `seconds`; all end at `deadline`, in seconds of
    `time.time`. A turn takes `turn` seconds."""

    cases: Callable[[ModuleType], float]
    seconds: float = float("inf")
    deadline: float = float("inf")
    turn: float = float("inf")


def take_turns(
    ops: dict[str, ModuleType],
    seed: int,
    limits: Limits,
    again: Callable[[str, int], str],
    record: Record | None = None,
    first: int = 0,
) -> dict[str, Progress]:
    """The progress of every op, from case `first` or from that of `record` on. An op ends with its
    first failure, which is printed with the command `again`; the others go on."""
    known = record.read() if record else {}
    progress = {name: known.get(name, Progress(first)) for name in ops}

    def left(name: str) -> bool:
        p = progress[name]
        within = p.cases < limits.cases(ops[name]) and p.seconds < limits.seconds
        return within and not p.failure and time.time() < limits.deadline

    def take_turn(name: str) -> None:
        p = progress[name]
        start, before = time.monotonic(), p.seconds
        while left(name) and p.seconds - before < limits.turn:
            if record:
                record.starts(name, p.cases)
            try:
                run_case(ops[name], seed, p.cases)
            except Exception as error:
                p.failure = first_line(error)
                traceback.print_exc()
                print(f"{name} failed; again: {again(name, p.cases)}", file=sys.stderr, flush=True)
            else:
                p.cases += 1
            p.seconds = before + time.monotonic() - start

    while waiting := [name for name in ops if left(name)]:
        for name in waiting:
            take_turn(name)
            if record:
                record.write(progress)
            elif not (p := progress[name]).failure:
                print(f"{name}: {p.cases - first} cases, {p.seconds:.1f} s", flush=True)
    return progress


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
