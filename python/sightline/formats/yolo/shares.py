"""Pixels from the shares of an image's sides that label files hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pixel_of_share", "pixels_of_shares"]

_DECIMALS = 9  # of a pixel
_UNITS = 10.0**_DECIMALS


def pixels_of_shares(shares: ArrayLike, width: int, height: int) -> NDArray[np.float64]:
    """Return points [..., 2] in pixels of points as shares of the sides of an image.

    They are rounded to nine decimals, far finer than shares of six digits: a share has no more than
    the 16 digits of float64, so that only rounding gives back the number that it was made from.

    >>> pixels_of_shares([0.5 - 0.98125 / 2, 0.1], 640, 480).tolist()
    [6.0, 48.0]
    """
    return np.round(np.asarray(shares, np.float64) * (width, height), _DECIMALS)


def pixel_of_share(share: float, side: int) -> float:
    """Return one coordinate as `pixels_of_shares` does, to the bit; quicker for a single box.

    >>> pixel_of_share(0.5 - 0.98125 / 2, 640)
    6.0
    """
    return round(share * side * _UNITS) / _UNITS
