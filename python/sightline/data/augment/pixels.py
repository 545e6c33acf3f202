"""Draws the pixels of a changed image: one pass for geometry, colour and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.colours import for_channels
from sightline.data.augment.geometry import Matrix
from sightline.data.image import from_pil, to_pil

__all__ = ["render", "render_masks"]

_IDENTITY = np.eye(3)
_MOST_CHANNELS = 4  # of one call of `warp`


def _warp(*arguments: Any, **options: Any) -> Any:
    from sightline.ops.warp import warp  # imports torch where that is installed

    return warp(*arguments, **options)


def render(
    picture: NDArray[np.uint8],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    displacements: NDArray[np.float32] | None,
    colors: NDArray[np.float32] | None,
    fill: Sequence[float],
    blur: float,
    noise: float,
    noise_seed: int,
    cutout: Sequence[tuple[int, int, int, int]],
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Draw a picture where `matrix` and `displacements` take it; arguments as in `Change`."""
    channels = picture.shape[2]
    fill = fill[:channels]
    options: dict[str, Any] = {
        "displacements": displacements,
        "colors": None if colors is None else for_channels(colors, channels),
        "fill": fill,
    }
    if not (blur or noise or cutout):
        return _warp(picture, matrix, size, **options, mean=mean, std=std)
    image = _warp(picture, matrix, size, **options)
    if blur:
        image = _blurred(image, blur)
    if noise:
        image = _noisy(image, noise, noise_seed)
    if cutout:
        image = image.copy()
        for x1, y1, x2, y2 in cutout:
            image[y1:y2, x1:x2] = np.rint(fill)
    return image if mean is None else _warp(image, _IDENTITY, size, mean=mean, std=std)


def render_masks(
    masks: NDArray[Any],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    displacements: NDArray[np.float32] | None,
    fill: int,
) -> NDArray[Any]:
    """Draw masks of whole numbers [N, H, W] by their nearest pixel: [N, h, w]."""
    count, height, width = masks.shape
    item = masks.dtype.itemsize
    # The bytes of all numbers become channels, which the nearest pixel does not mix.
    split = np.ascontiguousarray(masks).view(np.uint8).reshape(count, height, width, item)
    layers = split.transpose(1, 2, 0, 3).reshape(height, width, -1)
    outside = np.full(count, fill, masks.dtype).view(np.uint8)
    out = np.empty((*size, count * item), np.uint8)
    for first in range(0, count * item, _MOST_CHANNELS):
        channels = np.arange(first, first + _MOST_CHANNELS) % (count * item)
        found = _warp(
            np.ascontiguousarray(layers[..., channels]),
            matrix,
            size,
            displacements=displacements,
            fill=outside[channels].tolist(),
            interpolation="nearest",
        )
        last = min(first + _MOST_CHANNELS, count * item)
        out[..., first:last] = found[..., : last - first]
    numbers = np.ascontiguousarray(out.reshape(*size, count, item).transpose(2, 0, 1, 3))
    return numbers.view(masks.dtype)[..., 0]


def _blurred(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    from PIL import ImageFilter

    return from_pil(to_pil(image).filter(ImageFilter.GaussianBlur(sigma)))


def _noisy(image: NDArray[np.uint8], share: float, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    noise *= np.float32(share * 255)
    noise += image
    return np.clip(np.rint(noise, out=noise), 0, 255).astype(np.uint8)
