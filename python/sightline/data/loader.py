"""Batches of images, decoded once and augmented depending only on (seed, epoch, index)."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from sightline.data.augment import Augment, apply_augment, clip_boxes, compose_mosaic
from sightline.data.own_augment import AugmentFunction, call_augment
from sightline.data.preprocess import Preprocess, load_record_image
from sightline.data.sample import Sample
from sightline.data.worker_batches import Failure, Targets, samples_or_failure
from sightline.formats.records import Annotations, LabelType

DEFAULT_CACHE_BYTES = 2 << 30
# "boxes" float64 [N, 4] and the columns [N] of as many objects.
Objects = dict[str, NDArray[Any]]
# A dict for boxes, an int64 scalar for classes.
Target = dict[str, torch.Tensor] | torch.Tensor
Item = tuple[torch.Tensor, Target, Sample]
Batch = tuple[torch.Tensor, list[dict[str, torch.Tensor]] | torch.Tensor, list[Sample]]

# Separate streams of random numbers for the order of an epoch, for its images, and for a user's
# augmentation function.
_ORDER, _PICTURE, _OWN = 0, 1, 2
_COLUMNS = ("labels", "iscrowd", "difficult")  # of a record, besides its boxes


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


class Dataset(TorchDataset):
    """Annotations as `(image, target, sample)` for training and validation.

    `dataset[(epoch, index)]` and `dataset[index]` (epoch 0) depend only on (seed, epoch, index).
    `image` is float32 [C, H, W] from `preprocess`, and `sample` a `Sample`. The target of a set of
    boxes has `boxes` float32 [N, 4] (xyxy, network pixels, inside the image), `labels` int64 [N],
    `iscrowd` and `difficult` bool [N], where N may be 0; that of a set of classes is the label, an
    int64 scalar. A plain torch DataLoader needs `collate_fn=collate`.

    Each image is decoded once and kept at network size in uint8, up to `cache_bytes` in total (0
    keeps none). With `keep_crowd=False` crowd regions are left out, as in training, where one box
    for many objects is not useful.
    """

    def __init__(
        self,
        annotations: Annotations,
        preprocess: Preprocess,
        *,
        augment: Augment | AugmentFunction | None = None,
        seed: int = 0,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        keep_crowd: bool = True,
    ) -> None:
        if augment is not None and not isinstance(augment, Augment) and not callable(augment):
            raise TypeError(
                "`augment` must be an Augment, a function of (image, target) or None, "
                f"got {type(augment).__name__}"
            )
        self.annotations = annotations
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed
        self.keep_crowd = keep_crowd
        self._sends_failures = False  # only a `Loader` raises them
        shape = (*preprocess.size, preprocess.channels)
        self._cache = ImageCache(len(annotations), shape, cache_bytes)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: int | tuple[int, int]) -> Item:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must lie in [0, {len(self)}), got {index}")
        record = self.annotations.records[index]
        image, objects = self._picture(index)
        if isinstance(self.augment, Augment):
            rng = np.random.default_rng([_PICTURE, self.seed, epoch, index])
            image, objects = self._augmented(image, objects, self.augment, rng)
        boxed = self.annotations.label_type is LabelType.BOXES
        target: dict[str, Any] = objects if boxed else {"label": int(record.labels[0])}
        if self.augment is not None and not isinstance(self.augment, Augment):
            image, target = call_augment(
                self.augment,
                image,
                target,
                seed=[_OWN, self.seed, epoch, index],
                num_classes=self.annotations.num_classes,
                place=f"image {record.image_id!r}",
            )
        size = record.height, record.width
        sample = Sample(index, record.image_id, size, self.preprocess.transform_for(*size))
        return torch.from_numpy(self.preprocess.normalise(image)), _as_tensors(target), sample

    def __getitems__(self, keys: list[Any]) -> list[Any]:
        """The samples of a batch; called by torch's loader."""
        return samples_or_failure(self.__getitem__, keys, send=self._sends_failures)

    def _picture(self, index: int) -> tuple[NDArray[np.uint8], Objects]:
        """Return an image at network size, and the objects of its record that lie inside it."""
        record = self.annotations.records[index]
        image = self._cache.get(index)
        if image is None:
            decoded = load_record_image(record, self.preprocess.channels)
            image, _ = self.preprocess.resize(decoded)
            self._cache.put(index, image)
        transform = self.preprocess.transform_for(record.height, record.width)
        inside = record.boxes.clip(0, [record.width, record.height, record.width, record.height])
        boxes, rows = clip_boxes(transform.to_network(inside), *self.preprocess.size)
        if not self.keep_crowd:
            single = ~record.iscrowd[rows]
            boxes, rows = boxes[single], rows[single]
        return image, {"boxes": boxes, **{name: getattr(record, name)[rows] for name in _COLUMNS}}

    def _augmented(
        self,
        image: NDArray[np.uint8],
        objects: Objects,
        augment: Augment,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], Objects]:
        """Change an image and its objects at random."""
        if augment.mosaic and rng.random() < augment.mosaic:  # with three more from the whole set
            others = [self._picture(int(other)) for other in rng.integers(len(self), size=3)]
            parts = [(image, objects), *others]
            image, boxes, stay = compose_mosaic(
                [(image, objects["boxes"]) for image, objects in parts],
                rng,
                min_visibility=augment.min_visibility,
            )
            kept = [_rows(objects, rows) for (_, objects), rows in zip(parts, stay, strict=True)]
            columns = {name: np.concatenate([part[name] for part in kept]) for name in _COLUMNS}
            objects = {"boxes": boxes, **columns}
        image, boxes, rows = apply_augment(
            image, objects["boxes"], augment, rng, fill=self.preprocess.fill
        )
        return image, {**_rows(objects, rows), "boxes": boxes}


