"""Pictures from disk as uint8 arrays, whatever way they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.annotations import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
_EXIF_ORIENTATION = 0x0112


def pillow() -> Any:
    """Return the PIL.Image module, or raise ImportError that says how to install it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError("reading images needs Pillow: pip install 'sightline[train]'") from error
    return PIL.Image


def is_image(path: Path) -> bool:
    """Say whether the file name ends as an image's does, and is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def to_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return a uint8 image [H, W] or [H, W, 1 | 3 | 4] as [H, W, channels], 1 (grey) or 3 (RGB).

    Grey is the ITU-R 601 luma 0.299 R + 0.587 G + 0.114 B. Alpha is left out.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"`image` must be a uint8 array, got {got}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(
            "`image` must have shape [H, W] or [H, W, 1 | 3 | 4] and at least one pixel, "
            f"got {list(image.shape)}"
        )
    if image.shape[2] == 4:
        image = image[:, :, :3]
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    luma = image @ np.array([0.299, 0.587, 0.114])
    return np.rint(luma).astype(np.uint8)[:, :, None]


def to_pil(image: NDArray[np.uint8]) -> Any:
    """Return uint8 [H, W, 1 | 3] as a Pillow image of mode L or RGB."""
    return pillow().fromarray(
        np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image)
    )


def from_pil(picture: Any) -> NDArray[np.uint8]:
    """Return a Pillow image of mode L or RGB as a read-only uint8 [H, W, 1 | 3]."""
    array = np.asarray(picture)
    return array[:, :, None] if array.ndim == 2 else array


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image as shown, from the file's header alone."""
    with _open(path) as image:
        width, height = image.size
        if _turned(image):
            width, height = height, width
    return width, height


def read_image(
    path: str | Path, *, channels: int = 3, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Decode an image to uint8 [H, W, channels], 3 (RGB) or 1 (grey).

    Palette, grey, CMYK and 16-bit images are converted (16 bits by v / 257, rounded); alpha is left
    out. EXIF orientation is applied. `size` is the (width, height) that the label file states:
    where it fits only the image as stored, the labels were made without the orientation and so it
    is not applied; where it fits neither, DataError. A missing, empty, truncated or unreadable file
    is a DataError that names it.
    """
    path = Path(path)
    with _open(path) as image:
        shown = image.size[::-1] if _turned(image) else image.size
        stored_only = size is not None and size != shown and size == image.size
        if size is not None and size != shown and not stored_only:
            raise DataError(
                f"{path}: the image is {shown[0]} x {shown[1]}, but its label file says "
                f"{size[0]} x {size[1]}; the boxes may belong to another image. "
                "Correct the label file"
            )
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{path}: cannot decode the image ({error}); "
                "replace the file, or remove it and its label"
            ) from error
        if not stored_only:
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        array = _to_uint8(image, path)
    return to_channels(array, channels)


def _open(path: Path) -> Any:
    try:
        if path.stat().st_size == 0:
            raise DataError(
                f"{path}: the image file is empty; replace it, or remove it and its label"
            )
        return pillow().open(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image; check the path and the split list") from error
    except OSError as error:
        raise DataError(
            f"{path}: not a readable image ({error}); replace the file, or remove it and its label"
        ) from error


def _turned(image: Any) -> bool:
    """Orientations 5 to 8 swap width and height."""
    return image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)


def _to_uint8(image: Any, path: Path) -> NDArray[np.uint8]:
    # Older versions of Pillow open a 16-bit grey PNG in mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        raise DataError(f"{path}: pixels of 32 bits have no known range; save it with 8 or 16 bits")
    if image.mode in ("L", "RGB"):
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette with transparency converts only this way
    return np.asarray(image.convert("RGB"))
