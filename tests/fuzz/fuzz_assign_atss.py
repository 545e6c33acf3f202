"""assign_atss against the reference: levels of grids and of boxes anywhere, ties, bad boxes."""

import numpy as np

from sightline import ops, reference

from .fuzz_assign_ssd import whole_boxes

CASES = 10_000


def grid(rng: np.random.Generator, stride: int, dtype: type) -> np.ndarray:
    """Anchors of one to three sizes on every cell, in whole or half pixels."""
    side = rng.integers(0, 14)
    column, row = np.meshgrid(np.arange(side), np.arange(rng.integers(0, 14)))
    centre = (np.stack([column, row], -1).reshape(-1, 1, 2) + 0.5) * stride
    half = rng.integers(1, 8 * stride, (1, rng.integers(1, 4), 2)) / 2
    return np.concatenate([centre - half, centre + half], -1).reshape(-1, 4).astype(dtype)


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    anchors = [
        grid(rng, 4 * 2**level, dtype)
        if rng.random() < 0.6
        else whole_boxes(rng, rng.integers(0, 150), dtype)
        for level in range(rng.integers(1, 5))
    ]
    gt_boxes = [whole_boxes(rng, rng.integers(0, 12), dtype) for _ in range(rng.integers(1, 4))]
    gt_boxes[0] = np.repeat(gt_boxes[0], rng.integers(1, 3), 0)  # the same object twice
    top_k = int(rng.choice([1, 2, 4, 9, 30, 1000]))
    got = ops.assign_atss(anchors, gt_boxes, top_k=top_k)
    expected = reference.assign_atss(anchors, gt_boxes, top_k=top_k)
    np.testing.assert_array_equal(got, expected, f"{anchors!r} {gt_boxes!r} {top_k}")
