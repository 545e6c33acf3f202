"""Runs contenders in an environment of their own: one JSON request per line, one answer per line.

{"do": "open", "subject", "names", ...} -> {"opened": [name]}: those that have the program; what was
    open before is dropped. `subject` is the folder whose programs.py makes programs of the rest
{"do": "result", "name", "file"} -> {"seconds", "stats"}: one run, its arrays as an .npz where it
    has any
{"do": "sample", "name", "calls"} -> {"seconds"}
{"do": "versions", "subject"} -> {"versions": {name: version}}: the contenders that there are

Requests come from the command line, after which the process ends, or from standard input. Nothing
that is loaded here may import sightline, except our own contender.
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
    """What a contender runs, bound to all that it takes, and how its result is read."""

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
        self.programs.clear()  # frees the inputs of the last benchmark first
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
    # Libraries may print: only answers go to what was standard output.
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
