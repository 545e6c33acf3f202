"""Changes images and their boxes at random.

Images here are uint8 at network size, so that a change costs about as much as a copy. All random
numbers come from the caller's generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.clip import clip_boxes
from sightline.data.augment.settings import Augment
from sightline.data.image import from_pil, pillow, to_pil
from sightline.data.preprocess import resize_array

__all__ = ["apply_augment", "compose_mosaic"]

_LUMA = np.array([0.299, 0.587, 0.114])
_MID_GREY = 127.5
_MOSAIC_CENTRE = (0.3, 0.7)  # of the image's sides
_MOSAIC_ZOOM = (0.5, 1.0)


def apply_augment(
    image: NDArray[np.uint8],
    boxes: NDArray[np.float64],
    augment: Augment,
    rng: np.random.Generator,
    *,
    fill: Sequence[int],
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Return a changed image, its boxes, and the rows of `boxes` that remain.

    Args:
        image: uint8 [H, W, 1 | 3]; it is not modified.
        boxes: float64 [N, 4], xyxy in pixels, inside the image.
        augment: the settings; its `mosaic` is applied before, by `compose_mosaic`.
        rng: the source of all random numbers.
        fill: colour of the area outside the original image, one value per channel.

    Returns:
        image uint8 of the same shape, boxes float64 [K, 4] inside the image, rows int64 [K].
    """
    height, width = image.shape[:2]
    picture, boxes = _move(to_pil(image), boxes, augment, rng, fill)
    transpose = pillow().Transpose
    if augment.flip_h and rng.random() < augment.flip_h:
        picture = picture.transpose(transpose.FLIP_LEFT_RIGHT)
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    if augment.flip_v and rng.random() < augment.flip_v:
        picture = picture.transpose(transpose.FLIP_TOP_BOTTOM)
        boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1)
    picture = _recolour(picture, augment, rng)
    boxes, rows = clip_boxes(boxes, height, width, min_visibility=augment.min_visibility)
    return from_pil(picture), boxes, rows


def _move(
    picture: Any,
    boxes: NDArray[np.float64],
    augment: Augment,
    rng: np.random.Generator,
    fill: Sequence[int],
) -> tuple[Any, NDArray[np.float64]]:
    """Scale, shift and rotate about the centre."""
    if augment.scale == (1.0, 1.0) and augment.translate == 0 and augment.rotate == 0:
        return picture, boxes
    size = np.array(picture.size, np.float64)
    zoom = math.exp(rng.uniform(math.log(augment.scale[0]), math.log(augment.scale[1])))
    shift = rng.uniform(-augment.translate, augment.translate, 2) * size
    if augment.rotate == 0:
        left, top = (float(value) for value in size * (1 - zoom) / 2 + shift)
        moved = boxes * zoom + np.array([left, top, left, top])
        return _scale_and_shift(picture, zoom, left, top, fill), moved
    angle = math.radians(rng.uniform(-augment.rotate, augment.rotate))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = zoom * turn
    offset = size / 2 + shift - linear @ (size / 2)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ linear.T + offset
    hull = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return _affine(picture, linear, offset, fill), hull


def _scale_and_shift(
    picture: Any, zoom: float, left: float, top: float, fill: Sequence[int]
) -> Any:
    """Draw the image at x * zoom + left, y * zoom + top, on a canvas of its own size."""
    module = pillow()
    width, height = picture.size
    # The whole output pixels that the image covers; the part of the image behind them is exact.
    x1, x2 = max(0, math.ceil(left)), min(width, math.floor(left + zoom * width))
    y1, y2 = max(0, math.ceil(top)), min(height, math.floor(top + zoom * height))
    canvas = module.new(picture.mode, picture.size, tuple(fill))
    if x1 < x2 and y1 < y2:
        box = (
            max(0.0, (x1 - left) / zoom),
            max(0.0, (y1 - top) / zoom),
            min(float(width), (x2 - left) / zoom),
            min(float(height), (y2 - top) / zoom),
        )
        part = picture.resize((x2 - x1, y2 - y1), module.Resampling.BILINEAR, box=box)
        canvas.paste(part, (x1, y1))
    return canvas


