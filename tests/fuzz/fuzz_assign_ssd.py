"""assign_ssd against the reference: anchors and objects that tie, repeat, touch or lie nowhere."""

import numpy as np

from sightline import ops, reference

CASES = 10_000


def whole_boxes(rng: np.random.Generator, n: int, dtype: type) -> np.ndarray:
    """Boxes on whole pixels, where equal overlaps are common; some are bad."""
    corner = rng.integers(0, 24, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(-1, 16, corner.shape)], 1).astype(dtype)
    boxes[rng.random(boxes.shape) < 0.01] = rng.choice([np.nan, np.inf, 1e30])
    return boxes


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    anchors = whole_boxes(rng, rng.integers(0, 60), dtype)
    gt_boxes = [whole_boxes(rng, rng.integers(0, 12), dtype) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.3 and len(gt_boxes[0]):  # the same object again and again
        gt_boxes.append(np.repeat(gt_boxes[0], 3, 0))
    settings = {
        "threshold": float(rng.choice([0, 0.25, 0.5, 0.75, 1])),
        "rule": str(rng.choice(["default", "torchvision"])),
    }
    got = ops.assign_ssd(anchors, gt_boxes, **settings)
    expected = reference.assign_ssd(anchors, gt_boxes, **settings)
    np.testing.assert_array_equal(got, expected, f"{anchors!r} {gt_boxes!r} {settings}")
