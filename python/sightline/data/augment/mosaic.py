"""Mosaic: four images in the quarters around a random point; and mixup: two blended images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.data.augment.draw import Rectangle
from sightline.data.augment.geometry import Matrix, stretching

__all__ = ["Quarter", "draw_blend", "draw_quarters"]

_CENTRE = (0.3, 0.7)  # of the image's sides
_ZOOM = (0.5, 1.0)
# The first image's share is drawn from Beta(a, a). Objects of both images are trained on, so both
# should be seen: .5 +- .06. For classes, Zhang et al., "mixup", ICLR 2018, take .1 to .4, where
# most blends are nearly one of the images.
_BLEND_OF_BOXES, _BLEND_OF_CLASSES = 32.0, 0.2


@dataclass(frozen=True, eq=False)
class Quarter:
    """One part of a mosaic.

    Attributes:
        window: xyxy of the part in whole pixels of the network's input.
        crop: float64 [3, 3], from pixels of an image of the input's size to those of the part.
    """

    window: Rectangle
    crop: Matrix

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        x1, y1, x2, y2 = self.window
        return y2 - y1, x2 - x1


def draw_quarters(size: tuple[int, int], rng: np.random.Generator) -> list[Quarter]:
    """Draw four quarters of an input of (height, width), each of which shows a random crop."""
    height, width = size
    x = min(max(1, round(width * rng.uniform(*_CENTRE))), width - 1)
    y = min(max(1, round(height * rng.uniform(*_CENTRE))), height - 1)
    windows = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    return [Quarter(window, _draw_crop(window, size, rng)) for window in windows]


def _draw_crop(window: Rectangle, size: tuple[int, int], rng: np.random.Generator) -> Matrix:
    x1, y1, x2, y2 = window
    wide, high = x2 - x1, y2 - y1
    # The crop must not be larger than the image.
    zoom = max(rng.uniform(*_ZOOM), wide / size[1], high / size[0])
    left = rng.random() * max(0.0, size[1] - wide / zoom)
    top = rng.random() * max(0.0, size[0] - high / zoom)
    return stretching((left, top, left + wide / zoom, top + high / zoom), (high, wide), (0, 0))


def draw_blend(rng: np.random.Generator, *, boxed: bool) -> float:
    """Draw the share of the first of two blended images, for a set of boxes or of classes."""
    strength = _BLEND_OF_BOXES if boxed else _BLEND_OF_CLASSES
    return float(rng.beta(strength, strength))
