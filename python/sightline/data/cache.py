"""Keeps decoded images in memory that the processes of a loader share."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_CACHE_BYTES", "MemoryCache"]

DEFAULT_CACHE_BYTES = 2 << 30
_ALIGNMENT = 64  # bytes: a cache line


class MemoryCache:
    """Images of any shape in shared memory, by index: the first ones, as many as fit.

    Each image has a place of its own, so that processes that were forked from this one read and
    write without a lock, and one that is killed while it writes leaves an image that is not there.
    The memory belongs to no file, and is freed with the last process that maps it.

    Args:
        sizes: the bytes of each image.
        max_bytes: an upper bound of their sum.
    """

    def __init__(self, sizes: Sequence[int] | NDArray[np.int64], max_bytes: int) -> None:
        self._arguments = sizes, max_bytes
        lengths = np.asarray(sizes, np.int64)
        ends = np.cumsum(lengths + -lengths % _ALIGNMENT)
        self.capacity = int(np.searchsorted(ends, max_bytes, side="right"))
        self._starts = np.concatenate([[0], ends[: self.capacity]])
        self._lengths = lengths[: self.capacity]
        table = self.capacity * 4 * 4
        # Pages that are never written take no memory.
        memory = mmap.mmap(-1, max(1, table + int(self._starts[-1])))
        # Height, width and channels, and last whether the image is there.
        self._shapes = np.frombuffer(memory, np.int32, self.capacity * 4).reshape(-1, 4)
        self._pixels = np.frombuffer(memory, np.uint8, offset=table)

    def __reduce__(self) -> Any:
        """A spawned process cannot map this memory: it starts with its own empty cache."""
        return MemoryCache, self._arguments

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """The image as a read-only view, or None."""
        if index >= self.capacity or not self._shapes[index, 3]:
            return None
        shape = self._shapes[index, :3].tolist()
        start = int(self._starts[index])
        image = self._pixels[start : start + shape[0] * shape[1] * shape[2]].reshape(shape)
        image.flags.writeable = False
        return image

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        """Keep a copy of an image [H, W, C] where there is a place for one of its size."""
        if index >= self.capacity or image.size > self._lengths[index]:
            return
        start = int(self._starts[index])
        self._pixels[start : start + image.size].reshape(image.shape)[:] = image
        self._shapes[index, :3] = image.shape
        self._shapes[index, 3] = 1
