"""Boxes that tests of several ops share."""

import numpy as np


def random_boxes(rng, n, dtype=np.float32, bad=False):
    """[n, 4]; negative coordinates among them and, with `bad`, degenerate and infinite boxes."""
    corner = rng.uniform(-50, 100, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 60, (n, 2))], 1)
    if bad:
        kind = rng.integers(0, 6, n)
        boxes[kind == 0, 2:] = boxes[kind == 0, :2]
        boxes[kind == 1] = boxes[kind == 1][:, [2, 3, 0, 1]]
        boxes[kind == 2] = np.round(boxes[kind == 2])
        big = 0.9 * float(np.finfo(dtype).max)
        for value in (np.nan, np.inf, -np.inf, big, -big):
            boxes[rng.random(boxes.shape) < 0.02] = value
    return boxes.astype(dtype)


def random_scores(rng, shape, dtype=np.float32):
    """With many ties, a few NaN and infinities, and zeros of both signs."""
    scores = np.round(rng.uniform(-1, 1, shape), 2).astype(dtype)
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
        scores[rng.random(shape) < 0.02] = value
    return scores


def awkward_layouts(array):
    """The same values strided, transposed, big-endian and read-only."""
    strided = np.zeros((2 * array.shape[0], *array.shape[1:]), array.dtype)[::2]
    strided[...] = array
    readonly = array.copy()
    readonly.flags.writeable = False
    swapped = array.astype(array.dtype.newbyteorder(">"))
    return [strided, np.asfortranarray(array), swapped, readonly]
