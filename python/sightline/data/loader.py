"""Batches of images in an order that depends only on (seed, epoch)."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, default_collate, get_worker_info
from torch.utils.data._utils import signal_handling

from sightline.data.augment import Augment
from sightline.data.augment.own import AugmentFunction
from sightline.data.batch_memory import BatchMemory
from sightline.data.cache import DEFAULT_CACHE_BYTES
from sightline.data.dataset import Dataset, Item
from sightline.data.preprocess import Preprocess
from sightline.data.sample import Sample
from sightline.data.worker_batches import BatchToPin, Failure, Labels, Targets, worker_error
from sightline.formats.records import Annotations

Batch = tuple[torch.Tensor, list[dict[str, torch.Tensor]] | torch.Tensor, list[Sample]]

_MOST_NAMED = 20  # images that cannot be read, in warnings
_ORDER = 0  # its stream of random numbers; those of a Dataset are 1 and 2


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index); the order of an epoch depends only on (seed, epoch)."""

    def __init__(self, count: int, *, shuffle: bool, seed: int) -> None:
        self.count = count
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.skip = 0  # images at the start of the epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng([_ORDER, self.seed, self.epoch]).permutation(self.count)
        epoch = self.epoch
        return ((epoch, int(index)) for index in order[self.skip :])


