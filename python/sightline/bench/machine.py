"""What the figures were taken on: processor, instruction set, versions, and bandwidths."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sightline
from sightline import _numpy

from .device import ARRAYS, torch
from .limits import aligned, copies
from .timing import sample

_FLOATS = 2**25  # 128 MiB per array: several times any cache that one thread may use alone
_REPEATS = 5


def describe(device: str, threads: int) -> dict[str, Any]:
    """Names, counts and versions."""
    found = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "inputs": "arrays" if device == ARRAYS else "tensors",
        "instruction set": _numpy.isa(),
        "threads": threads,
        "cores": len(os.sched_getaffinity(0)),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {
            "sightline": sightline.__version__,
            "python": platform.python_version(),
            **({"torch": importlib.metadata.version("torch")} if torch else {}),
            "numpy": importlib.metadata.version("numpy"),
        },
    }
    if device == "cuda":
        from sightline import _load

        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
        found["kernels built for"] = _load.cuda_architectures
        found["versions"]["cuda"] = torch.version.cuda
    return found


def require_cuda() -> None:
    """Raise ValueError with the reason if there is no CUDA device to time on."""
    if torch is None:
        raise ValueError("no CUDA device: torch is not installed; pip install 'sightline[torch]'")
    if torch.version.cuda is None:
        raise ValueError(f"no CUDA device: torch {torch.__version__} is a build without CUDA")
    if not torch.cuda.is_available():
        raise ValueError("no CUDA device: torch finds no usable GPU; --device cpu times the CPU")
    from sightline import _load

    if not _load.cuda_architectures:
        raise ValueError(
            "no CUDA kernels: sightline was built without; rebuild with SIGHTLINE_CUDA=ON"
        )


def bandwidths(device: str) -> dict[str, float]:
    """Best of a few passes over large arrays, in GB/s; a copy counts what it reads and writes."""
    return _cuda_bandwidths() if device == "cuda" else _cpu_bandwidths()


def launch_floor() -> float:
    """Seconds of a CUDA kernel that does almost nothing, launched back to back."""
    one = torch.zeros(1, device="cuda")
    return min(sample(lambda: one.fill_(1), 1000, "cuda") / 1000 for _ in range(_REPEATS))


def _cpu_bandwidths() -> dict[str, float]:
    a = aligned(_FLOATS)
    words = a.view(np.uint32)
    return {
        "read": _best(lambda: _numpy.read_memory(words), a.nbytes),
        "fill": _best(lambda: _numpy.fill_memory(a, 0.5, False), a.nbytes),
        "streaming fill": _best(lambda: _numpy.fill_memory(a, 0.5, True), a.nbytes),
        **{name: _best(run, 2 * a.nbytes) for name, run in copies(a.nbytes, "cpu").items()},
    }


def _cuda_bandwidths() -> dict[str, float]:
    a, b = (torch.zeros(2**28, device="cuda") for _ in range(2))
    passes: dict[str, tuple[Callable[[], object], int]] = {
        "read": (a.sum, 1),
        "fill": (lambda: a.fill_(0.5), 1),
        "copy": (lambda: b.copy_(a), 2),
    }
    return {
        name: 1e-9 * moved * a.nbytes / min(sample(run, 5, "cuda") / 5 for _ in range(_REPEATS))
        for name, (run, moved) in passes.items()
    }


def _best(run: Callable[[], object], moved: int) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1e-9 * moved / min(seconds)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
