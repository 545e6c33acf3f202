"""weighted_boxes_fusion against its reference: models, ties, weights, thresholds, bad boxes."""

import numpy as np

from sightline import ops, reference

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    """One random case; raises AssertionError where the op differs from the reference."""
    dtype = rng.choice([np.float32, np.float64])
    sizes = rng.integers(0, int(rng.choice([2, 12, 40])), int(rng.integers(1, 6)))
    objects = rng.uniform(-100, 300, (int(rng.integers(1, 25)), 2))
    objects = np.concatenate([objects, objects + rng.uniform(-5, 80, objects.shape)], 1)
    digits = int(rng.integers(0, 4))
    boxes, scores, labels = [], [], []
    for n in sizes:
        which = rng.integers(0, len(objects), n)
        seen = objects[which] + rng.normal(0, rng.choice([0, 1, 8]), (n, 4))
        if rng.random() < 0.2:
            seen[rng.random(seen.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 1e30])
        score = rng.uniform(-0.1, 1, n).round(digits)
        score[rng.random(n) < 0.02] = rng.choice([np.nan, np.inf, 0.0, -0.0])
        boxes.append(seen.round(digits).astype(dtype))
        scores.append(score.astype(dtype))
        labels.append(rng.integers(-1, int(rng.integers(0, 3)), n))
    weights = rng.uniform(0, 3, len(sizes)).round(1).tolist()
    settings = {
        "weights": weights if any(weights) and rng.random() < 0.7 else None,
        "iou_threshold": float(rng.choice([0, 0.25, 0.5, 0.55, 0.9, 1])),
        "score_threshold": float(rng.choice([0, 0.1, 0.5])),
        "conf_type": str(rng.choice(["avg", "max", "box_and_model_avg", "absent_model_aware_avg"])),
        "allows_overflow": bool(rng.random() < 0.3),
    }
    case = f"sizes={sizes.tolist()} {dtype.__name__} {settings}"
    got = ops.weighted_boxes_fusion(boxes, scores, labels, **settings)
    expected = reference.weighted_boxes_fusion(boxes, scores, labels, **settings)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype and np.array_equal(g, e), case
