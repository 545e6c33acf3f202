"""assign_sim_ota against the reference: objects in one place, few anchors, bad predictions."""

import numpy as np

from sightline import ops, reference

CASES = 5_000


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes with whole corners moved a little, since rounding would break ties; some are bad."""
    corner = rng.integers(-4, 28, (n, 2)) + rng.uniform(0, 0.1, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(-1, 24, corner.shape)], 1)
    boxes[rng.random(boxes.shape) < 0.01] = rng.choice([np.nan, np.inf, 1e200])
    return boxes


def check(rng: np.random.Generator) -> None:
    images, anchors, classes = rng.integers(0, 4), rng.integers(0, 150), rng.integers(1, 40)
    scores = rng.uniform(0, 1, (images, anchors, classes)) ** rng.choice([1, 9])
    scores[rng.random(scores.shape) < 0.01] = rng.choice([np.nan, np.inf, -1, 1.5])
    boxes = random_boxes(rng, images * anchors).reshape(images, anchors, 4)
    points = rng.integers(0, 32, (anchors, 2)).astype(np.float64)
    points[rng.random(points.shape) < 0.01] = np.nan
    strides = rng.choice([1.0, 2.0, 8.0], anchors)
    gt_boxes = [random_boxes(rng, rng.integers(0, 8)) for _ in range(images)]
    if images and rng.random() < 0.3:  # the same object again and again
        gt_boxes[0] = np.repeat(gt_boxes[0], 3, 0)
    gt_labels = [rng.integers(0, classes, len(objects)) for objects in gt_boxes]
    settings = {
        "top_k": int(rng.choice([1, 3, 10, 200])),
        "center_radius": float(rng.choice([0.5, 1.5, 2.5])),
        "iou_weight": float(rng.choice([1, 3])),
        "class_weight": float(rng.choice([0.5, 1, 2])),
    }
    case = scores, boxes, points, strides, gt_boxes, gt_labels
    got = ops.assign_sim_ota(*case, **settings)
    expected = reference.assign_sim_ota(*case, **settings)
    for own, other in zip(got, expected):
        np.testing.assert_array_equal(own, other, f"{case!r} {settings}")
