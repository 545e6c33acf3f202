"""soft_nms against its reference: sizes, clusters, ties, thresholds, types, bad boxes."""

import numpy as np

from sightline import ops, reference

from ..ops.soft_nms_rules import assert_gaussian_rules
from .scored_boxes import draw_decay_case

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    """One random case; raises AssertionError where the op differs from the reference."""
    boxes, scores = draw_decay_case(rng)
    n, dtype = len(boxes), boxes.dtype
    settings = {
        "method": str(rng.choice(["linear", "gaussian"])),
        "iou_threshold": float(rng.choice([0, 0.1, 0.25, 0.3, 0.5, 1])),
        "sigma": float(rng.choice([0.05, 0.5, 3])),
        "score_threshold": float(rng.choice([0, 0.001, 0.05, 0.5])),
        "idxs": rng.integers(-2, 3, n) if rng.random() < 0.5 else None,
        "max_detections": int(rng.integers(0, 50)) if rng.random() < 0.3 else None,
    }
    case = f"n={n} {dtype} {settings}"
    got = ops.soft_nms(boxes, scores, **settings)
    if settings["method"] == "linear":
        expected = reference.soft_nms(boxes, scores, **settings)
        for g, e in zip(got, expected, strict=True):
            assert g.dtype == e.dtype and np.array_equal(g, e), case
        return
    assert got[1].dtype == dtype, case
    of_rules = ("sigma", "score_threshold", "idxs", "max_detections")
    try:
        assert_gaussian_rules(boxes, scores, got, **{name: settings[name] for name in of_rules})
    except AssertionError as error:
        error.add_note(case)
        raise
