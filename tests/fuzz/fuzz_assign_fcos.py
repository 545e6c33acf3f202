"""assign_fcos against the reference: points on borders and centres, equal areas, bad boxes."""

from itertools import pairwise

import numpy as np

from sightline import ops, reference

CASES = 5_000


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    strides = [8.0 * 2**level for level in range(rng.integers(1, 4))]
    # Whole numbers meet borders, centres and ends of ranges exactly.
    points = [rng.integers(0, 64, (rng.integers(0, 30), 2)).astype(dtype) for _ in strides]
    gt_boxes = []
    for _ in range(rng.integers(1, 4)):
        corner = rng.integers(-8, 56, (rng.integers(0, 7), 2))
        boxes = np.concatenate([corner, corner + rng.integers(-2, 60, corner.shape)], 1)
        boxes = boxes.astype(dtype)
        bad = rng.random(boxes.shape) < 0.03
        boxes[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30], bad.sum())
        gt_boxes.append(boxes)
    ends = [0.0, *np.sort(rng.integers(0, 64, len(strides) - 1)).tolist(), np.inf]
    settings = {
        "strides": strides,
        "size_ranges": list(pairwise(ends)),
        "center_radius": float(rng.choice([0.5, 1.0, 1.5, np.inf])),
    }
    got = ops.assign_fcos(points, gt_boxes, **settings)
    expected = reference.assign_fcos(points, gt_boxes, **settings)
    np.testing.assert_array_equal(got, expected, f"{points!r} {gt_boxes!r} {settings}")