def _rows(objects: Objects, rows: NDArray[np.int64]) -> Objects:
    return {name: values[rows] for name, values in objects.items()}


def _as_tensors(target: dict[str, Any]) -> Target:
    if "label" in target:
        return torch.tensor(target["label"])
    boxes = target["boxes"].astype(np.float32)
    return {name: torch.from_numpy(v) for name, v in {**target, "boxes": boxes}.items()}


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index); the order of an epoch depends only on (seed, epoch)."""

    def __init__(self, count: int, *, shuffle: bool, seed: int) -> None:
        self.count = count
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng([_ORDER, self.seed, self.epoch]).permutation(self.count)
        epoch = self.epoch
        return ((epoch, int(index)) for index in order)


class Loader(DataLoader):
    """A torch DataLoader that knows its epoch: call `set_epoch` before each one."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the random changes of the next pass."""
        assert isinstance(self.sampler, EpochSampler)
        self.sampler.epoch = epoch

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                raise batch.error
            yield batch


def collate(items: list[Item]) -> Batch:
    """Combine items of `Dataset` to a batch.

    Images are stacked to [B, C, H, W] and labels to [B]; targets of boxes and samples stay lists,
    since images differ in their number of objects.
    """
    images, targets, samples = zip(*items, strict=True)
    stacked = torch.stack(targets) if isinstance(targets[0], torch.Tensor) else list(targets)
    return torch.stack(images), stacked, list(samples)


def collate_to_send(items: list[Any]) -> Any:
    """`collate` in a worker process, in a form that can be sent to the main process."""
    if isinstance(items[0], Failure):
        return items[0]
    images, targets, samples = collate(items)
    return images, Targets(targets) if isinstance(targets, list) else targets, samples


def make_loader(
    annotations: Annotations,
    preprocess: Preprocess,
    *,
    batch_size: int,
    shuffle: bool,
    augment: Augment | AugmentFunction | None = None,
    seed: int = 0,
    workers: int = 0,
    drop_last: bool = False,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    keep_crowd: bool = True,
) -> Loader:
    """Return a loader of `(images, targets, samples)`.

    `images` is float32 [B, C, H, W]. `targets` is int64 [B] for a set of classes, and for a set of
    boxes a list of one dict per image; see `Dataset`. `samples` is a list of one `Sample` per
    image: its index, image id, original size and transform.

    Batches depend on (seed, epoch) and not on `workers`; torch's global generator is not used.
    Raises ValueError for a set without images, and where `drop_last` would leave no batch.

    `augment` may be a function of yours, `(image, target) -> (image, target)`, instead of an
    `Augment`. The image is a uint8 array [H, W, C] at the network's size, before normalisation, and
    must keep its shape. The target of a set of boxes has `boxes` float64 [N, 4] (xyxy in pixels of
    the image), `labels` int64 [N], `iscrowd` and `difficult` bool [N]; boxes may be moved, dropped
    and added, and are clipped to the image afterwards. That of a set of classes has `label`, an
    int. While the function runs, the global generators of `random`, `numpy.random` and torch (on
    the CPU) are seeded from (seed, epoch, index), so that its random numbers depend only on these;
    generators that it creates itself are not seeded. Where worker processes are spawned it must be
    picklable. Its results are checked, and errors name it.
    """
    count = len(annotations)
    if count == 0:
        raise ValueError("`annotations` must hold at least one image")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
    if drop_last and count < batch_size:
        raise ValueError(
            f"`drop_last` leaves no batch: {count} images, `batch_size` {batch_size}; "
            f"use a batch_size of at most {count}"
        )
    dataset = Dataset(
        annotations,
        preprocess,
        augment=augment,
        seed=seed,
        cache_bytes=cache_bytes,
        keep_crowd=keep_crowd,
    )
    dataset._sends_failures = workers > 0
    return Loader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(count, shuffle=shuffle, seed=seed),
        num_workers=workers,
        collate_fn=collate_to_send if workers else collate,
        drop_last=drop_last,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )
