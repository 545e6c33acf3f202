"""assign_yolo against the reference: broken sizes, shared cells, bad boxes and anchors."""

import numpy as np

from sightline import ops, reference

from .fuzz_assign_ssd import whole_boxes

CASES = 10_000


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    levels = rng.integers(1, 4)
    strides = [float(rng.choice([3.3, 4, 8, 16])) for _ in range(levels)]
    maps = [tuple(map(int, rng.integers(0, 7, 2))) for _ in range(levels)]
    anchors = [rng.integers(1, 16, (rng.integers(0, 5), 2)).astype(dtype) for _ in range(levels)]
    for sizes in anchors:
        sizes[rng.random(sizes.shape) < 0.03] = rng.choice([0, -1, np.nan, np.inf, 1e30])
    gt_boxes = [whole_boxes(rng, rng.integers(0, 20), dtype) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.5:
        gt_boxes = [boxes * dtype(0.77) for boxes in gt_boxes]
    settings = {
        "rule": str(rng.choice(["v2", "v3", "v5"])),
        "ratio_threshold": float(rng.choice([1.01, 1.5, 2, 4])),
    }
    got = ops.assign_yolo(gt_boxes, anchors, maps, strides, **settings)
    expected = reference.assign_yolo(gt_boxes, anchors, maps, strides, **settings)
    case = f"{gt_boxes!r} {anchors!r} {maps} {strides} {settings}"
    np.testing.assert_array_equal(got, expected, case)
