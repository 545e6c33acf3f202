"""Images and targets for a network, where each item depends only on (seed, epoch, index)."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from sightline.data.augment import Augment, Change, draw_change, unchanged
from sightline.data.augment.geometry import Matrix, scaling
from sightline.data.augment.mosaic import draw_blend, draw_quarters
from sightline.data.augment.own import AugmentFunction, call_augment
from sightline.data.cache import DEFAULT_CACHE_BYTES
from sightline.data.preprocess import Preprocess
from sightline.data.sample import Sample
from sightline.data.stored_pictures import StoredPictures
from sightline.data.targets import (
    Objects,
    Target,
    as_tensors,
    joined,
    moved,
    objects_of,
    soft_label,
)
from sightline.data.worker_batches import samples_or_failure
from sightline.formats.records import Annotations, DataError, LabelType, Record

__all__ = ["Dataset", "Item", "Objects", "Target"]

Item = tuple[torch.Tensor, Target, Sample]

# Separate streams of random numbers for the images and for a user's augmentation function; 0 is
# the order of an epoch.
_PICTURE, _OWN = 1, 2
# How far a reduced image may be enlarged by augmentation: BCCD at 320 x 240 is decoded at half its
# size, and then differs from images made of all pixels by fewer than 3 grey levels, in a third of
# the time.
_MOST_ENLARGED = 1.5


class _Part(NamedTuple):
    """A changed image, or several in one."""

    image: NDArray[np.float32]  # [C, h, w]
    objects: Objects  # empty in a set of classes
    shares: list[tuple[int, float]]  # (label, share of the image) in a set of classes


_MOST_REPLACED = 16  # images in a row that cannot be read; more are a fault of all


class Dataset(TorchDataset):
    """Annotations as `(image, target, sample)` for training and validation.

    `dataset[(epoch, index)]` and `dataset[index]` (epoch 0) depend only on (seed, epoch, index).
    `image` is float32 [C, H, W] from `preprocess`, and `sample` a `Sample`. The target of a set of
    boxes has `boxes` float32 [N, 4] (xyxy, network pixels, inside the image), `labels` int64 [N],
    `iscrowd` and `difficult` bool [N], where N may be 0; that of a set of classes is the label, an
    int64 scalar, or float32 [num_classes] with `one_hot` or where augmentation makes labels soft. A
    plain torch DataLoader needs `collate_fn=collate`.

    With an `augment.level`, an index counts through the copies: `copy * len(annotations) + index of
    the record`. The first copy of each image is unchanged, and the second half of the copies are
    mirror images of the first.

    With `with_shapes`, the target of a set of boxes has `masks` bool [N, H, W] (the box of an
    object without an outline), `points` float32 [N, K, 3] (x, y, visibility) and `boxes_rotated`
    float32 [N, 5], each where the record has them.

    Each image is decoded once and kept in uint8, in memory or on disk as `StoredPictures` does it,
    up to `cache_bytes` in total (0 keeps none): at network size without an `Augment`, and otherwise
    as decoded, reduced by 2, 4 or 8 where it is much larger than the network's input. With
    `keep_crowd=False` crowd regions are left out, as in training, where one box for many objects is
    not useful.
    """

    def __init__(
        self,
        annotations: Annotations,
        preprocess: Preprocess,
        *,
        augment: Augment | AugmentFunction | None = None,
        seed: int = 0,
        cache: str = "memory",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        cache_dir: str | os.PathLike | None = None,
        keep_crowd: bool = True,
        with_shapes: bool = False,
        one_hot: bool = False,
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
        self.with_shapes = with_shapes
        given = augment if isinstance(augment, Augment) else Augment.none()
        self._boxed = annotations.label_type is LabelType.BOXES
        self._smoothing = given.label_smoothing
        self._soft = not self._boxed and (one_hot or given.soft_labels)
        self._drawn, mirrors = given.copies(mirror=annotations.mirror_safe)
        self._copies = self._drawn * mirrors
        # Settings by which images are changed; None where they are only resized.
        self._changes: Augment | None = None
        if isinstance(augment, Augment) and augment.level != 0:
            by_level = augment.level is not None
            self._changes = replace(augment, flip_h=0.0, flip_v=0.0) if by_level else augment
        self._sends_failures = False  # only a `Loader` raises them
        self._replaces_unreadable = False
        self._pictures = StoredPictures(
            annotations.records,
            preprocess,
            zoom=None if self._changes is None else _zoom_of(self._changes),
            cache=cache,
            cache_bytes=cache_bytes,
            cache_dir=cache_dir,
        )

    def __len__(self) -> int:
        return len(self.annotations) * self._copies

    def __getitem__(self, key: int | tuple[int, int]) -> Item:
        epoch, item = key if isinstance(key, tuple) else (0, key)
        if not 0 <= item < len(self):
            raise IndexError(f"`index` must lie in [0, {len(self)}), got {item}")
        copy, index = divmod(item, len(self.annotations))
        record = self.annotations.records[index]  # made at each access
        size = record.height, record.width
        sample = Sample(index, record.image_id, size, self.preprocess.transform_for(*size))
        if self._changes is None:
            image, target = self._as_it_is(epoch, index, record)
        else:
            part = self._changed(epoch, index, record, copy, self._changes)
            image, target = part.image, part.objects if self._boxed else self._label(part.shares)
        return torch.from_numpy(image), as_tensors(target), sample

    def __getitems__(self, keys: list[Any]) -> list[Any]:
        """The samples of a batch; called by torch's loader."""
        get = self._item_or_next if self._replaces_unreadable else self.__getitem__
        return samples_or_failure(get, keys, send=self._sends_failures)

    def _item_or_next(self, key: tuple[int, int]) -> Item:
        """The item at a key, or where its image cannot be read, the next one that can."""
        epoch, item = key
        try:
            return self[key]
        except DataError as error:
            for step in range(1, min(_MOST_REPLACED, len(self))):
                try:
                    image, target, sample = self[epoch, (item + step) % len(self)]
                except DataError:
                    continue
                return image, target, replace(sample, replaces=str(error))
            raise

    def _as_it_is(self, epoch: int, index: int, record: Record) -> tuple[NDArray[np.float32], Any]:
        """Return an image and its target, only resized, or changed by a user's function."""
        image = self._pictures.load(index)
        target: dict[str, Any]
        if not self._boxed:
            target = {"label": int(record.labels[0])}
        else:
            size = record.height, record.width
            target = self._objects(
                record, unchanged(size, self.preprocess.size, base=self._base(record))
            )
        if self.augment is not None and not isinstance(self.augment, Augment):
            image, target = call_augment(
                self.augment,
                image,
                target,
                seed=[_OWN, self.seed, epoch, index],
                num_classes=self.annotations.num_classes,
                place=f"image {record.image_id!r}",
            )
        pixels = self.preprocess.normalise(image)
        return pixels, target if self._boxed else self._label([(int(target["label"]), 1.0)])

    def _changed(
        self, epoch: int, index: int, record: Record, copy: int, augment: Augment
    ) -> _Part:
        """Return an image that is changed at random, or blended from several."""
        if augment.level is not None:
            mirrored, drawn = divmod(copy, self._drawn)
            # Mirrored copies draw the numbers of those that they mirror.
            rng = np.random.default_rng([_PICTURE, self.seed, epoch, index, drawn])
            change = self._draw(record, augment if drawn else Augment.none(), rng)
            return self._part(index, record, change.mirrored() if mirrored else change)
        rng = np.random.default_rng([_PICTURE, self.seed, epoch, index])
        if augment.mosaic and rng.random() < augment.mosaic:
            part = self._mosaic(index, augment, rng)
        else:
            part = self._part(index, record, self._draw(record, augment, rng))
        if augment.mixup and rng.random() < augment.mixup:
            index = int(rng.integers(len(self.annotations)))
            record = self.annotations.records[index]
            share = draw_blend(rng, boxed=self._boxed)
            other = self._part(index, record, self._draw(record, augment, rng))
            part = self._blend(part, other, share)
        return part

    def _mosaic(self, index: int, augment: Augment, rng: np.random.Generator) -> _Part:
        """Show an image and three more of the whole set in the quarters around a point."""
        size = self.preprocess.size
        others = rng.integers(len(self.annotations), size=3).tolist()
        image = np.empty((self.preprocess.channels, *size), np.float32)
        objects, shares = [], []
        for one, quarter in zip([index, *others], draw_quarters(size, rng), strict=True):
            record = self.annotations.records[one]
            base = quarter.crop @ self._base(record)
            change = self._draw(record, augment, rng, size=quarter.size, base=base)
            part = self._part(one, record, change)
            x1, y1, x2, y2 = quarter.window
            image[:, y1:y2, x1:x2] = part.image
            objects.append(moved(part.objects, quarter.window, size) if self._boxed else {})
            area = (x2 - x1) * (y2 - y1) / (size[0] * size[1])
            shares += [(label, share * area) for label, share in part.shares]
        return _Part(image, joined(objects, size), shares)

    def _blend(self, one: _Part, other: _Part, share: float) -> _Part:
        """Blend two images, of which the first has a `share`; the objects of both are kept."""
        image = np.float32(share) * one.image + np.float32(1 - share) * other.image
        shares = [(label, part * share) for label, part in one.shares]
        shares += [(label, part * (1 - share)) for label, part in other.shares]
        return _Part(image, joined([one.objects, other.objects], self.preprocess.size), shares)

    def _part(self, index: int, record: Record, change: Change) -> _Part:
        image: Any = change.image(
            self._pictures.load(index),
            self.preprocess.mean,
            self.preprocess.std,
            reduction=self._pictures.reduction(record.height, record.width),
        )
        if self._boxed:
            return _Part(image, self._objects(record, change), [])
        return _Part(image, {}, [(int(record.labels[0]), 1.0)])

    def _objects(self, record: Record, change: Change) -> Objects:
        return objects_of(
            record,
            change,
            keep_crowd=self.keep_crowd,
            with_shapes=self.with_shapes,
            mirror=self.annotations.keypoint_mirror,
        )

    def _draw(
        self,
        record: Record,
        augment: Augment,
        rng: np.random.Generator,
        *,
        size: tuple[int, int] | None = None,
        base: Matrix | None = None,
    ) -> Change:
        return draw_change(
            augment,
            (record.height, record.width),
            size or self.preprocess.size,
            rng,
            base=self._base(record) if base is None else base,
            fill=self.preprocess.fill,
        )

    def _base(self, record: Record) -> Matrix:
        """Return the resizing of an image without augmentation."""
        made = self.preprocess.transform_for(record.height, record.width)
        return scaling(made.scale_x, made.scale_y, made.left, made.top)

    def _label(self, shares: list[tuple[int, float]]) -> int | NDArray[np.float32]:
        if not self._soft:
            return shares[0][0]
        return soft_label(shares, self.annotations.num_classes, self._smoothing)


def _zoom_of(augment: Augment) -> float:
    """Return how many pixels per network pixel a decoded image must keep."""
    return max(1.0, augment.scale[1] / math.sqrt(1 - augment.crop) / _MOST_ENLARGED)
