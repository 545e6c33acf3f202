"""What tests of emulated kernels share: pointers to arrays, and what a call asked of the device."""

import ctypes
from typing import NamedTuple

import numpy as np


class Counters(NamedTuple):
    kernels: int
    library_calls: int  # sorts and selections that CUB does on a GPU, in several launches
    fills: int
    copies_to_host: int
    synchronisations: int
    barriers: int  # that blocks passed: a measure of how far kernels went


def start(library: ctypes.CDLL, seed: int) -> None:
    """Sets the counters to zero and draws the order in which threads and blocks run.

    With an odd seed grids get three blocks at most, so that kernels must loop over the rest.
    """
    library.cuda_on_cpu_start(ctypes.c_uint(seed), ctypes.c_uint(3 if seed % 2 else 0))


def counters(library: ctypes.CDLL) -> Counters:
    values = np.zeros(len(Counters._fields), np.int64)
    library.cuda_on_cpu_counters(pointer(values))
    return Counters(*values.tolist())


def pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    if array is None:
        return ctypes.c_void_p()
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def garbage(shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
    """An output that no kernel has written yet."""
    out = np.empty(shape, dtype)
    out.view(np.uint8).fill(0xB7)
    return out
