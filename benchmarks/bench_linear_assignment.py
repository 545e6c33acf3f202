"""linear_assignment against scipy, problem after problem."""

import numpy as np
import pytest

from sightline import ops

scipy_optimize = pytest.importorskip("scipy.optimize")

PROBLEMS, ROWS, COLUMNS = 16, 300, 50


def costs(kind: str) -> np.ndarray:
    """Uniform, or as of predictions and objects: a class cost and the distance of boxes."""
    rng = np.random.default_rng(0)
    cost = rng.random((PROBLEMS, ROWS, COLUMNS))
    if kind == "boxes":
        rows, columns = rng.random((PROBLEMS, ROWS, 1, 4)), rng.random((PROBLEMS, 1, COLUMNS, 4))
        cost = 0.3 * cost + 5 * np.abs(rows - columns).sum(-1)
    return cost


def kernel(cost: np.ndarray) -> np.ndarray:
    return ops.linear_assignment(cost)


def scipy(cost: np.ndarray) -> np.ndarray:
    out = np.full(cost.shape[:2], -1)
    for columns, problem in zip(out, cost):
        rows, assigned = scipy_optimize.linear_sum_assignment(problem)
        columns[rows] = assigned
    return out


@pytest.mark.parametrize("contender", [kernel, scipy])
@pytest.mark.parametrize("kind", ["uniform", "boxes"])
def test_linear_assignment(benchmark, kind, contender):
    cost = costs(kind)
    np.testing.assert_array_equal(kernel(cost), scipy(cost))  # without ties there is one optimum
    benchmark.group = f"linear_assignment, {PROBLEMS} x {ROWS} x {COLUMNS}, {kind}"
    benchmark(contender, cost)
