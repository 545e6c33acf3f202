"""Linear assignment: hand-worked cases, every permutation, the reference, and torch's demands."""

from itertools import permutations

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .isa import output_of_every_level


def total(cost, columns):
    rows = np.flatnonzero(columns >= 0)
    return cost[rows, columns[rows]].sum()


def test_assignment_of_three_rows_worked_by_hand():
    # The greedy choice, 1 for row 0, forces 5 + 9; the optimum is 2 + 4 + 3.
    cost = np.array([[1.0, 2.0, 8.0], [4.0, 9.0, 7.0], [5.0, 6.0, 3.0]])
    assert ops.linear_assignment(cost).tolist() == [1, 0, 2]
    assert reference.linear_assignment(cost).tolist() == [1, 0, 2]
    assert ops.linear_assignment(cost, maximize=True).tolist() == [2, 1, 0]


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 2), (4, 4), (6, 3), (3, 7)])
def test_the_total_is_the_least_over_all_permutations(shape):
    n, m = shape
    cost = np.random.default_rng(0).normal(size=(20, n, m))
    for problem, columns in zip(cost, ops.linear_assignment(cost)):
        assert len(set(columns[columns >= 0])) == min(n, m) == (columns >= 0).sum()
        tall = problem if n <= m else problem.T
        each = range(min(n, m))
        least = min(
            sum(tall[i, p[i]] for i in each) for p in permutations(range(max(n, m)), min(n, m))
        )
        assert total(problem, columns) == pytest.approx(least)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 200])
def test_totals_equal_those_of_scipy(size):
    optimize = pytest.importorskip("scipy.optimize")
    cost = np.random.default_rng(size).random((size, size + size // 3))
    expected = cost[optimize.linear_sum_assignment(cost)].sum()
    for problem in (cost, np.ascontiguousarray(cost.T)):
        assert total(problem, ops.linear_assignment(problem)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (17, 5), (5, 17), (16, 16)])
def test_assignment_equals_the_reference_where_costs_tie(dtype, shape):
    cost = np.random.default_rng(1).integers(0, 4, (3, *shape)).astype(dtype)
    expected = reference.linear_assignment(cost)
    assert expected.shape == (3, shape[0])
    np.testing.assert_array_equal(ops.linear_assignment(cost), expected)
    np.testing.assert_array_equal(ops.linear_assignment(torch.from_numpy(cost)), expected)


def test_of_equal_costs_the_first_free_column_is_taken():
    assert ops.linear_assignment(np.zeros((3, 5))).tolist() == [0, 1, 2]
    assert ops.linear_assignment(np.zeros((5, 3))).tolist() == [0, 1, 2, -1, -1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pair_without_a_finite_cost_is_never_made(bad):
    cost = np.array([[bad, 1.0, bad], [bad, 2.0, bad], [0.0, bad, 5.0]])
    # Rows 0 and 1 want the same column: the earlier keeps it.
    assert ops.linear_assignment(cost).tolist() == [1, -1, 0]
    assert ops.linear_assignment(np.full((2, 2), bad)).tolist() == [-1, -1]


def test_padding_by_mask_or_infinity_does_not_change_a_problem():
    rng = np.random.default_rng(2)
    cost = rng.normal(size=(3, 20, 9))
    counts = np.array([9, 4, 0])
    mask = np.arange(9) < counts[:, None]
    padded = np.where(mask[:, None], cost, np.inf)
    masked = ops.linear_assignment(cost, mask=mask)
    np.testing.assert_array_equal(masked, ops.linear_assignment(padded))
    for columns, problem, count in zip(masked, cost, counts):
        np.testing.assert_array_equal(columns, ops.linear_assignment(problem[:, :count]))


def test_strided_batches_half_floats_and_integers_are_taken():
    cost = np.random.default_rng(3).integers(0, 50, (2, 3, 6, 4))
    expected = reference.linear_assignment(cost.astype(np.float64))
    for given in (cost, cost.astype(np.float16), cost[..., ::-1][..., ::-1], cost.astype(">f8")):
        np.testing.assert_array_equal(ops.linear_assignment(given), expected)
    turned = torch.from_numpy(cost).transpose(2, 3).contiguous().transpose(2, 3)
    assert ops.linear_assignment(turned.bfloat16()).tolist() == expected.tolist()


def test_the_same_assignment_for_any_number_of_threads():
    cost = np.random.default_rng(4).integers(0, 9, (40, 30, 50)).astype(np.float32)
    before = _numpy.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        _numpy.set_num_threads(threads)
        results.append(ops.linear_assignment(cost))
    _numpy.set_num_threads(before)
    assert all(np.array_equal(result, results[0]) for result in results)


def test_the_same_assignment_at_every_isa_level():
    code = """
import numpy as np
from sightline import ops
rng = np.random.default_rng(5)
for n, m in ((1, 1), (7, 9), (30, 64), (65, 31)):
    print(ops.linear_assignment(rng.random((4, n, m)).round(1)).tolist())
"""
    output_of_every_level(code)


def test_errors_name_the_argument_and_what_it_needs():
    cost = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"`cost` must have shape \[..., N, M\], got \[3\]"):
        ops.linear_assignment(np.zeros(3))
    with pytest.raises(ValueError, match=r"`mask` must have shape \[2, 4\].*got \[2, 3\]"):
        ops.linear_assignment(cost, mask=np.ones((2, 3), bool))
    with pytest.raises(TypeError, match="`mask` must hold bool, got dtype int64"):
        ops.linear_assignment(cost, mask=np.ones((2, 4), np.int64))
    with pytest.raises(TypeError, match=r"`mask` must be a torch\.Tensor"):
        ops.linear_assignment(torch.from_numpy(cost), mask=np.ones((2, 4), bool))
    with pytest.raises(TypeError, match="`cost` must hold real numbers"):
        ops.linear_assignment(cost > 0)


def test_torch_knows_the_op():
    cost = torch.rand(3, 7, 5)
    torch.library.opcheck(torch.ops.sightline.linear_assignment, (cost,))
    compiled = torch.compile(ops.linear_assignment, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(cost), ops.linear_assignment(cost))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            ops.linear_assignment(cost.bfloat16()), ops.linear_assignment(cost.bfloat16().float())
        )
    assert not ops.linear_assignment(cost.requires_grad_()).requires_grad


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 300, 50), (3, 50, 300), (2, 600, 600)])
def test_cuda_gives_the_assignment_of_the_cpu(cuda, shape):
    for cost in (torch.rand(shape), torch.randint(0, 5, shape).double()):
        cost[..., 0, 0] = torch.inf
        got = ops.linear_assignment(cost.to(cuda))
        assert torch.equal(got.cpu(), ops.linear_assignment(cost))
