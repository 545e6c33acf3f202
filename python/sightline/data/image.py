"""Reads images in any form as uint8 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.jpeg import decode_jpeg
from sightline.formats.pictures import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    Picture,
    image_name,
    image_size,
    images_in,
    is_image,
    opened_image,
    orientation,
    pillow,
    shown_size,
)
from sightline.formats.records import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Picture",
    "from_pil",
    "image_size",
    "images_in",
    "is_image",
    "pillow",
    "read_image",
    "to_channels",
    "to_pil",
]

_TO_UINT8 = {
    "bool": "; multiply it by np.uint8(255)",
    "float32": "; of values from 0 to 1 pass (255 * image).round().astype(np.uint8)",
    "float64": "; of values from 0 to 1 pass (255 * image).round().astype(np.uint8)",
    "uint16": "; of values up to 65535 pass (image / 257).round().astype(np.uint8)",
}


def to_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return a uint8 image [H, W] or [H, W, 1 | 3 | 4] as [H, W, channels], 1 (grey) or 3 (RGB).

    Grey is the ITU-R 601 luma 0.299 R + 0.587 G + 0.114 B. Alpha is left out.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = str(getattr(image, "dtype", type(image).__name__))
        raise TypeError(f"`image` must be a uint8 array, got {got}{_TO_UINT8.get(got, '')}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(
            "`image` must have shape [H, W] or [H, W, 1 | 3 | 4] and at least one pixel, "
            f"got {list(image.shape)}{_shape_hint(image.shape)}"
        )
    if image.shape[2] == 4:
        image = image[:, :, :3]
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    luma = image @ np.array([0.299, 0.587, 0.114])
    return np.rint(luma).astype(np.uint8)[:, :, None]


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return "; pass several images as a list"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "; put the channels last with image.transpose(1, 2, 0)"
    return ""


def to_pil(image: NDArray[np.uint8]) -> Any:
    """Return uint8 [H, W, 1 | 3] as a Pillow image of mode L or RGB."""
    return pillow().fromarray(
        np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image)
    )


def from_pil(picture: Any) -> NDArray[np.uint8]:
    """Return a Pillow image of mode L or RGB as a read-only uint8 [H, W, 1 | 3]."""
    array = np.asarray(picture)
    return array[:, :, None] if array.ndim == 2 else array


def read_image(
    picture: Picture,
    *,
    channels: int = 3,
    size: tuple[int, int] | None = None,
    reduction: int = 1,
    max_pixels: int | None = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Return an image as uint8 [H, W, channels], with 3 (RGB) or 1 (grey) channels.

    Palette, grey, CMYK and 16-bit images are converted (16 bits by v / 257, rounded); alpha is
    dropped; the first of several frames is used. EXIF orientation is applied, also that of a PIL
    image that still carries it. The format is recognised by the content, not by the name, and only
    the formats of IMAGE_SUFFIXES are read.

    Args:
        picture: a path, the bytes of an image file, a file opened for reading bytes (from its
            start), a PIL image, or a uint8 array [H, W] or [H, W, 1 | 3 | 4] in RGB order.
        channels: 3 or 1.
        size: the (width, height) in the label file. Where it fits only the image as stored, the
            labels were made without the EXIF orientation, so that is not applied; where it fits
            neither, DataError is raised.
        reduction: 1, 2, 4 or 8. The image has ceil(H / reduction) x ceil(W / reduction) pixels,
            where pixel i covers the pixels from reduction * i to reduction * (i + 1) of the whole
            image, so that coordinates in it are exactly 1 / reduction of those of the whole image.
            A JPEG is reduced while it is decoded, which takes less time; other images are averaged.
        max_pixels: refuse a file whose header states more pixels, without decoding it; None allows
            what fits into memory, which takes 3 bytes per pixel and up to twice that to convert.

    Raises:
        DataError: a missing, empty, truncated or unreadable file, one of too many pixels, or 32-bit
            pixels, whose range is unknown; the message names the image.
        TypeError, ValueError: something that is not an image; an array of another dtype or shape.
    """
    if reduction not in (1, 2, 4, 8):
        raise ValueError(f"`reduction` must be 1, 2, 4 or 8, got {reduction!r}")
    if isinstance(picture, np.ndarray):
        array = to_channels(picture, channels)
        _orientation_for(size, array.shape[1::-1], array.shape[1::-1], "the image")
        return _reduced(array, reduction)
    with opened_image(picture, max_pixels=max_pixels) as image:
        name = image_name(picture)
        whole, shown = image.size, shown_size(image)
        turn = orientation(image) if _orientation_for(size, shown, whole, name) else 1
        pixels = None
        if image is not picture:  # an image of the caller's may be loaded already
            whole_pixels = whole[0] % reduction == whole[1] % reduction == 0
            decoder_reduces = turn in _FROM_FIRST_PIXEL or whole_pixels
            pixels = decode_jpeg(image, reduction if decoder_reduces else 1)
        if pixels is None:
            pixels = _to_uint8(image, name)
        done = reduction if pixels.shape[:2] != whole[::-1] else 1
        array = to_channels(_turned(pixels, turn), channels)
        return _reduced(array, reduction // done)


# The EXIF orientations that keep the first row and column where they start. In the others, the last
# pixel of a reduced image, which covers less where a side is no multiple, would become the first.
_FROM_FIRST_PIXEL = (1, 5)


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The image [H, W] or [H, W, C] with an EXIF orientation applied; unknown ones are ignored."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _reduced(image: NDArray[np.uint8], reduction: int) -> NDArray[np.uint8]:
    """Average `reduction` x `reduction` pixels of uint8 [H, W, 1 | 3], fewer at the far borders."""
    return image if reduction == 1 else from_pil(to_pil(image).reduce(reduction))


def _orientation_for(
    stated: tuple[int, int] | None,
    shown: tuple[int, int],
    stored: tuple[int, int],
    name: str,
) -> bool:
    """Whether the labels of an image refer to it as shown, rather than as stored."""
    if stated is None or stated == shown:
        return True
    if stated == stored:
        return False
    raise DataError(
        f"{name}: the image is {shown[0]} x {shown[1]}, but its label file says "
        f"{stated[0]} x {stated[1]}; the boxes may belong to another image. "
        "Correct the label file"
    )


def _to_uint8(image: Any, name: str) -> NDArray[np.uint8]:
    # A 16-bit PGM opens in mode "I", as does a 16-bit grey PNG in older versions of Pillow.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        raise DataError(f"{name}: pixels of 32 bits have no known range; save it with 8 or 16 bits")
    if image.mode in ("L", "RGB"):
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))
    if image.mode in ("P", "PA", "RGBa"):
        image = image.convert("RGBA")  # a palette with transparency converts only this way
    return np.asarray(image.convert("RGB"))
