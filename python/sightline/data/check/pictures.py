"""Decodes every image of a data set in threads, and keeps a few numbers of each."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.image import read_image, to_pil
from sightline.formats.pictures import MAX_PIXELS, opened_image, orientation, pillow, shown_size
from sightline.formats.records import DataError

__all__ = ["FEATURES", "Look", "grey_thumbnail", "look_at", "look_at_all"]

# What is compared between splits: how images look, apart from what they show.
FEATURES = ("width", "height", "brightness", "contrast", "sharpness", "saturation", "red", "blue")
_SMALL_SIDE = 256  # to which images are reduced before their looks are measured
_LARGE = 20_000_000  # pixels: of such images one is decoded at a time, to bound memory
_BATCH = 512
_one_large = threading.Lock()


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of an image: 200 bytes.

    `error` says why it cannot be read. `stored` is (width, height) without the EXIF orientation
    `turn`, `shown` with it. `content` is a hash of the file, `hash` one of how it looks (None where
    it is almost uniform), `features` float32 [len(FEATURES)].
    """

    error: str = ""
    stored: tuple[int, int] = (0, 0)
    shown: tuple[int, int] = (0, 0)
    turn: int = 1
    content: bytes = b""
    hash: int | None = None
    features: NDArray[np.float32] | None = None

    def fits(self, stated: Sequence[int]) -> bool:
        """Whether a label file may state this width and height: with the orientation or without."""
        return tuple(stated) in (self.shown, self.stored)


def look_at_all(
    paths: Sequence[Path], *, decode: bool = True, max_pixels: int | None = MAX_PIXELS
) -> Iterator[Look]:
    """Yield the look of each image, in order; images are decoded in as many threads as CPUs."""
    workers = max(1, min(16, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), _BATCH):  # so that few results wait
            batch = paths[start : start + _BATCH]
            yield from pool.map(lambda path: look_at(path, decode, max_pixels), batch)


def look_at(path: Path, decode: bool = True, max_pixels: int | None = MAX_PIXELS) -> Look:
    """Return the look of an image; without `decode` its sizes alone."""
    try:
        with opened_image(path, max_pixels=max_pixels) as image:
            look = Look(stored=image.size, shown=shown_size(image), turn=orientation(image))
        if not decode:
            return look
        with nullcontext() if look.stored[0] * look.stored[1] <= _LARGE else _one_large:
            reduction = _reduction(look.stored)
            pixels = read_image(path, reduction=reduction, max_pixels=max_pixels)
            return _measured(look, path, pixels)
    except DataError as error:
        return Look(error=str(error))


def _reduction(size: tuple[int, int]) -> int:
    """By how much an image is reduced while all of its file is decoded, to save time."""
    fits = [factor for factor in (1, 2, 4, 8) if max(size) >= 2 * _SMALL_SIDE * factor]
    return max(fits, default=1)


def _measured(look: Look, path: Path, pixels: NDArray[np.uint8]) -> Look:
    image = to_pil(pixels)
    small = image.reduce(max(1, -(-max(image.size) // _SMALL_SIDE)))
    rgb = np.asarray(small, np.float32)
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    laplacian = (
        4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    )
    mean = rgb.mean(axis=(0, 1))
    luma = float(grey.mean())
    values = (
        *look.shown,
        luma,
        float(grey.std()),
        float(np.log1p(laplacian.std())) if laplacian.size else 0.0,
        float((rgb.max(axis=2) - rgb.min(axis=2)).mean()),
        float(mean[0]) - luma,
        float(mean[2]) - luma,
    )
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()[:16]
    return Look(
        *("", look.stored, look.shown, look.turn, content),
        hash=_difference_hash(small) if grey.std() > 2 else None,
        features=np.array(values, np.float32),
    )


def _difference_hash(image: Any) -> int:
    """64 bits: whether each of 8 x 8 cells is brighter than its right neighbour."""
    cells = np.asarray(_grey(image, (9, 8)), np.int16)
    bits = (cells[:, :-1] > cells[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _grey(image: Any, size: tuple[int, int]) -> Any:
    return image.convert("L").resize(size, pillow().Resampling.BOX)


def grey_thumbnail(path: Path, side: int, max_pixels: int | None) -> NDArray[np.float32]:
    """Return an image as float32 [side, side], stretched, grey."""
    return np.asarray(_grey(to_pil(read_image(path, max_pixels=max_pixels)), (side, side)), "f4")
