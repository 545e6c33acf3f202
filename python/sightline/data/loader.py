"""Batches: pictures decoded once, changed at random by (seed, epoch, index) alone."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from sightline.data.annotations import Annotations, LabelType
from sightline.data.augment import Augment, apply_augment, clip_boxes, compose_mosaic
from sightline.data.own_augment import AugmentFunction, call_augment
from sightline.data.preprocess import Preprocess, load_record_image
from sightline.data.worker_batches import Failure, Targets, samples_or_failure

DEFAULT_CACHE_BYTES = 2 << 30
Target = dict[str, Any]
Batch = tuple[torch.Tensor, list[Target]]

# Separate streams of random numbers for the order of an epoch, for its pictures, and for a function
# of the user that changes them.
_ORDER, _PICTURE, _OWN = 0, 1, 2


class ImageCache:
    """Pictures of one shape, as many as fit, in memory that forked loader workers share."""

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
        """A spawned worker cannot map this memory: it starts with an empty cache of its own."""
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
    """Annotations as `(image, target)` pairs for training and validation.

    `dataset[(epoch, index)]` and `dataset[index]` (epoch 0) depend on (seed, epoch, index) and on
    nothing else. `image` is float32 [C, H, W] as `preprocess` makes it. A detection target holds
    `boxes` float32 [N, 4] (xyxy, network pixels, inside the picture), `labels` int64 [N], `iscrowd`
    and `difficult` bool [N], `image_id`, `orig_size` int64 [2] (height, width) and `index`; a
    classification target `label` (int64 scalar), `image_id` and `index`. Without objects, N is 0.

    Each picture is decoded once and kept at network size in uint8, up to `cache_bytes` in all (0
    keeps none). With `keep_crowd=False` crowd regions are left out, as in training: no anchor
    should learn one box for many objects.
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
        self._sends_failures = False  # which a `Loader` knows to raise, and no other loader
        shape = (*preprocess.size, preprocess.channels)
        self._cache = ImageCache(len(annotations), shape, cache_bytes)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, Target]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must lie in [0, {len(self)}), got {index}")
        image, boxes, rows = self._picture(index)
        record = self.annotations.records[index]
        columns = {
            "labels": record.labels[rows] if len(record.boxes) else record.labels,
            "iscrowd": record.iscrowd[rows],
            "difficult": record.difficult[rows],
        }
        if isinstance(self.augment, Augment):
            rng = np.random.default_rng([_PICTURE, self.seed, epoch, index])
            if self.augment.mosaic and rng.random() < self.augment.mosaic:
                image, boxes, columns = self._mosaic(image, boxes, columns, rng)
            image, boxes, stay = apply_augment(
                image, boxes, self.augment, rng, fill=self.preprocess.fill
            )
            if self.annotations.label_type is LabelType.BOXES:
                columns = {name: values[stay] for name, values in columns.items()}
        elif self.augment is not None:
            image, boxes, columns = self._own_augment(epoch, index, image, boxes, columns)
        tensor = torch.from_numpy(self.preprocess.normalise(image))
        return tensor, self._target(index, boxes, columns)

    def __getitems__(self, keys: list[Any]) -> list[Any]:
        """What torch's loader calls for the samples of a batch."""
        return samples_or_failure(self.__getitem__, keys, send=self._sends_failures)

    def _own_augment(
        self,
        epoch: int,
        index: int,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float64],
        columns: dict[str, NDArray[Any]],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Change a picture by the user's function."""
        detect = self.annotations.label_type is LabelType.BOXES
        target = {"boxes": boxes, **columns} if detect else {"label": int(columns["labels"][0])}
        assert callable(self.augment)
        changed: dict[str, Any]
        image, changed = call_augment(
            self.augment,
            image,
            target,
            seed=[_OWN, self.seed, epoch, index],
            num_classes=self.annotations.num_classes,
            place=f"image {self.annotations.records[index].image_id!r}",
        )
        if not detect:
            return image, boxes, {**columns, "labels": np.array([changed["label"]])}
        return image, changed.pop("boxes"), changed

    def _target(
        self, index: int, boxes: NDArray[np.float64], columns: dict[str, NDArray[Any]]
    ) -> Target:
        record = self.annotations.records[index]
        common = {"image_id": record.image_id, "index": index}
        if self.annotations.label_type is LabelType.CLASS:
            own = callable(self.augment)  # which alone may change the class of a picture
            label = columns["labels"][0] if own else record.labels[0]
            return {"label": torch.tensor(int(label)), **common}
        return {
            "boxes": torch.from_numpy(boxes.astype(np.float32)),
            **{name: torch.from_numpy(values) for name, values in columns.items()},
            "orig_size": torch.tensor([record.height, record.width]),
            **common,
        }

    def _picture(
        self, index: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
        """Return a picture at network size, its boxes inside it, and their rows in the record."""
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
        return image, boxes, rows

    def _mosaic(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float64],
        columns: dict[str, NDArray[Any]],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Compose the picture and three more, drawn from the whole set."""
        parts, tables = [(image, boxes)], [columns]
        for other in rng.integers(len(self), size=3):
            other_image, other_boxes, rows = self._picture(int(other))
            record = self.annotations.records[int(other)]
            parts.append((other_image, other_boxes))
            tables.append({name: getattr(record, name)[rows] for name in columns})
        assert isinstance(self.augment, Augment)
        image, boxes, stay = compose_mosaic(parts, rng, min_visibility=self.augment.min_visibility)
        merged = {
            name: np.concatenate([table[name][rows] for table, rows in zip(tables, stay)])
            for name in columns
        }
        return image, boxes, merged


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index); the order of an epoch is a function of (seed, epoch)."""

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


def collate(samples: list[tuple[torch.Tensor, Target]]) -> Batch:
    """Stack images to [B, C, H, W]; targets stay a list, since images differ in their objects."""
    images, targets = zip(*samples, strict=True)
    return torch.stack(images), list(targets)


def collate_to_send(samples: list[Any]) -> Any:
    """`collate` in a loading process, in a form that can be sent."""
    if isinstance(samples[0], Failure):
        return samples[0]
    images, targets = collate(samples)
    return images, Targets(targets)


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
    """Return a loader of `(images [B, C, H, W] float32, targets)`; see `Dataset` for the targets.

    Batches depend on (seed, epoch) and not on `workers`; torch's global generator is not touched.
    Raises ValueError for a set without images, and where `drop_last` would leave no batch.

    `augment` may be a function of yours, `(image, target) -> (image, target)`, in place of an
    `Augment`. The image is a uint8 array [H, W, C] at the network's size, before normalisation, and
    keeps its shape. The target of a detection set holds `boxes` float64 [N, 4] (xyxy in pixels of
    the image), `labels` int64 [N], `iscrowd` and `difficult` bool [N]; boxes may be moved, dropped
    and added, and are clipped to the image afterwards. That of a classification set holds `label`,
    an int. While the function runs, the global generators of `random`, `numpy.random` and torch (on
    the CPU) are seeded from (seed, epoch, index), so that what it draws from them depends on
    nothing else; generators of its own are its own affair. With workers it must be picklable where
    processes are spawned. What it returns is checked, and errors name it.
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
