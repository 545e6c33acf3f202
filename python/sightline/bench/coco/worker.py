"""Runs one contender in a process of its own.

{"do": "start", "name", "threads"} -> {"version"}
{"do": "open", "program", "kind", "gt", "dt", "columns", "images"} -> {}: ready to run
{"do": "result", "file"} -> {"seconds", "stats"}: the first run, its arrays as .npz where it has any
{"do": "sample", "calls"} -> {"seconds"}

`once.py` is the same as a whole process.
"""

import importlib
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..serve import serve
from ..silent import silent
from .programs import Programs

BATCH = 16  # images
REPLICATES = 1_000


def contender(name: str) -> Programs:
    module = importlib.import_module(f".contenders.{name.replace('-', '_')}", __package__)
    return module.PROGRAMS


class Worker:
    def __init__(self) -> None:
        self.programs: Programs = Programs()
        self.run: Callable[[], Any] = dict
        self.evaluated: Any = None  # what arrays come from, where the program gives none itself

    def start(self, name: str, threads: int) -> dict[str, Any]:
        with silent():
            self.programs = contender(name)
            self.programs.set_threads(threads)
        return {"version": importlib.metadata.version(self.programs.distribution)}

    def open(
        self, program: str, kind: str, gt: str, dt: str, columns: str, images: int
    ) -> dict[str, Any]:
        programs = self.programs
        with silent():
            if program == "files":
                self.run = lambda: programs.files(gt, dt, kind)
            elif program == "stream":
                batches = programs.batches(columns, BATCH, images)
                self.run = lambda: programs.stream(batches)
            else:
                loaded = programs.load(gt, dt, columns, kind)
                self.run = lambda: programs.evaluate(loaded, kind)
            if program in ("accumulate", "sort_and_accumulate", "bootstrap"):
                evaluated = self.evaluated = self.run()
                again = getattr(programs, program)
                given = (REPLICATES,) if program == "bootstrap" else ()
                self.run = lambda: again(evaluated, *given)
        return {}

    def result(self, file: str) -> dict[str, Any]:
        with silent():
            start = time.perf_counter()
            found = self.run()
            seconds = time.perf_counter() - start
            evaluated = found if self.evaluated is None else self.evaluated
            stats, arrays = self.programs.stats(evaluated), self.programs.arrays(evaluated)
        if arrays is not None:
            np.savez(file, *arrays)
        return {"seconds": seconds, "stats": stats}

    def sample(self, calls: int) -> dict[str, Any]:
        with silent():
            start = time.perf_counter()
            for _ in range(calls):
                self.run()
            return {"seconds": time.perf_counter() - start}


def main() -> None:
    serve(Worker())
