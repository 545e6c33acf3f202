"""Images and targets for a network, where each item depends only on (seed, epoch, index)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from sightline.data.augment import Augment, apply_augment, clip_boxes, compose_mosaic
from sightline.data.augment.own import AugmentFunction, call_augment
from sightline.data.cache import DEFAULT_CACHE_BYTES
from sightline.data.preprocess import Preprocess
from sightline.data.sample import Sample
from sightline.data.stored_pictures import StoredPictures
from sightline.data.worker_batches import samples_or_failure
from sightline.formats.records import Annotations, LabelType

__all__ = ["Dataset", "Item", "Objects", "Target"]

# "boxes" float64 [N, 4] and the columns [N] of as many objects.
Objects = dict[str, NDArray[Any]]
# A dict for boxes, an int64 scalar for classes.
Target = dict[str, torch.Tensor] | torch.Tensor
Item = tuple[torch.Tensor, Target, Sample]

# Separate streams of random numbers for the images and for a user's augmentation function; 0 is
# the order of an epoch.
_PICTURE, _OWN = 1, 2
_COLUMNS = ("labels", "iscrowd", "difficult")  # of a record, besides its boxes


class Dataset(TorchDataset):
    """Annotations as `(image, target, sample)` for training and validation.

    `dataset[(epoch, index)]` and `dataset[index]` (epoch 0) depend only on (seed, epoch, index).
    `image` is float32 [C, H, W] from `preprocess`, and `sample` a `Sample`. The target of a set of
    boxes has `boxes` float32 [N, 4] (xyxy, network pixels, inside the image), `labels` int64 [N],
    `iscrowd` and `difficult` bool [N], where N may be 0; that of a set of classes is the label, an
    int64 scalar. A plain torch DataLoader needs `collate_fn=collate`.

    Each image is decoded once and kept at network size in uint8, in memory or on disk as
    `StoredPictures` does it, up to `cache_bytes` in total (0 keeps none). With `keep_crowd=False`
    crowd regions are left out, as in training, where one box for many objects is not useful.
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
        self._pictures = StoredPictures(
            annotations.records,
            preprocess,
            cache=cache,
            cache_bytes=cache_bytes,
            cache_dir=cache_dir,
        )

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
        image = self._pictures.load(index)
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
