"""Memory in which worker processes hand over the images of batches, used again and again."""

from __future__ import annotations

import itertools
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["BatchMemory"]

_FREE, _SENT, _HELD = 0, 1, 2  # a place: written by a worker process, used by the main process
_MOST_BYTES = 512 << 20  # of one memory, which is kept as long as its loader

# The memories of this process and, after a fork, of its children, by number: a batch that arrives
# has only the number.
_memories: weakref.WeakValueDictionary[int, BatchMemory] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class BatchMemory:
    """Places for batches of images, shared by a loader and the processes forked from it.

    torch sends each batch in new shared memory, whose pages the system has to clear and to map: of
    16 images of 320 x 240, that takes as long as decoding them. Here a place is written again once
    the main process holds no tensor in it any more. Where all are held, and in spawned processes,
    batches are sent as torch does it.

    Args:
        shape: of a whole batch, [B, C, H, W].
        workers: the number of processes.
        places: for each of them, fewer where they would take more than 512 MiB.
    """

    def __init__(self, shape: Sequence[int], workers: int, places: int) -> None:
        self.shape = tuple(shape)
        size = int(np.prod(shape))
        self.places = min(places, _MOST_BYTES // (4 * size * workers))
        count = workers * self.places
        # Pages that are never written take no memory.
        memory = mmap.mmap(-1, max(1, count * (4 * size + 1)))
        self._images = np.frombuffer(memory, np.float32, count * size).reshape(count, *shape)
        self._states = np.frombuffer(memory, np.uint8, count, offset=4 * count * size)
        self._process = os.getpid()
        self.number = next(_numbers)
        _memories[self.number] = self

    def __reduce__(self) -> Any:
        """A spawned process cannot map this memory."""
        return type(None), ()

    def take_back(self) -> None:
        """Free the places of batches that were sent by processes that ended since."""
        self._states[self._states == _SENT] = _FREE

    def stack(self, images: Sequence[torch.Tensor], worker: int) -> SentImages | None:
        """Stack images [C, H, W] in a free place of a worker process; None where there is none."""
        if len(images) > self.shape[0] or any(image.shape != self.shape[1:] for image in images):
            return None
        for place in range(worker * self.places, (worker + 1) * self.places):
            if self._states[place] == _FREE:
                self._states[place] = _SENT
                target = self._images[place, : len(images)]
                torch.stack(list(images), out=torch.from_numpy(target))
                return SentImages(self.number, place, len(images))
        return None

    def received(self, place: int, count: int) -> torch.Tensor:
        """The first `count` images of a place, which is free again when no tensor uses them."""
        self._states[place] = _HELD
        images = self._images[place, :count]
        # `self` stays until then, too; the memory itself is that of the array.
        weakref.finalize(images, self._free, place).atexit = False
        return torch.from_numpy(images)

    def _free(self, place: int) -> None:
        if os.getpid() == self._process:  # and not in a fork that collects a copy of the tensor
            self._states[place] = _FREE


class SentImages:
    """The images of a batch in a `BatchMemory`: pickled, they arrive as a tensor [B, C, H, W]."""

    def __init__(self, number: int, place: int, count: int) -> None:
        self._arguments = number, place, count

    def __reduce__(self) -> Any:
        return _received, self._arguments


def _received(number: int, place: int, count: int) -> torch.Tensor:
    return _memories[number].received(place, count)