class Loader(DataLoader):
    """A torch DataLoader that knows its epoch: call `set_epoch` before each one.

    `len(loader)` is the number of batches of a whole epoch. `warn` is called with a sentence on
    each image that was replaced because it cannot be read: once, and for the first 20.
    """

    warn: Callable[[str], None] = staticmethod(warnings.warn)
    memory: BatchMemory | None = None  # in which its worker processes send batches

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._named: set[str] = set()  # what `warn` was called with
        super().__init__(*arguments, **options)

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the order and the random changes of the next pass.

        Args:
            epoch: from 0.
            skip: the number of its first batches to leave out, without loading them, where an epoch
                is continued: the others have the same bits as in the whole epoch.

        Raises:
            ValueError: `skip` is not in 0 ... the number of batches.
        """
        assert isinstance(self.sampler, EpochSampler) and self.batch_size is not None
        if not 0 <= skip <= len(self):
            raise ValueError(f"`skip` must be in 0 ... {len(self)}, the batches, got {skip}")
        self.sampler.epoch = epoch
        self.sampler.skip = skip * self.batch_size

    def __iter__(self) -> Any:
        batches: Any = None
        while True:
            try:
                if batches is None and self._iterator is None and self.memory is not None:
                    self.memory.take_back()
                if batches is None:  # processes of an earlier pass may have died since
                    batches = super().__iter__()
                batch = next(batches)
                if isinstance(batch, Failure):
                    raise batch.error
            except StopIteration:
                return
            except BaseException as error:
                lost = worker_error(self._workers())
                self._end_workers()  # which would live as long as the error
                try:
                    if lost is not None and isinstance(error, RuntimeError):
                        raise lost from None
                    raise
                finally:
                    # Each has a traceback that holds this frame: a cycle, in which this loader
                    # would stay until the garbage collector ends its next processes, slowly.
                    lost = batch = None
            found = batch.batch if isinstance(batch, BatchToPin) else batch
            self._warn_of_replaced(found[2])
            yield found

    def _warn_of_replaced(self, samples: Sequence[Sample]) -> None:
        """Warn once of each image that cannot be read, whichever process was to read it."""
        for said in sorted({sample.replaces for sample in samples} - {""} - self._named):
            if len(self._named) == _MOST_NAMED:
                self.warn("more images that cannot be read are replaced by others, and not named")
            elif len(self._named) < _MOST_NAMED:
                self.warn(f"{said}; the next image is used instead of it")
            self._named.add(said)

    def _workers(self) -> list[Any]:
        return list(getattr(self._iterator, "_workers", ()))

    def _end_workers(self) -> None:
        """End the processes, also in the middle of a batch; the next pass starts new ones."""
        iterator: Any = self._iterator
        self._iterator = None
        if not hasattr(iterator, "_workers"):
            return
        # A thread that pins may be reading from them: then each finishes its batch.
        if not hasattr(iterator, "_pin_memory_thread"):
            if iterator._worker_pids_set:  # or torch raises an error for each that is ended here
                signal_handling._remove_worker_pids(id(iterator))
                iterator._worker_pids_set = False
            for worker in iterator._workers:
                worker.terminate()
        iterator._shutdown_workers()


def collate(items: list[Item]) -> Batch:
    """Combine items of `Dataset` to a batch.

    Images are stacked to [B, C, H, W] and labels to [B]; targets of boxes and samples stay lists,
    since images differ in their number of objects.
    """
    images, targets, samples = zip(*items, strict=True)
    # In a worker process torch stacks them in shared memory, where they need no copy to be sent.
    return default_collate(list(images)), _collate_targets(targets), list(samples)


def _collate_targets(targets: Sequence[Any]) -> Any:
    return default_collate(list(targets)) if isinstance(targets[0], torch.Tensor) else list(targets)


def collate_to_send(items: list[Any], *, memory: BatchMemory | None, pin: bool) -> Any:
    """`collate` in the form in which a worker process sends it, or the loader pins it."""
    if isinstance(items[0], Failure):
        return items[0]
    images, targets, samples = zip(*items, strict=True)
    worker = get_worker_info()
    stacked: Any = None
    if memory is not None and worker is not None:
        stacked = memory.stack(images, worker.id)
    if stacked is None:
        stacked = default_collate(list(images))
    rows = _collate_targets(targets)
    if isinstance(rows, list):
        rows = Targets(rows)
    elif worker is not None:
        rows = Labels(rows)
    batch = stacked, rows, list(samples)
    return BatchToPin(batch) if pin else batch


def start_worker(_: int) -> None:
    """Let a worker process use one thread: the others have the other cores."""
    importlib.import_module("sightline._numpy").set_num_threads(1)


def make_loader(
    annotations: Annotations,
    preprocess: Preprocess,
    *,
    batch_size: int,
    shuffle: bool,
    augment: Augment | AugmentFunction | None = None,
    seed: int = 0,
    workers: int = 0,
    prefetch: int = 2,
    pin_memory: bool = False,
    drop_last: bool = False,
    cache: str = "memory",
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    cache_dir: str | os.PathLike | None = None,
    keep_crowd: bool = True,
    with_shapes: bool = False,
    one_hot: bool = False,
    replace_unreadable: bool = False,
) -> Loader:
    """Return a loader of `(images, targets, samples)`.

    `images` is float32 [B, C, H, W]. `targets` is int64 [B] for a set of classes, or float32
    [B, num_classes] with `one_hot` or where augmentation makes labels soft, and for a set of boxes
    a list of one dict per image, also of its masks and points with `with_shapes`; see `Dataset`.
    `samples` is a list of one `Sample` per image: its index, image id, original size and transform.

    `workers` processes load images ahead of the training, each at most `prefetch` batches. They
    are started in the first pass and kept for the later ones; with 0 the main process loads each
    batch when it is requested. With `pin_memory` images and labels are in page-locked memory, from
    which a GPU copies while it computes; use it only where there is one.

    Decoded images are kept up to `cache_bytes`: with `cache="memory"` in memory that the worker
    processes share, with "disk" in `cache_dir` (by default `~/.cache/sightline/images`) for later
    runs as well, and not at all with "none".

    An image that cannot be read raises DataError where its batch is requested. With
    `replace_unreadable` the next image of the set that can be read is used instead, so that one
    damaged file does not end a long training; for evaluation that would count an image twice.
    `Loader.warn` is called with a sentence that names the file.

    Batches depend on (seed, epoch) and not on `workers`; torch's global generator is not used.
    Raises ValueError for a set without images, and where `drop_last` would leave no batch.

    `augment` may be a function of yours, `(image, target) -> (image, target)`, instead of an
    `Augment`. The image is a uint8 array [H, W, C] at the network's size, before normalisation, and
    must keep its shape. The target of a set of boxes has `boxes` float64 [N, 4] (xyxy in pixels of
    the image), `labels` int64 [N], `iscrowd` and `difficult` bool [N], and with `with_shapes` what
    else the record has: `masks` bool [N, H, W], `points` float64 [N, K, 3] and `boxes_rotated`
    float64 [N, 5]. Boxes may be moved, dropped and added, and are clipped to the image afterwards.
    The target of a set of classes has `label`, an int. While the function runs, the global
    generators of `random`, `numpy.random` and torch (on the CPU) are seeded from (seed, epoch,
    index), so that its random numbers depend only on these; generators that it creates itself are
    not seeded. Where worker processes are spawned it must be picklable. Its results are checked,
    and errors name it.
    """
    if len(annotations) == 0:
        raise ValueError("`annotations` must hold at least one image")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
    if workers < 0 or prefetch < 1:
        raise ValueError(
            f"`workers` must be at least 0 and `prefetch` at least 1, got {workers} and {prefetch}"
        )
    dataset = Dataset(
        annotations,
        preprocess,
        augment=augment,
        seed=seed,
        cache=cache,
        cache_bytes=cache_bytes,
        cache_dir=cache_dir,
        keep_crowd=keep_crowd,
        with_shapes=with_shapes,
        one_hot=one_hot,
    )
    count = len(dataset)
    if drop_last and count < batch_size:
        raise ValueError(
            f"`drop_last` leaves no batch: {count} images, `batch_size` {batch_size}; "
            f"use a batch_size of at most {count}"
        )
    dataset._sends_failures = workers > 0
    dataset._replaces_unreadable = replace_unreadable
    memory = None
    if workers:
        shape = (min(batch_size, count), preprocess.channels, *preprocess.size)
        memory = BatchMemory(shape, workers, prefetch + 2)
    send = partial(collate_to_send, memory=memory, pin=pin_memory)
    loader = Loader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(count, shuffle=shuffle, seed=seed),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        collate_fn=send if workers or pin_memory else collate,
        pin_memory=pin_memory,
        drop_last=drop_last,
        persistent_workers=workers > 0,
        worker_init_fn=start_worker,
        generator=torch.Generator().manual_seed(seed),
    )
    loader.memory = memory
    return loader
