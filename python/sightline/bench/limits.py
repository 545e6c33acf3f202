"""The time that the machine needs for the part of a benchmark that no implementation can avoid.

Each function takes the inputs of a benchmark and our result, and returns the passes to sample
beside the contenders: name -> (run, how many of them make up the benchmark). The fastest is the
limit.
"""

import mmap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sightline import _numpy, ops

from .device import torch

Array = Any  # a torch.Tensor or a numpy.ndarray

_HUGE_PAGES = hasattr(mmap, "MADV_HUGEPAGE")

Passes = dict[str, tuple[Callable[[], object], float]]


def fill(inputs: list[Array], result: list[Array]) -> Passes:
    """Writing an output of that size into memory that was written before."""
    (out,) = result
    if _is_cuda(out):
        return {"fill": (lambda: out.fill_(0.5), 1), **_copy(out)}
    room = aligned(out.nbytes // 4)
    return {
        "fill": (lambda: _numpy.fill_memory(room, 0.5, False), 1),
        "streaming fill": (lambda: _numpy.fill_memory(room, 0.5, True), 1),
    }


def fill_fresh(inputs: list[Array], result: list[Array]) -> Passes:
    """Allocating an output of that size and writing it; on a CPU also in huge pages."""
    (out,) = result
    if isinstance(out, np.ndarray):
        passes: Passes = {"fresh fill": (lambda: np.full_like(out, 0.5), 1)}
    else:
        passes = {"fresh fill": (lambda: torch.empty_like(out).fill_(0.5), 1)}
    if not _is_cuda(out) and _HUGE_PAGES:
        for name, streaming in (("huge pages", False), ("huge pages, streaming", True)):
            fill_room = partial(_numpy.fill_memory, value=0.5, streaming=streaming)
            in_pages = partial(_in_huge_pages, _whole_pages(out.nbytes), fill_room)
            passes[f"fresh fill, {name}"] = (in_pages, 1)
    return passes


def copy_fresh(size: int) -> Callable[[], object]:
    """Allocating `size` bytes and copying as many into them; in huge pages if the system can."""
    source = aligned(_whole_pages(size) // 4)
    if not _HUGE_PAGES:
        return torch.from_numpy(source).clone
    copy = partial(_numpy.copy_memory, source, streaming=False)
    return partial(_in_huge_pages, source.nbytes, copy)


def _in_huge_pages(size: int, use: Callable[[np.ndarray], object]) -> None:
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        pages.madvise(mmap.MADV_HUGEPAGE)
        room = np.frombuffer(pages, np.float32)
        use(room)
        del room  # otherwise the pages cannot be closed


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def read(inputs: list[Array], result: list[Array]) -> Passes:
    """Reading the inputs."""
    count = sum(x.nbytes for x in inputs) // 4
    if _is_cuda(inputs[0]):
        room = torch.zeros(count, device="cuda")
        return {"read": (lambda: room.sum(), 1)}
    words = aligned(count).view(np.uint32)
    return {"read": (lambda: _numpy.read_memory(words), 1)}


def sort(inputs: list[Array], result: list[Array]) -> Passes:
    """Sorting as many keys of 64 bits, score and index."""
    _, scores, *_ = inputs
    if _is_cuda(scores):
        return {"sort": (lambda: scores.sort(descending=True), 1)}
    keys = np.random.default_rng(0).integers(0, 2**63, len(scores), dtype=np.uint64)
    return {"sort": (lambda: np.sort(keys), 1)}


def pairs(inputs: list[Array], result: list[Array]) -> Passes:
    """`box_iou` of as many pairs, into an output that stays in the cache."""
    boxes1, boxes2, *_ = inputs
    rows = max(1, min(len(boxes1), 100_000 // len(boxes2)))
    part = boxes1[:rows]
    out: Array
    if isinstance(part, np.ndarray):
        out = np.empty((rows, len(boxes2)), np.float32)
    else:
        out = torch.empty(rows, len(boxes2), device=part.device)
    return {"pairs": (lambda: ops.box_iou(part, boxes2, out=out), len(boxes1) / rows)}


def _is_cuda(array: Array) -> bool:
    return not isinstance(array, np.ndarray) and array.is_cuda


def _copy(out: Array) -> Passes:
    """Half of the bytes read and half written: the copy bandwidth that is quoted for GPUs."""
    half = out.flatten()[: max(1, out.numel() // 2)]
    other = torch.empty_like(half)
    return {"copy": (lambda: other.copy_(half), 1)}


def copies(size: int, device: str) -> dict[str, Callable[[], object]]:
    """Copies of `size` bytes into memory that was written before."""
    if device == "cuda":
        a, b = (torch.zeros(size, dtype=torch.uint8, device="cuda") for _ in range(2))
        return dict.fromkeys(("copy", "streaming copy"), lambda: b.copy_(a))
    source, target = aligned(size // 4), aligned(size // 4)
    return {
        "copy": lambda: _numpy.copy_memory(source, target, False),
        "streaming copy": lambda: _numpy.copy_memory(source, target, True),
    }


def aligned(count: int) -> np.ndarray:
    """At least `count` float32, a multiple of 16 of them, aligned to 64 bytes and written."""
    count = max(16, -(-count // 16) * 16)
    raw = np.zeros(count + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    room = raw[start : start + count]
    room[:] = 1
    return room
