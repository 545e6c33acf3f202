"""Programs with their inputs, in our own process and in a worker."""

import importlib
import importlib.metadata
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from ..device import ARRAYS, torch
from ..worker import Program
from .benchmark import OpBenchmark
from .suites import find

Call = partial[Any]  # a function with all its arguments

_IN_WORKER = ("torchvision",)


def versions() -> dict[str, str]:
    """The versions of the contenders that a worker has."""
    return {name: importlib.metadata.version(name) for name in _IN_WORKER if contender(name)}


def make(name: str, benchmark: str, shape: list[int], device: str, threads: int) -> Program | None:
    """A contender's program for a worker; None if it has none."""
    torch.set_num_threads(threads)
    programs = contender(name)
    call = bind(programs, find(benchmark, tuple(shape)), device) if programs else None
    return Program(call, arrays_of, device=device) if call else None


def contender(name: str) -> ModuleType | None:
    """The module of that name, or None if what it needs is missing or cannot be imported."""
    try:
        return importlib.import_module(f".contenders.{name}", __package__)
    except (
        ImportError,
        OSError,
        RuntimeError,
    ):  # RuntimeError: a torchvision built for another torch
        return None


def bind(programs: ModuleType, benchmark: OpBenchmark, device: str) -> Call | None:
    """The benchmark's program with its inputs on the device; None if there is none."""
    function = getattr(programs, benchmark.program, None)
    if function is None:
        return None
    inputs: Any = benchmark.inputs()
    if device != ARRAYS:
        inputs = [torch.from_numpy(array).to(device) for array in inputs]
    return partial(function, *inputs)


def arrays_of(result: Any) -> list[np.ndarray]:
    """The tensors of a result as arrays, in order."""
    return [p if isinstance(p, np.ndarray) else p.cpu().numpy() for p in parts_of(result)]


def parts_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
