"""`box_iou_rotated` against polygons cut in float64, pairwise and aligned, in both units."""

import numpy as np

from sightline import ops, reference

from ..ops.rotated_cases import random_rotated_boxes, rounding_of

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    unit = ("degrees", "radians")[rng.integers(2)]
    n, m = rng.integers(0, 12), rng.integers(0, 40)
    if rng.random() < 0.05:
        n, m = rng.integers(0, 4), rng.integers(0, 600)
    aligned = bool(rng.random() < 0.3)
    m = n if aligned else m
    a = random_rotated_boxes(rng, n, dtype, bad=n > 0 and rng.random() < 0.5, unit=unit)
    b = random_rotated_boxes(rng, m, dtype, bad=m > 0 and rng.random() < 0.5, unit=unit)
    near = rng.random(m) < 0.3  # almost one of the first boxes
    if n > 0 and near.any():
        scale = 10.0 ** rng.uniform(-12, 0)
        copies = a[rng.integers(0, n, near.sum())]
        with np.errstate(all="ignore"):
            b[near] = (copies * (1 + scale * rng.uniform(-1, 1, copies.shape))).astype(dtype)
    got = ops.box_iou_rotated(a, b, unit=unit, aligned=aligned)
    expected = reference.box_iou_rotated(a, b, unit=unit, aligned=aligned)
    case = f"n={n} m={m} {dtype.__name__} {unit} aligned={aligned}"
    assert got.shape == expected.shape and got.dtype == expected.dtype, case
    assert (got >= 0).all() and (got <= 1).all() and not np.isnan(got).any(), case
    wrong = np.argwhere(np.abs(got - expected) > rounding_of(a, b, aligned))
    for pair in map(tuple, wrong[:1]):
        first, second = a[pair[0]].tolist(), b[pair[-1]].tolist()
        raise AssertionError(f"{case}: {got[pair]}, not {expected[pair]}: {first}, {second}")
