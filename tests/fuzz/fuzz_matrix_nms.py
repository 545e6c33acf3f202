"""matrix_nms against its reference: sizes, clusters, ties, segments, types, bad boxes."""

import numpy as np

from sightline import ops, reference

from .scored_boxes import draw_decay_case

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    """One random case; raises AssertionError where the op differs from the reference."""
    boxes, scores = draw_decay_case(rng)
    n, dtype = len(boxes), boxes.dtype
    settings = {
        "method": str(rng.choice(["linear", "gaussian"])),
        "sigma": float(rng.choice([0.05, 0.5, 2, 9])),
        "idxs": rng.integers(-2, 3, n) if rng.random() < 0.5 else None,
    }
    case = f"n={n} {dtype} {settings}"
    got = ops.matrix_nms(boxes, scores, **settings)
    with np.errstate(all="ignore"):
        expected = reference.matrix_nms(boxes, scores, **settings)
    assert got.dtype == expected.dtype, case
    if settings["method"] == "linear":
        assert np.array_equal(got, expected, equal_nan=True), case
    else:
        tolerance = 8 * np.finfo(got.dtype).eps  # two exponentials, each within a few ulp
        assert np.allclose(got, expected, rtol=tolerance, atol=1e-30, equal_nan=True), case
