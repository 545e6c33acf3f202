"""Decodes JPEG files with simplejpeg, to the pixels that Pillow gives, in less time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_jpeg"]

# Grey and RGB; the others (CMYK) are converted by Pillow.
_COLORSPACES = {"L": "GRAY", "RGB": "RGB"}
# Below, two scales of the decoder may give the same size, and it would choose the smaller.
_MIN_REDUCED_SIDE = 16


def decode_jpeg(image: Any, reduction: int = 1) -> NDArray[np.uint8] | None:
    """Return the pixels of an opened JPEG as stored, uint8 [h, w] or [h, w, 3].

    simplejpeg and Pillow contain the same decoder with the same settings, and give the same bits.
    simplejpeg refuses a file with any damage; what Pillow makes of it is then the answer.

    Args:
        image: an image that Pillow opened and has not loaded.
        reduction: 1, 2, 4 or 8: the decoder itself scales by 1 / reduction, to
            ceil(side / reduction) pixels, each of which covers `reduction` x `reduction` pixels.

    Returns:
        None where Pillow must decode the image: no JPEG, an unusual one, or no simplejpeg. Where
        Pillow can scale as the decoder of simplejpeg does, it is told to.
    """
    if image.format not in ("JPEG", "MPO") or image.mode not in _COLORSPACES:
        return None
    width, height = image.size
    if reduction > 1 and min(width, height) < _MIN_REDUCED_SIDE:
        return None
    try:
        import simplejpeg
    except ImportError:
        pixels = None
    else:
        image.fp.seek(0)
        try:
            pixels = simplejpeg.decode_jpeg(
                image.fp.read(),
                _COLORSPACES[image.mode],
                min_height=-(-height // reduction),
                min_width=-(-width // reduction),
            )
        except MemoryError:
            raise
        except Exception:  # damaged or unusual
            pixels = None
    if pixels is None:
        image.draft(None, (width // reduction, height // reduction))
        return None
    return pixels[:, :, 0] if image.mode == "L" else pixels
