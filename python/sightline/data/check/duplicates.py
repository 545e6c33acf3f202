"""Finds duplicate images, above all in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.data.check.pictures import Look, grey_thumbnail
from sightline.formats.records import DataError

__all__ = ["equal_images", "similar_images"]

_BITS = 8  # of 64 in which hashes of similar images may differ
_SIDE = 48
_MOST_COMPARED = 20_000_000_000  # pairs of hashes: about a minute
_MOST_VERIFIED = 2_000  # pairs whose images are decoded again
_CORRELATION = 0.99  # at most 0.986 between images of BCCD, digits, nuclei or clothes


def equal_images(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Return (first, other) for each image whose file equals an earlier one."""
    first: dict[bytes, int] = {}
    pairs = []
    for place, look in enumerate(looks):
        if look.content:
            earlier = first.setdefault(look.content, place)
            if earlier != place:
                pairs.append((earlier, place))
    return pairs


def similar_images(
    paths: Sequence[Path],
    looks: Sequence[Look],
    splits: NDArray[np.int64],
    *,
    max_pixels: int | None = None,
) -> tuple[list[tuple[int, int, float]], bool]:
    """Return (first, other, correlation) of images of two splits that show the same picture.

    Candidates are images whose hashes differ in few bits; they are compared at 48 x 48 pixels. Of
    each image only the first pair is looked for.

    Args:
        splits: the split of each image, negative for none.

    Returns:
        The pairs, and whether all images were compared: it ends after about a minute of comparing
        hashes, and after 2,000 pairs of candidates.
    """
    usable = np.array([look.hash is not None for look in looks], bool) & (splits >= 0)
    hashes = np.array([look.hash or 0 for look in looks], np.uint64)
    rest, complete = _MOST_VERIFIED, True
    pairs: list[tuple[int, int, float]] = []
    for split in np.unique(splits[usable])[1:].tolist():
        mine = np.flatnonzero(usable & (splits == split))
        earlier = np.flatnonzero(usable & (splits < split))
        if len(mine) * len(earlier) > _MOST_COMPARED:
            return pairs, False
        for place in mine.tolist():
            bits = np.bitwise_count(hashes[earlier] ^ hashes[place])
            for other in earlier[bits <= _BITS][np.argsort(bits[bits <= _BITS])][:4].tolist():
                if looks[other].content == looks[place].content:
                    continue
                if not rest:
                    complete = False
                    break
                rest -= 1
                value = _correlation(paths[other], paths[place], max_pixels)
                if value is not None:
                    pairs.append((other, place, value))
                    break
    return pairs, complete


def _correlation(first: Path, other: Path, max_pixels: int | None) -> float | None:
    """The correlation of two images that are the same up to coding; None for different ones."""
    try:
        one, two = (grey_thumbnail(path, _SIDE, max_pixels) for path in (first, other))
    except DataError:
        return None
    value = float(np.corrcoef(one.ravel(), two.ravel())[0, 1])
    return value if value >= _CORRELATION else None
