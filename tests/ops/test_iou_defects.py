"""Cases in which other libraries' IoU is wrong, undefined or costly, named by what fails."""

import numpy as np
import pytest
import torch

from sightline import ops, reference
from sightline.ops._iou_torch import LOSS_OPS, MATRIX_OPS

from ..fresh import run
from .box_cases import random_boxes


def tensor(rows, dtype=torch.float32):
    return torch.tensor(rows, dtype=dtype)


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_integer_boxes_do_not_wrap_around(name, dtype):
    # Differences of edges are negative, and areas are beyond 255: both wrap around in uint8.
    boxes = tensor([[0, 0, 100, 120], [50, 60, 110, 127], [110, 120, 127, 127]], dtype)
    expected = getattr(ops, name)(boxes.double(), boxes.double()).float()
    got = getattr(ops, name)(boxes, boxes)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-7)


def test_uint8_boxes_at_the_end_of_their_range():
    boxes = tensor([[0, 0, 255, 255], [200, 200, 255, 255], [0, 0, 10, 10]], torch.uint8)
    iou = ops.box_iou(boxes, boxes)
    assert iou[0].tolist() == [1, np.float32(55 * 55 / 255**2), np.float32(100 / 255**2)]
    assert iou[1, 2] == 0


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_huge_integer_boxes_are_defined(name, dtype):
    ends = torch.iinfo(dtype)
    rows = [[0, 0, ends.max, ends.max], [ends.min, ends.min, 0, 0], [0, 0, ends.max // 2, ends.max]]
    boxes = tensor([*rows, [ends.min, ends.min, ends.max, ends.max]], dtype)
    got = getattr(ops, name)(boxes, boxes)
    expected = getattr(reference, name)(boxes.numpy(), boxes.numpy())
    assert torch.isfinite(got).all()
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=4e-7)
    assert ops.box_iou(boxes, boxes)[0, 2] == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_half_boxes_of_300_pixels_do_not_overflow(name, dtype):
    # An area of 90,000 is beyond the 65,504 of float16.
    boxes = tensor([[0, 0, 300, 300], [0, 0, 300, 152], [512, 512, 832, 832]], dtype)
    for aligned in (False, True):
        got = getattr(ops, name)(boxes, boxes, aligned=aligned)
        wide = getattr(ops, name)(boxes.float(), boxes.float(), aligned=aligned)
        assert got.dtype == torch.float32 and torch.equal(got, wide)
    loss = ops.generalized_box_iou_loss(boxes, boxes)
    assert torch.isfinite(loss).all() and (loss.abs() < 1e-6).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identical_boxes_have_iou_and_giou_exactly_one(dtype):
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1, 1e6):
        boxes = (random_boxes(rng, 300, np.float64) * scale).astype(dtype)
        boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)]
        for name in MATRIX_OPS:
            assert (getattr(ops, name)(boxes, boxes, aligned=True) == 1).all(), name


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_empty_unions_are_defined(name):
    points = tensor([[2, 2, 2, 2], [2, 2, 2, 2], [3, 3, 3, 9], [7, 7, 4, 4], [0, 0, 0, 0]])
    got = getattr(ops, name)(points, points)
    assert torch.isfinite(got).all()
    assert (ops.box_iou(points, points) == 0).all()
    assert ops.generalized_box_iou(points, points)[0, 1] == 0


@pytest.mark.parametrize("name", LOSS_OPS)
def test_losses_of_identical_boxes_without_area_have_finite_gradients(name):
    boxes = torch.zeros(2, 4, requires_grad=True)
    loss = getattr(ops, name)(boxes, torch.zeros(2, 4))
    assert (loss == 1).all()  # no overlap to speak of, and no distance
    (grad,) = torch.autograd.grad(loss.sum(), boxes)
    assert torch.isfinite(grad).all()


CASES = {
    "identical": ([0, 0, 2, 2], [0, 0, 2, 2]),
    "touching": ([0, 0, 1, 1], [1, 0, 2, 1]),
    "disjoint": ([0, 0, 1, 1], [5, 6, 7, 9]),
    "zero size": ([1, 1, 1, 1], [0, 0, 2, 2]),
    "both zero size": ([1, 1, 1, 1], [3, 3, 3, 3]),
    "inverted": ([3, 3, 1, 1], [0, 0, 2, 2]),
    "not a number": ([0, float("nan"), 1, 1], [0, 0, 2, 2]),
    "infinite": ([0, 0, float("inf"), 1], [0, 0, 2, 2]),
    "area overflows": ([-3e38, -3e38, 3e38, 3e38], [0, 0, 2, 2]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", [*MATRIX_OPS, *LOSS_OPS])
def test_values_and_gradients_are_finite(name, case):
    a, b = (tensor([row]).requires_grad_() for row in CASES[case])
    values = [getattr(ops, name)(a, b)]
    if name in MATRIX_OPS:
        values.append(getattr(ops, name)(a, b, aligned=True))
    for value in values:
        assert torch.isfinite(value).all()
        for grad in torch.autograd.grad(value.sum(), (a, b)):
            assert torch.isfinite(grad).all()


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_no_boxes_give_empty_matrices(name):
    none, some = torch.zeros(0, 4, requires_grad=True), torch.rand(3, 4, requires_grad=True)
    function = getattr(ops, name)
    assert function(none, some).shape == (0, 3) and function(some, none).shape == (3, 0)
    (grad,) = torch.autograd.grad(function(some, none).sum(), some)
    assert (grad == 0).all()
    assert function(none, none, aligned=True).shape == (0,)


PEAK = """
import resource
import numpy as np
from sightline import ops
rng = np.random.default_rng(0)
boxes = rng.uniform(0, 600, (200_000, 4)).astype(np.float32)
ops.complete_box_iou(boxes[:10], boxes[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ops.complete_box_iou(boxes[:300], boxes)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_is_that_of_the_output_alone():
    # 4 bytes a pair; tensor programs take 36 and more.
    done = run(PEAK)
    assert done.returncode == 0, done.stderr
    output = 300 * 200_000 * 4
    assert int(done.stdout) < output + (16 << 20)
