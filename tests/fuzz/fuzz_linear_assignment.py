"""linear_assignment against the reference: ties, costs that are not finite, empty sides."""

import numpy as np

from sightline import ops, reference

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    batch, n, m = rng.integers(0, 4), rng.integers(0, 13), rng.integers(0, 13)
    cost = rng.normal(size=(batch, n, m)) * 10.0 ** rng.integers(-3, 4)
    if rng.random() < 0.5:  # ties
        cost = np.round(cost * 2) / 2
    if rng.random() < 0.4:
        bad = rng.choice([np.inf, -np.inf, np.nan], size=cost.shape)
        cost = np.where(rng.random(cost.shape) < rng.random(), bad, cost)
    cost = cost.astype(rng.choice([np.float32, np.float64]))
    mask = rng.random((batch, m)) < 0.7 if rng.random() < 0.3 else None
    maximize = bool(rng.random() < 0.3)
    got = ops.linear_assignment(cost, mask=mask, maximize=maximize)
    expected = reference.linear_assignment(cost, mask=mask, maximize=maximize)
    np.testing.assert_array_equal(got, expected, f"{cost!r}, {mask=}, {maximize=}")
