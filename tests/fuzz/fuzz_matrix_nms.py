"""matrix_nms against its reference: sizes, clusters, ties, segments, types, bad boxes."""

import numpy as np

from sightline import ops, reference

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    """One random case; raises AssertionError where the op differs from the reference."""
    n = int(rng.integers(0, 200)) if rng.random() < 0.9 else int(rng.integers(0, 6))
    dtype = rng.choice([np.float32, np.float64])
    spread = rng.choice([20, 100, 1000])
    corner = rng.uniform(-spread, spread, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-5, 60, (n, 2))], 1)
    if rng.random() < 0.5:
        boxes = np.round(boxes)
    if rng.random() < 0.3 and n:
        boxes[rng.random(boxes.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30])
    boxes = boxes[rng.integers(0, n, n)] if rng.random() < 0.2 and n else boxes
    scores = rng.uniform(-0.1, 1, n)
    if rng.random() < 0.5:
        scores = np.round(scores, int(rng.integers(1, 4)))
    if rng.random() < 0.2:
        scores[rng.random(n) < 0.05] = rng.choice([np.nan, np.inf, -0.0])
    settings = {
        "method": str(rng.choice(["linear", "gaussian"])),
        "sigma": float(rng.choice([0.05, 0.5, 2, 9])),
        "idxs": rng.integers(-2, 3, n) if rng.random() < 0.5 else None,
    }
    case = f"n={n} {dtype.__name__} {settings}"
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    got = ops.matrix_nms(boxes, scores, **settings)
    with np.errstate(all="ignore"):
        expected = reference.matrix_nms(boxes, scores, **settings)
    assert got.dtype == expected.dtype, case
    if settings["method"] == "linear":
        assert np.array_equal(got, expected, equal_nan=True), case
    else:
        assert np.allclose(got, expected, rtol=2e-6, atol=1e-30, equal_nan=True), case