def _affine(
    picture: Any, linear: NDArray[np.float64], offset: NDArray[np.float64], fill: Sequence[int]
) -> Any:
    """Draw the image at linear @ (x, y) + offset, with bilinear interpolation."""
    module = pillow()
    inverse = np.linalg.inv(linear)
    back = -inverse @ offset
    return picture.transform(
        picture.size,
        module.Transform.AFFINE,
        (*inverse[0], back[0], *inverse[1], back[1]),
        module.Resampling.BILINEAR,
        fillcolor=tuple(fill),
    )


def _recolour(picture: Any, augment: Augment, rng: np.random.Generator) -> Any:
    """Change brightness, contrast, saturation and hue by one affine map of the channels."""
    strengths = (augment.brightness, augment.contrast, augment.saturation)
    if not any(strengths) and augment.hue == 0:
        return picture
    brightness, contrast, saturation = (1 + rng.uniform(-s, s) if s else 1.0 for s in strengths)
    angle = math.radians(rng.uniform(-augment.hue, augment.hue)) if augment.hue else 0.0
    gain = brightness * contrast
    bias = brightness * (1 - contrast) * _MID_GREY
    if picture.mode == "L" or (saturation == 1 and angle == 0):
        table = np.clip(np.rint(np.arange(256) * gain + bias), 0, 255).astype(int).tolist()
        return picture.point(table * len(picture.getbands()))
    grey = np.tile(_LUMA, (3, 1))
    matrix = gain * _hue_rotation(angle) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    rows = np.concatenate([matrix, np.full((3, 1), bias)], axis=1)
    return picture.convert("RGB", tuple(rows.ravel()))


def _hue_rotation(angle: float) -> NDArray[np.float64]:
    """Rotate colours about the grey axis (Rodrigues' formula for (1, 1, 1) / sqrt(3))."""
    cos, sin = math.cos(angle), math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cos * np.eye(3) + sin * cross + (1 - cos) / 3 * np.ones((3, 3))


def compose_mosaic(
    parts: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64]]],
    rng: np.random.Generator,
    *,
    min_visibility: float,
) -> tuple[NDArray[np.uint8], NDArray[np.float64], list[NDArray[np.int64]]]:
    """Fill the four quarters around a random centre with random crops of four images of one size.

    Args:
        parts: four pairs of image uint8 [H, W, C] and boxes float64 [N, 4] inside it.
        rng: the source of all random numbers.
        min_visibility: the share of a box's area that must lie in the crop for the box to be kept.

    Returns:
        image uint8 [H, W, C], boxes float64 [K, 4], and for each part the rows that remain, in the
        order of `boxes`.
    """
    height, width, channels = parts[0][0].shape
    canvas = np.empty((height, width, channels), np.uint8)
    centre_x = round(width * rng.uniform(*_MOSAIC_CENTRE))
    centre_y = round(height * rng.uniform(*_MOSAIC_CENTRE))
    quarters = [
        (0, 0, centre_x, centre_y),
        (centre_x, 0, width, centre_y),
        (0, centre_y, centre_x, height),
        (centre_x, centre_y, width, height),
    ]
    all_boxes, all_rows = [], []
    for (image, boxes), (x1, y1, x2, y2) in zip(parts, quarters, strict=True):
        # The crop must not be larger than the image.
        zoom = max(rng.uniform(*_MOSAIC_ZOOM), (x2 - x1) / width, (y2 - y1) / height)
        crop_w, crop_h = (x2 - x1) / zoom, (y2 - y1) / zoom
        left, top = (
            rng.random() * max(0.0, width - crop_w),
            rng.random() * max(0.0, height - crop_h),
        )
        crop = (left, top, min(left + crop_w, width), min(top + crop_h, height))
        canvas[y1:y2, x1:x2] = resize_array(image, (y2 - y1, x2 - x1), crop)
        moved = (boxes - np.array([left, top, left, top])) * zoom
        moved, rows = clip_boxes(moved, y2 - y1, x2 - x1, min_visibility=min_visibility)
        all_boxes.append(moved + np.array([x1, y1, x1, y1]))
        all_rows.append(rows)
    return canvas, np.concatenate(all_boxes), all_rows
