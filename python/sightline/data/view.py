"""Draws images of a data set with their labels, as they are and as augmentation changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import shortened
from sightline.data.augment import Augment
from sightline.data.draw import draw_classification, draw_detections, draw_outlines, draw_points
from sightline.data.image import pillow
from sightline.data.preprocess import Preprocess
from sightline.formats.records import Annotations, LabelType

if TYPE_CHECKING:
    from sightline.data.dataset import Dataset

__all__ = ["draw_dataset_view"]

_GAP = 6  # pixels
_MOST_ZOOM = 12  # larger versions of tiny images show no more
_MOST_SIDE_RATIO = 2.0  # of the tiles: longer images are letterboxed


def draw_dataset_view(
    annotations: Annotations,
    *,
    count: int = 16,
    columns: int = 4,
    width: int = 320,
    augment: Augment | None = None,
    variants: int = 3,
    seed: int = 0,
) -> Any:
    """Return a grid of images with their labels, as a PIL image in RGB.

    Boxes, outlines, keypoints and classes are drawn as training gets them: resized with the image,
    and changed with it.

    Args:
        annotations: the images.
        count: how many to show, chosen at random with `seed`, in the order of the set.
        columns: images per row, where there is no `augment`.
        width: width of one image in pixels; images are enlarged 12 times at most.
        augment: where given, each row is one image: as it is, and `variants` changed versions.
        variants: changed versions per image.
        seed: seed of the choice and of the changes.

    Raises:
        ValueError: a set without images, or a number below 1.
    """
    for name, value in (("count", count), ("columns", columns), ("width", width)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}")
    if not len(annotations):
        raise ValueError("`annotations` must hold at least one image")
    from sightline.data.dataset import Dataset  # needs torch, which the rest of data does not

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(annotations))[:count])
    shown = annotations.subset(chosen)
    preprocess = Preprocess(size=_tile_size(shown, width), mode="letterbox")
    plain = Dataset(shown, preprocess, with_shapes=True, cache_bytes=0)
    rows = [[_tile(plain, index, 0)] for index in range(len(shown))]
    if augment is None:
        tiles = [tile for row in rows for tile in row]
        return _grid([tiles[i : i + columns] for i in range(0, len(tiles), columns)])
    changed = Dataset(
        shown, preprocess, augment=augment, with_shapes=True, cache_bytes=0, seed=seed
    )
    for index, row in enumerate(rows):
        if augment.level is None:
            row += [_tile(changed, index, epoch) for epoch in range(variants)]
        else:  # the copies that an epoch holds, after the first, which is unchanged
            copies = range(index + len(shown), len(changed), len(shown))
            row += [_tile(changed, copy, 0) for copy in copies]
    return _grid(rows)


def _tile_size(annotations: Annotations, width: int) -> tuple[int, int]:
    """The height and width of all tiles, in the proportions of the median image."""
    median = np.median([record.width for record in annotations.records])
    width = min(width, max(1, round(_MOST_ZOOM * float(median))))
    ratios = [record.height / record.width for record in annotations.records]
    ratio = float(np.clip(np.median(ratios), 1 / _MOST_SIDE_RATIO, _MOST_SIDE_RATIO))
    return max(1, round(width * ratio)), width


def _tile(dataset: Dataset, item: int, epoch: int) -> Any:
    """One image of a set with what training gets of its labels."""
    image, target, _ = dataset[(epoch, item)]
    scale = (dataset.preprocess.mean, dataset.preprocess.std)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in scale)
    pixels = np.clip(np.rint((image.numpy() * std + mean) * 255), 0, 255).astype(np.uint8)
    pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    names = dataset.annotations.class_names
    if dataset.annotations.label_type is LabelType.CLASS:
        return draw_classification(pixels, _class_text(np.asarray(target), names))
    assert isinstance(target, dict)
    found = {name: value.numpy() for name, value in target.items()}
    labels = found["labels"]
    if "masks" in found:
        pixels = draw_outlines(pixels, found["masks"], labels)
    if len(names) == 1:  # the name would only cover small objects
        names = ("",)
    tile = draw_detections(pixels, found["boxes"], labels, names)
    return draw_points(tile, found["points"], labels) if "points" in found else tile


def _class_text(target: NDArray[Any], names: Sequence[str]) -> str:
    """The class, or the classes of a soft label with their shares."""
    if target.ndim == 0:
        return shortened(names[int(target)])
    order = np.argsort(-target, kind="stable")[:3]
    return ", ".join(f"{shortened(names[i], 16)}: {target[i]:.2f}" for i in order if target[i] > 0)


def _grid(rows: Sequence[Sequence[Any]]) -> Any:
    """Images in rows; each column is as wide as its widest image, each row as high."""
    columns = max(map(len, rows))
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    size = sum(widths) + _GAP * (columns + 1), sum(heights) + _GAP * (len(rows) + 1)
    canvas = pillow().new("RGB", size, "white")
    y = _GAP
    for row, height in zip(rows, heights, strict=True):
        x = _GAP
        for tile, width in zip(row, widths):
            canvas.paste(tile, (x, y))
            x += width + _GAP
        y += height + _GAP
    return canvas
