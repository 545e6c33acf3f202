"""IoU: hand-worked cases, the reference, bad boxes, gradients, and what torch asks of an op."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import ops, reference
from sightline.ops._iou_torch import LOSS_OPS, MATRIX_OPS

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level

SIZES = (0, 1, 2, 63, 64, 65, 300)
# complete_box_iou has the library's own arctangent, within 2 ulp of NumPy's.
TOLERANCE = {
    (name, dtype): (4e-7 if dtype is np.float32 else 1e-15) if "complete" in name else 0.0
    for name in (*MATRIX_OPS, *LOSS_OPS)
    for dtype in (np.float32, np.float64)
}


def assert_as_reference(name, got, expected):
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[name, got.dtype.type])


def test_box_iou_of_boxes_that_overlap_by_a_third():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float64)
    assert ops.box_iou(boxes, boxes).tolist() == [[1, 2 / 6, 0], [2 / 6, 1, 0], [0, 0, 1]]


def test_forms_of_two_boxes_worked_by_hand():
    a, b = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 4, 3]])
    inter, union, hull = 1.0, 4 + 6 - 1, 4 * 3
    assert ops.box_iou(a, b)[0, 0] == inter / union
    assert ops.box_ioa(a, b)[0, 0] == inter / 4
    assert ops.generalized_box_iou(a, b)[0, 0] == inter / union - (hull - union) / hull
    diou = inter / union - (1.5**2 + 1**2) / (4**2 + 3**2)
    assert ops.distance_box_iou(a, b, eps=0)[0, 0] == diou
    v = 4 / np.pi**2 * (np.arctan(3 / 2) - np.arctan(1)) ** 2
    ciou = diou - v * v / (1 - inter / union + v)
    assert ops.complete_box_iou(a, b, eps=0)[0, 0] == pytest.approx(ciou, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_matrix_forms_equal_the_reference(name, dtype):
    rng = np.random.default_rng(0)
    for n in SIZES:
        for m in (0, 1, 65, 257):
            a, b = random_boxes(rng, n, dtype, bad=True), random_boxes(rng, m, dtype, bad=True)
            expected = getattr(reference, name)(a, b)
            assert not np.isnan(expected).any()
            assert_as_reference(name, getattr(ops, name)(a, b), expected)
            got = getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
            assert_as_reference(name, got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSS_OPS)
def test_losses_equal_the_reference(name, dtype):
    rng = np.random.default_rng(1)
    for n in SIZES:
        a, b = random_boxes(rng, n, dtype, bad=True), random_boxes(rng, n, dtype, bad=True)
        expected = getattr(reference, name)(a, b)
        assert_as_reference(name, getattr(ops, name)(a, b), expected)
        got = getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        assert_as_reference(name, got, expected)


boxes_of_integers = st.lists(st.tuples(*[st.integers(-3, 6)] * 4), min_size=1, max_size=6).map(
    lambda rows: np.array(rows, np.float64)
)


@settings(deadline=None, max_examples=60)
@given(boxes_of_integers, boxes_of_integers, st.integers(-9, 9), st.sampled_from([0.5, 2, 8]))
def test_box_iou_is_symmetric_bounded_and_moves_with_the_boxes(a, b, shift, scale):
    iou = ops.box_iou(a, b)
    assert (iou >= 0).all() and (iou <= 1).all()
    assert (iou == ops.box_iou(b, a).T).all()
    assert (iou == ops.box_iou(a + shift, b + shift)).all()
    assert (iou == ops.box_iou(a * scale, b * scale)).all()
    giou = ops.generalized_box_iou(a, b)
    assert (giou >= -1).all() and (giou <= iou).all()


def test_identical_boxes_have_iou_exactly_one():
    boxes = random_boxes(np.random.default_rng(2), 500)
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    assert (np.diag(ops.box_iou(boxes, boxes)) == 1).all()


def test_bad_boxes_overlap_nothing():
    whole = np.array([[0, 0, 10, 10]], np.float32)
    nan, inf = np.float32(np.nan), np.float32(np.inf)
    bad = np.array(
        [
            [nan, 0, 10, 10],
            [0, 0, inf, 10],
            [-inf, 0, 10, 10],
            [10, 10, 0, 0],
            [5, 5, 5, 5],
            [-3e38, -3e38, 3e38, 3e38],
        ],
        np.float32,
    )
    assert (ops.box_iou(whole, bad) == 0).all()
    assert (ops.box_iou(bad, bad) == 0).all()
    assert (ops.generalized_box_iou(whole, bad)[:, [0, 1, 2, 5]] == 0).all()
    assert ops.generalized_box_iou(bad[4:5], bad[4:5]) == 0
    assert (ops.complete_box_iou(whole, bad)[:, [0, 1, 2, 5]] == 0).all()


def test_integer_and_half_boxes_compute_in_float32():
    boxes = np.array([[0, 0, 200, 250], [100, 50, 255, 255]])
    expected = ops.box_iou(boxes.astype(np.float32), boxes.astype(np.float32))
    for dtype in (np.uint8, np.int16, np.int32, np.int64, np.float16):
        got = ops.box_iou(boxes.astype(dtype), boxes.astype(dtype))
        assert got.dtype == np.float32 and (got == expected).all()
    for dtype in (torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16):
        tensor = torch.from_numpy(boxes).to(dtype)
        assert ops.box_iou(tensor, tensor).dtype == torch.float32
    assert ops.box_iou(boxes.astype(np.float32), boxes.astype(np.float64)).dtype == np.float64


def test_arrays_of_any_layout_give_the_same_result():
    rng = np.random.default_rng(3)
    a, b = random_boxes(rng, 65), random_boxes(rng, 33)
    expected = ops.box_iou(a, b)
    for same in awkward_layouts(a):
        assert (ops.box_iou(same, b) == expected).all()
    tensor = torch.from_numpy(a).t().contiguous().t()
    assert (ops.box_iou(tensor, torch.from_numpy(b)).numpy() == expected).all()


@pytest.mark.parametrize("fmt", ["xywh", "cxcywh"])
def test_box_iou_reads_other_formats(fmt):
    rng = np.random.default_rng(4)
    a, b = random_boxes(rng, 9, np.float64), random_boxes(rng, 8, np.float64)
    got = ops.box_iou(ops.box_convert(a, "xyxy", fmt), ops.box_convert(b, "xyxy", fmt), fmt=fmt)
    np.testing.assert_allclose(got, ops.box_iou(a, b), atol=1e-12)


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_out_is_filled_and_returned(name):
    rng = np.random.default_rng(5)
    a, b = random_boxes(rng, 5), random_boxes(rng, 7)
    expected = getattr(ops, name)(a, b)
    out = np.empty((5, 7), np.float32)
    assert getattr(ops, name)(a, b, out=out) is out
    assert (out == expected).all()
    tensor = torch.empty(5, 7)
    assert getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b), out=tensor) is tensor
    assert (tensor.numpy() == expected).all()


def test_out_that_does_not_fit_is_refused():
    a = np.zeros((2, 4), np.float32)
    for out in (
        np.empty((2, 3), np.float32),
        np.empty((2, 2)),
        np.empty((2, 4), np.float32)[:, ::2],
    ):
        with pytest.raises(
            ValueError, match=r"`out` must be a contiguous float32 of shape \[2, 2\]"
        ):
            ops.box_iou(a, a, out=out)
    with pytest.raises(ValueError, match="is not differentiable"):
        ops.box_iou(torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 4), out=torch.empty(2, 2))


def test_wrong_arguments_are_named():
    good = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"`boxes1` must have shape \[N, 4\], got \[3, 5\]"):
        ops.box_iou(np.zeros((3, 5)), good)
    with pytest.raises(ValueError, match=r"`boxes2` must have shape \[\.\.\., N, 4\], got \[4\]"):
        ops.box_iou(good, np.zeros(4))
    with pytest.raises(TypeError, match=r"`boxes2` must be a torch\.Tensor as `boxes1` is"):
        ops.box_iou(torch.zeros(2, 4), good)
    with pytest.raises(
        TypeError, match=r"`boxes2` is a torch.Tensor and `boxes1` is numpy.ndarray"
    ):
        ops.box_iou(good, torch.zeros(2, 4))
    with pytest.raises(TypeError, match=r"must be a torch.Tensor or a numpy.ndarray, got list"):
        ops.box_iou([[0, 0, 1, 1]], good)
    with pytest.raises(TypeError, match="`boxes1` must hold real numbers, got dtype complex128"):
        ops.box_iou(good.astype(complex), good)
    with pytest.raises(TypeError, match=r"`boxes1` must hold real numbers, got dtype torch.bool"):
        ops.box_iou(torch.zeros(2, 4, dtype=torch.bool), torch.zeros(2, 4))
    with pytest.raises(
        ValueError, match="`fmt` must be one of 'xyxy', 'xywh', 'cxcywh', got 'xyx'"
    ):
        ops.box_iou(good, good, fmt="xyx")
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        ops.generalized_box_iou_loss(good, good, "avg")
    with pytest.raises(ValueError, match="`boxes1` and `boxes2` must have the same shape"):
        ops.complete_box_iou_loss(good, np.zeros((3, 4)))


def test_losses_reduce_as_asked():
    rng = np.random.default_rng(6)
    a, b = random_boxes(rng, 8, np.float64), random_boxes(rng, 8, np.float64)
    each = ops.distance_box_iou_loss(a, b)
    assert ops.distance_box_iou_loss(a, b, "sum") == each.sum()
    assert ops.distance_box_iou_loss(a, b, "mean") == each.mean()
    assert ops.distance_box_iou_loss(a[3], b[3]) == each[3]
    assert ops.distance_box_iou_loss(a[:0], b[:0], "mean") == 0


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_matrix_gradients_are_those_of_the_value(name):
    rng = np.random.default_rng(7)
    a, b = (torch.tensor(random_boxes(rng, n, np.float64), requires_grad=True) for n in (6, 5))
    assert torch.autograd.gradcheck(getattr(ops, name), (a, b))


@pytest.mark.parametrize("name", LOSS_OPS)
def test_loss_gradients_are_those_of_the_value(name):
    rng = np.random.default_rng(8)
    a, b = (torch.tensor(random_boxes(rng, 9, np.float64), requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(getattr(ops, name), (a, b))


@pytest.mark.parametrize("name", LOSS_OPS)
def test_loss_gradients_are_finite_on_degenerate_boxes(name):
    rows = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2], [5, 5, 1, 1], [0, 0, 1e-30, 1], [0, 0, 3, 0]]
    a = torch.tensor(rows, dtype=torch.float32, requires_grad=True)
    b = torch.tensor(
        [[0, 0, 1, 1], [1, 0, 2, 1], [2, 2, 2, 2], [0, 0, 4, 4], [0, 0, 1, 1], [0, 0, 3, 0]]
    )
    loss = getattr(ops, name)(a, b.float())
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(a.grad).all()


def arguments_of(name, requires_grad):
    rng = np.random.default_rng(9)
    a, b = (torch.tensor(random_boxes(rng, n), requires_grad=requires_grad) for n in (5, 5))
    return (a, b, 1e-7) if name not in ("box_iou", "box_ioa", "generalized_box_iou") else (a, b)


@pytest.mark.parametrize("name", [*MATRIX_OPS, *LOSS_OPS])
def test_opcheck(name):
    torch.library.opcheck(getattr(torch.ops.sightline, name).default, arguments_of(name, True))
    arguments = arguments_of(name, False)
    grad = torch.ones(5, 5) if name in MATRIX_OPS else torch.ones(5)
    backward = getattr(torch.ops.sightline, f"{name}_backward").default
    torch.library.opcheck(backward, (grad, *arguments))
    if name in MATRIX_OPS:
        out = getattr(torch.ops.sightline, f"{name}_out").default
        torch.library.opcheck(out, (*arguments, torch.empty(5, 5)))


@pytest.mark.parametrize("name", [*MATRIX_OPS, *LOSS_OPS])
def test_compiles_into_one_graph(name):
    function = getattr(ops, name)
    a, b, *_ = arguments_of(name, True)
    expected = function(a, b)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a, b), expected)
    grad = torch.autograd.grad(expected.sum(), a)[0]
    assert torch.equal(torch.autograd.grad(compiled(a, b).sum(), a)[0], grad)


def test_autocast_computes_in_float32():
    a = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.box_iou(a, a).dtype == torch.float32
        assert torch.ops.sightline.box_iou(a.bfloat16(), a.bfloat16()).dtype == torch.float32


BITS = """
import hashlib
import numpy as np
from sightline import ops
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    corner = rng.uniform(-50, 100, (700, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-3, 60, (700, 2))], 1).astype(dtype)
    for name in %r:
        print(name, hashlib.sha256(getattr(ops, name)(boxes, boxes[::-1]).tobytes()).hexdigest())
