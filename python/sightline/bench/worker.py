"""Runs contenders in an environment of their own: one JSON request per line, one answer per line.

{"do": "open", "subject", "names", ...} -> {"opened": [name]}: the contenders that have the program.
    Closes what was open before. The other keys are arguments of `make` in <subject>/programs.py
{"do": "result", "name", "file"} -> {"seconds", "stats"}: of one run, whose arrays, if any, are
    written as .npz
{"do": "sample", "name", "calls"} -> {"seconds"}
{"do": "versions", "subject"} -> {"versions": {name: version}}: of the contenders that are installed

Requests come from the command line, after which the process ends, or from standard input. Nothing
that is imported here may import sightline, except our own contender.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .silent import silent
from .timing import sample


@dataclass(frozen=True)
class Program:
    """What a contender runs, and how its result is read."""

    run: Callable[[], Any]
    arrays: Callable[[Any], Sequence[np.ndarray] | None]
    stats: Callable[[Any], list[float]] = lambda found: []
    device: str = "cpu"


class Worker:
    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}

    def versions(self, subject: str) -> dict[str, Any]:
        return {"versions": _programs_of(subject).versions()}

    def open(self, subject: str, names: list[str], **given: Any) -> dict[str, Any]:
        self.programs.clear()  # first frees the inputs of the last benchmark
        with silent():
            for name in names:
                program = _programs_of(subject).make(name, **given)
                if program:
                    self.programs[name] = program
        return {"opened": list(self.programs)}

    def result(self, name: str, file: str = "") -> dict[str, Any]:
        program = self.programs[name]
        with silent():
            start = time.perf_counter()
            found = program.run()
            seconds = time.perf_counter() - start
            stats = program.stats(found)
            arrays = program.arrays(found) if file else None
        if arrays is not None:
            np.savez(file, *arrays)
        return {"seconds": seconds, "stats": stats}

    def sample(self, name: str, calls: int) -> dict[str, Any]:
        program = self.programs[name]
        with silent():
            return {"seconds": sample(program.run, calls, program.device)}


def _programs_of(subject: str) -> Any:
    return importlib.import_module(f".{subject}.programs", __package__)


def main() -> None:
    # Libraries may print, so only the answers go to what was standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.argv[2:] or sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
