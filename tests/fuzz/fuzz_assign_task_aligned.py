"""assign_task_aligned against the reference: ties, objects in one place, bad predictions."""

import numpy as np

from sightline import ops, reference

CASES = 5_000


def whole_boxes(rng: np.random.Generator, n: int, dtype: type) -> np.ndarray:
    """Boxes on whole pixels, where equal overlaps are common; some are bad."""
    corner = rng.integers(-4, 28, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(-1, 24, corner.shape)], 1).astype(dtype)
    boxes[rng.random(boxes.shape) < 0.01] = rng.choice([np.nan, np.inf, 1e30])
    return boxes


def check(rng: np.random.Generator) -> None:
    overlap = str(rng.choice(["iou", "iou", "ciou"]))
    dtype = np.float64 if overlap == "ciou" else rng.choice([np.float32, np.float64])
    images, anchors, classes = rng.integers(0, 4), rng.integers(0, 150), rng.integers(1, 4)
    scores = (rng.integers(0, 5, (images, anchors, classes)) / 4).astype(dtype)
    scores[rng.random(scores.shape) < 0.02] = rng.choice([np.nan, np.inf, -1])
    boxes = whole_boxes(rng, images * anchors, dtype).reshape(images, anchors, 4)
    points = rng.integers(0, 32, (anchors, 2)).astype(dtype)
    points[rng.random(points.shape) < 0.01] = np.nan
    gt_boxes = [whole_boxes(rng, rng.integers(0, 8), dtype) for _ in range(images)]
    if images and rng.random() < 0.3:  # the same object again and again
        gt_boxes[0] = np.repeat(gt_boxes[0], 3, 0)
    if overlap == "ciou":  # no ties, which rounding would break in another way
        boxes += rng.uniform(0, 0.5, boxes.shape)
        gt_boxes = [objects + rng.uniform(0, 0.5, objects.shape) for objects in gt_boxes]
    gt_labels = [rng.integers(0, classes, len(objects)) for objects in gt_boxes]
    settings = {
        "top_k": int(rng.choice([1, 3, 13, 200])),
        "alpha": float(rng.choice([0, 0.5, 1, 2])),
        "beta": float(rng.choice([0, 1, 6, 7])),
        "one_to_one_top_k": rng.choice([None, 1, 2]),
        "overlap": overlap,
    }
    case = scores, boxes, points, gt_boxes, gt_labels
    got = ops.assign_task_aligned(*case, **settings)
    expected = reference.assign_task_aligned(*case, **settings)
    if settings["overlap"] == "ciou":  # its arctangent has bits of its own
        for own, other in zip(got, expected):
            np.testing.assert_allclose(
                own, other, rtol=1e-6, atol=1e-9, err_msg=f"{case!r} {settings}"
            )
        return
    for own, other in zip(got, expected):
        np.testing.assert_array_equal(own, other, f"{case!r} {settings}")
