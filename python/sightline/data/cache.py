"""Keeps decoded images in memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_CACHE_BYTES", "ImageCache"]

DEFAULT_CACHE_BYTES = 2 << 30


class ImageCache:
    """Images of one shape, as many as fit, in memory that forked loader workers share."""

    def __init__(self, count: int, shape: tuple[int, int, int], max_bytes: int) -> None:
        self._arguments = (count, shape, max_bytes)
        self.capacity = max(0, min(count, max_bytes // int(np.prod(shape))))
        memory = mmap.mmap(-1, max(1, self.capacity * (int(np.prod(shape)) + 1)))
        flags = np.frombuffer(memory, np.uint8, self.capacity)
        self._ready = flags
        self._images = np.frombuffer(memory, np.uint8, offset=self.capacity)[
            : self.capacity * int(np.prod(shape))
        ].reshape(self.capacity, *shape)

    def __reduce__(self) -> Any:
        """A spawned worker cannot map this memory: it starts with its own empty cache."""
        return ImageCache, self._arguments

    def get(self, index: int) -> NDArray[np.uint8] | None:
        if index < self.capacity and self._ready[index]:
            return self._images[index]
        return None

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        if index < self.capacity:
            self._images[index] = image
            self._ready[index] = 1
