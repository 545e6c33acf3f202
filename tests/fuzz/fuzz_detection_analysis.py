"""Confusion matrix, kinds of errors and operating points of random images against plain loops."""

import numpy as np

from sightline.metrics import ERROR_KINDS
from tests.metrics.detection.cases import random_images, results_of
from tests.metrics.detection.test_confusion import plain_matrix
from tests.metrics.detection.test_error_breakdown import plain_kinds

CASES = 2_000
SHORT = 15


def check(rng: np.random.Generator) -> None:
    case = {
        "images": int(rng.integers(0, 12)),
        "classes": int(rng.integers(1, 5)),
        "objects": int(rng.integers(0, 12)),
        "detections": int(rng.integers(0, 30)),
        "quantum": float(rng.choice([1e-9, 0.01, 0.5])),
    }
    seed = int(rng.integers(2**32))
    said = f"random_images({seed}, **{case})"
    images = random_images(seed, **case)
    result = results_of(images, class_names=[str(k) for k in range(case["classes"])])

    detections, targets = zip(*images) if images else ((), ())
    matrix = plain_matrix(detections, targets, case["classes"])
    np.testing.assert_array_equal(result.confusion_matrix(), matrix, said)

    plain = [plain_kinds(*pair) for pair in images]
    breakdown = result.error_breakdown()
    kinds = [ERROR_KINDS[k] if k >= 0 else None for k in breakdown.kind_of_detection]
    assert kinds == [kind for found, _ in plain for kind in found], said
    missed = [m for _, objects in plain for m in objects]
    np.testing.assert_array_equal(breakdown.missed_objects, np.array(missed, bool), said)
    assert np.isnan(breakdown.ap) if np.isnan(result["AP50"]) else breakdown.ap == result["AP50"]

    pooled, best = result.score_curve(), result.best_f1().pooled
    assert not len(pooled.f1) or best.f1 == pooled.f1.max(), said
    assert result.calibration().pooled.count.sum() >= len(pooled.scores), said
