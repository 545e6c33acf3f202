"""Draws changes of images at random."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.change import Change
from sightline.data.augment.colours import draw_colors
from sightline.data.augment.elastic import draw_displacements
from sightline.data.augment.geometry import (
    Matrix,
    about,
    flip_matrix,
    scaling,
    stretching,
    tilting,
    turning,
)
from sightline.data.augment.settings import Augment

__all__ = ["Rectangle", "draw_change", "unchanged"]

Rectangle = tuple[int, int, int, int]

# Aspect ratio of a crop, relative to the image's: that of GoogLeNet's crops.
_CROP_RATIO = (3 / 4, 4 / 3)
_CUTOUT_SIDE = (0.1, 0.4)  # of the input's sides
_BLACK = (0.0, 0.0, 0.0)


def unchanged(
    size_in: tuple[int, int],
    size: tuple[int, int],
    *,
    base: Matrix | None = None,
    fill: Sequence[float] = _BLACK,
) -> Change:
    """Return the change that only resizes; arguments as for `draw_change`."""
    if base is None:
        base = scaling(size[1] / size_in[1], size[0] / size_in[0])
    return Change(size_in, size, base, tuple(map(float, fill)))


def draw_change(
    augment: Augment,
    size_in: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    base: Matrix | None = None,
    fill: Sequence[float] = _BLACK,
) -> Change:
    """Draw one change of an image at random; `mosaic`, `mixup` and `level` are up to the caller.

    Args:
        augment: the settings.
        size_in, size: (height, width) of the decoded image and of the network's input.
        rng: the source of all random numbers; what is drawn depends on the settings and `size`
            alone.
        base: float64 [3, 3], the resizing without augmentation, where it is not stretching; by
            default the image is stretched to the input.
        fill: colour outside the image, one value per channel in 0 to 255.

    >>> change = draw_change(Augment(rotate=5.0), (480, 640), (240, 320), np.random.default_rng(0))
    >>> change.image(np.zeros((480, 640, 3), np.uint8)).shape
    (240, 320, 3)
    >>> boxes, rows = change.boxes(np.array([[100.0, 100, 300, 200]]))
    """
    plain = unchanged(size_in, size, base=base, fill=fill)
    return Change(
        size_in,
        size,
        _draw_matrix(augment, plain, rng),
        plain.fill,
        displacements=_draw_elastic(augment, size, rng),
        colors=draw_colors(augment, rng),
        blur=rng.uniform(0, augment.blur) if augment.blur else 0.0,
        noise=rng.uniform(0, augment.noise) if augment.noise else 0.0,
        noise_seed=int(rng.integers(2**63)) if augment.noise else 0,
        cutout=_draw_cutout(augment, size, rng),
        min_visibility=augment.min_visibility,
    )


def _draw_matrix(augment: Augment, plain: Change, rng: np.random.Generator) -> Matrix:
    """Tilt the image, resize, crop, turn and shift it, then mirror the result."""
    (height, width), matrix = plain.size, plain.matrix
    if augment.perspective:
        x, y = rng.uniform(-augment.perspective, augment.perspective, 2)
        middle_x, middle_y = plain.size_in[1] / 2, plain.size_in[0] / 2
        # Before all else, where the image ends at the distance that keeps it before the horizon.
        matrix = matrix @ about(tilting(x / middle_x, y / middle_y), middle_x, middle_y)
    if augment.crop:
        matrix = stretching(_draw_crop(augment.crop, plain.size, rng), plain.size, (0, 0)) @ matrix
    if _moves(augment):
        zoom = _log_uniform(augment.scale, rng)
        right, down = rng.uniform(-augment.translate, augment.translate, 2)
        angle, shear_x, shear_y = (
            math.radians(rng.uniform(-limit, limit)) if limit else 0.0
            for limit in (augment.rotate, augment.shear, augment.shear)
        )
        there = width * (0.5 + right), height * (0.5 + down)
        turn = turning(angle, shear_x, shear_y, zoom)
        matrix = about(turn, width / 2, height / 2, to=there) @ matrix
    horizontal = bool(augment.flip_h) and rng.random() < augment.flip_h
    vertical = bool(augment.flip_v) and rng.random() < augment.flip_v
    if horizontal or vertical:
        matrix = flip_matrix(plain.size, horizontal=horizontal, vertical=vertical) @ matrix
    return matrix


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _moves(augment: Augment) -> bool:
    still = augment.translate == augment.rotate == augment.shear == 0
    return augment.scale != (1.0, 1.0) or not still


def _draw_crop(
    share: float, size: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw a box of 1 - `share` to 1 of the area, as near to a random aspect ratio as it can be."""
    area = 1 - rng.uniform(0, share)
    ratio = _log_uniform(_CROP_RATIO, rng)
    wide = min(1.0, max(area, math.sqrt(area * ratio)))
    high = area / wide
    x, y = rng.random() * (1 - wide), rng.random() * (1 - high)
    return x * size[1], y * size[0], (x + wide) * size[1], (y + high) * size[0]


def _draw_elastic(
    augment: Augment, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32] | None:
    if not augment.elastic:
        return None
    return draw_displacements(rng.uniform(0, augment.elastic) * min(size), *size, rng)


def _draw_cutout(
    augment: Augment, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Rectangle, ...]:
    if not augment.cutout or rng.random() >= augment.cutout:
        return ()
    height, width = (max(1, round(side * rng.uniform(*_CUTOUT_SIDE))) for side in size)
    top, left = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1)
    return ((int(left), int(top), int(left) + width, int(top) + height),)
