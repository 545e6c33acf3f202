"""Programs of one process, made ready to be checked and sampled; ours and the worker's alike."""

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

Call = partial[Any]  # a function bound to all it takes

_IN_WORKER = ("torchvision",)


def versions() -> dict[str, str]:
    """Of the contenders that a worker has."""
    return {name: importlib.metadata.version(name) for name in _IN_WORKER if contender(name)}


def make(name: str, benchmark: str, shape: list[int], device: str, threads: int) -> Program | None:
    """A contender's program for a worker; None where it has none."""
    torch.set_num_threads(threads)
    programs = contender(name)
    call = bind(programs, find(benchmark, tuple(shape)), device) if programs else None
    return Program(call, arrays_of, device=device) if call else None


def contender(name: str) -> ModuleType | None:
    """The programs of that name, or None where what they need is not installed or does not load."""
    try:
        return importlib.import_module(f".contenders.{name}", __package__)
    except (ImportError, OSError, RuntimeError):  # a torchvision that does not fit its torch: last
        return None


def bind(programs: ModuleType, benchmark: OpBenchmark, device: str) -> Call | None:
    """The benchmark's program bound to its inputs on the device; None where there is none."""
    function = getattr(programs, benchmark.program, None)
    if function is None:
        return None
    inputs: Any = benchmark.inputs()
    if device != ARRAYS:
        inputs = [torch.from_numpy(array).to(device) for array in inputs]
    return partial(function, *inputs)


def arrays_of(result: Any) -> list[np.ndarray]:
    """The tensors of a result, in order, as arrays."""
    return [p if isinstance(p, np.ndarray) else p.cpu().numpy() for p in parts_of(result)]


def parts_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
