"""Runs contenders in an environment of their own: one JSON request a line, one answer a line.

{"do": "contenders"} -> {"contenders": {name: version}}
{"do": "open", "work", "shape", "names", "device", "threads"} -> {"opened": [name]}: those that have
    its program; what was open before is dropped
{"do": "result", "name", "file"} -> {}: what the program gives, as an .npz
{"do": "sample", "name", "calls"} -> {"seconds"}
"""

import importlib.metadata
from typing import Any

import numpy as np
import torch

from .run_program import Program, arrays_of, contender, program, sample
from .serve import serve
from .suites import find

PEERS = ("torchvision",)


class Worker:
    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}
        self.device = "cpu"

    def contenders(self) -> dict[str, Any]:
        found = [name for name in PEERS if contender(name)]
        return {"contenders": {name: importlib.metadata.version(name) for name in found}}

    def open(
        self, work: str, shape: list[int], names: list[str], device: str, threads: int
    ) -> dict[str, Any]:
        torch.set_num_threads(threads)
        self.device = device
        self.programs.clear()  # frees the inputs of the last work first
        for name in names:
            programs = contender(name)
            run = program(programs, find(work, tuple(shape)), device) if programs else None
            if run:
                self.programs[name] = run
        return {"opened": list(self.programs)}

    def result(self, name: str, file: str) -> dict[str, Any]:
        np.savez(file, *arrays_of(self.programs[name]()))
        return {}

    def sample(self, name: str, calls: int) -> dict[str, Any]:
        return {"seconds": sample(self.programs[name], calls, self.device)}


def main() -> None:
    serve(Worker())
