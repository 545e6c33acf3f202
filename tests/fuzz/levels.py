"""The random cases at every instruction set of the machine: a process for each, all at once."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sightline import _numpy

from ..ops.isa import LEVELS
from .turns import Progress, Record

# A case takes less than a second on a quiet machine.
STUCK_SECONDS = 300


def levels_of_machine() -> list[str]:
    """Widest first."""
    return list(LEVELS[: LEVELS.index(_numpy.isa()) + 1][::-1])


def command_of(level: str, name: str, seed: int, case: int) -> str:
    return f"SIGHTLINE_ISA={level} python -m tests.fuzz {name} --seed {seed} --case {case}"


class Level:
    """The process of one instruction set, started anew after a case that ended it."""

    def __init__(self, name: str, folder: Path, arguments: list[str], deadline: float) -> None:
        self.name, self._deadline = name, deadline
        folder.mkdir()
        self.record = Record(folder)
        self._arguments = ["--record", str(folder), *arguments]
        self._start()

    def _start(self) -> None:
        arguments = [sys.executable, "-m", "tests.fuzz", *self._arguments]
        if self._deadline < float("inf"):
            arguments += ["--until", str(self._deadline)]
        environment = {**os.environ, "SIGHTLINE_ISA": self.name}
        self._process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)

    def ended(self) -> bool:
        """Whether it is done with all its ops; one that a case ended goes on with the others."""
        status = self._process.poll()
        if status is None:
            if self.record.idle_seconds() < STUCK_SECONDS:
                return False
            self.stop()
            self._lost(f"did not end within {STUCK_SECONDS} s")
            return False
        if status in (0, 1):
            return True
        signalled = signal.Signals(-status).name if status < 0 else f"status {status}"
        self._lost(f"ended the process with {signalled}")
        return False

    def _lost(self, failure: str) -> None:
        running = self.record.running()
        if running is None:
            raise RuntimeError(f"the process of {self.name} {failure} before its first case")
        name, case = running
        progress = self.record.read()
        before = progress.get(name, Progress())
        if before.failure:
            raise RuntimeError(f"the process of {self.name} {failure} outside of a case")
        progress[name] = Progress(case, before.seconds, failure)
        self.record.write(progress)
        self._start()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def run_levels(
    levels: list[str], names: list[str], seed: int, minutes: float | None, options: list[str]
) -> int:
    """The exit status: 1 where an op failed at some level, or had no time for a case. `options` go
    to the process of every level."""
    start = time.time()
    deadline = start + 60 * minutes if minutes is not None else float("inf")
    arguments = [*names, "--seed", str(seed), *options]
    with tempfile.TemporaryDirectory() as folder:
        running = [Level(name, Path(folder, name), arguments, deadline) for name in levels]
        complete = False
        try:
            while not all([level.ended() for level in running]):
                time.sleep(0.2)
            complete = True
        except KeyboardInterrupt:
            pass
        finally:
            for level in running:
                level.stop()
        found = {level.name: level.record.read() for level in running}
        for level in running:
            level.record.close()
    print_table(names, seed, found)
    elapsed = (time.time() - start) / 60
    print(f"{'ended' if complete else 'interrupted'} after {elapsed:.1f} minutes", end="; ")
    return report_failures(names, seed, found) if complete else 1


def print_table(names: list[str], seed: int, found: dict[str, dict[str, Progress]]) -> None:
    width = max(map(len, names))
    print(f"{'op':{width}} {'cases':>7} {'seconds':>8} {'level':8} seed")
    for name in names:
        for level, progress in found.items():
            p = progress.get(name, Progress())
            row = f"{name:{width}} {p.cases:7} {p.seconds:8.1f} {level:8} {seed:4}"
            print(f"{row}  FAILED: {p.failure}" if p.failure else row)


def report_failures(names: list[str], seed: int, found: dict[str, dict[str, Progress]]) -> int:
    failed = [
        command_of(level, name, seed, progress[name].cases)
        for name in names
        for level, progress in found.items()
        if name in progress and progress[name].failure
    ]
    idle = [n for n in names if any(p.get(n, Progress()) == Progress() for p in found.values())]
    if failed:
        print(f"{len(failed)} failed; again:", *failed, sep="\n  ")
    if idle:
        print(f"no time for a case of {', '.join(idle)}: give it more --minutes")
    if not failed and not idle:
        print("no case failed")
    return int(bool(failed or idle))
