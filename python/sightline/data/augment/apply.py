"""Changes one image and its boxes at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.draw import draw_change
from sightline.data.augment.settings import Augment

__all__ = ["apply_augment"]


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
        augment: the settings, of which `mosaic`, `mixup` and `level` concern a whole set.
        rng: the source of all random numbers.
        fill: colour of the area outside the original image, one value per channel.

    Returns:
        image uint8 of the same shape, boxes float64 [K, 4] inside the image, rows int64 [K].
    """
    size = image.shape[0], image.shape[1]
    change = draw_change(augment, size, size, rng, fill=fill)
    kept, rows = change.boxes(boxes)
    changed = change.image(image)
    assert changed.dtype == np.uint8
    return changed.astype(np.uint8, copy=False), kept, rows
