"""Programs of one process, made ready to be checked and sampled; ours and the worker's alike."""

import importlib
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from .work import Work

try:
    import torch
except (ImportError, OSError):  # arrays alone, then
    torch = None  # type: ignore[assignment]

Program = partial[Any]  # a function bound to all it takes

# The `device` of inputs that are NumPy arrays; those on others are tensors.
ARRAYS = "arrays"


def contender(name: str) -> ModuleType | None:
    """The programs of that name, or None where what they need is not installed or does not load."""
    try:
        return importlib.import_module(f".contenders.{name}", __package__)
    except (ImportError, OSError, RuntimeError):  # a torchvision that does not fit its torch: last
        return None


def program(programs: ModuleType, work: Work, device: str) -> Program | None:
    """The benchmark's program bound to its inputs on the device; None where there is none."""
    function = getattr(programs, work.program, None)
    if function is None:
        return None
    inputs: Any = work.inputs()
    if device != ARRAYS:
        inputs = [torch.from_numpy(array).to(device) for array in inputs]
    return partial(function, *inputs)


def arrays_of(result: Any) -> list[np.ndarray]:
    """The tensors of a result, in order, as arrays."""
    return [p if isinstance(p, np.ndarray) else p.cpu().numpy() for p in parts_of(result)]


def parts_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def sample(run: Callable[[], object], calls: int, device: str) -> float:
    """Seconds of so many calls, one after another."""
    if device == "cuda":
        return _sample_cuda(run, calls)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


def _sample_cuda(run: Callable[[], object], calls: int) -> float:
    """By events on the stream, which see the host's pauses between launches, too."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3
