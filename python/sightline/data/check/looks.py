"""Tells whether a split looks different from the training split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.data.check.pictures import FEATURES

__all__ = ["Difference", "differences"]

_FEWEST = 10  # images of a split
_DISTANCE = 0.5  # Kolmogorov-Smirnov: the largest difference of the two distributions
_LEVEL = 1e-3  # of the test, for all features together


class Difference(NamedTuple):
    """A feature in which two splits differ.

    `distance` is the largest difference of the two cumulative distributions, from 0 to 1.
    """

    feature: str
    train: float  # median
    other: float  # median
    distance: float


def differences(
    train: NDArray[np.float32], other: NDArray[np.float32], names: Sequence[str] = FEATURES
) -> Iterator[Difference]:
    """Yield the features [N, F] of images in which two splits differ, the clearest first.

    A feature differs where the Kolmogorov-Smirnov distance is at least 0.5, and random splits of
    the same sizes would reach it in less than one of a thousand cases for all features together.
    """
    if min(len(train), len(other)) < _FEWEST:
        return
    found = []
    for place, name in enumerate(names):
        one, two = train[:, place], other[:, place]
        distance = _distance(one, two)
        if distance >= _DISTANCE and _chance(distance, len(one), len(two)) < _LEVEL / len(names):
            found.append(Difference(name, float(np.median(one)), float(np.median(two)), distance))
    yield from sorted(found, key=lambda it: -it.distance)


def _distance(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    values = np.sort(np.concatenate([one, two]))
    shares = [
        np.searchsorted(np.sort(part), values, side="right") / len(part) for part in (one, two)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _chance(distance: float, count1: int, count2: int) -> float:
    """An upper bound of the chance of such a distance between random splits (Smirnov 1948)."""
    effective = count1 * count2 / (count1 + count2)
    root = np.sqrt(effective)
    scaled = (root + 0.12 + 0.11 / root) * distance
    return float(2 * np.exp(-2 * scaled**2))