"""


def test_every_isa_level_gives_the_same_bits():
    output_of_every_level(BITS % ([*MATRIX_OPS, *LOSS_OPS],))


@pytest.mark.parametrize("name", [*MATRIX_OPS, *LOSS_OPS])
def test_cuda_gives_the_bits_of_the_cpu(name, cuda):
    rng = np.random.default_rng(11)
    for n, m in ((0, 3), (1, 1), (65, 300), (1000, 1000)):
        m = n if name in LOSS_OPS else m
        a, b = (torch.from_numpy(random_boxes(rng, k, bad=True)).requires_grad_() for k in (n, m))
        expected = getattr(ops, name)(a, b)
        on_gpu = [t.detach().to(cuda).requires_grad_() for t in (a, b)]
        got = getattr(ops, name)(*on_gpu)
        assert torch.equal(got.cpu(), expected)
        grads = torch.autograd.grad(expected.sum(), (a, b))
        for grad, other in zip(grads, torch.autograd.grad(got.sum(), on_gpu)):
            torch.testing.assert_close(other.cpu(), grad, rtol=1e-4, atol=1e-6)


def test_any_thread_count_gives_the_same_bits():
    rng = np.random.default_rng(10)
    a, b = (torch.tensor(random_boxes(rng, n), requires_grad=True) for n in (700, 300))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            matrix = ops.complete_box_iou(a, b)
            results.append((matrix, *torch.autograd.grad(matrix.sum(), (a, b))))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], others))


def test_arctangent_is_within_two_ulp():
    # Through its only use: CIoU of concentric boxes is IoU - v^2 / (1 - IoU + v).
    ratio = np.concatenate([np.geomspace(1e-6, 1e6, 2001), [0.41421357, 2.4142137, 1.0]])
    boxes = np.stack(
        [-ratio / 2, np.full_like(ratio, -0.5), ratio / 2, np.full_like(ratio, 0.5)], 1
    )
    unit = np.array([[-5e5, -5e-7, 5e5, 5e-7]])  # angle pi / 2 to the last bit
    ciou = ops.complete_box_iou(boxes, unit, eps=0)[:, 0]
    iou = ops.box_iou(boxes, unit)[:, 0]
    v = 4 / np.pi**2 * (np.arctan(boxes[:, 2] * 2) - np.arctan(1e12)) ** 2
    expected = iou - v * v / (1 - iou + v)
    np.testing.assert_allclose(ciou, expected, rtol=0, atol=4 * np.finfo(np.float64).eps)


FIRST_CALL = """
{imports}
import numpy as np
function = lambda a, b: sightline.ops.box_iou(a, b)
compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
boxes = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2]])
assert compiled(boxes, boxes)[0, 1] == torch.tensor(2.0) / 6
"""


@pytest.mark.parametrize("imports", ["import sightline, torch", "import torch, sightline"])
def test_compiles_as_the_first_call_of_a_process(imports):
    subprocess.run([sys.executable, "-c", FIRST_CALL.format(imports=imports)], check=True)
