"""Largest entries of the IoU matrix: hand-worked cases, the reference, and what torch asks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .same import assert_same, tensors

DTYPES = (np.float32, np.float64)
SIZES = (0, 1, 2, 63, 64, 65, 1000)


def max_all_ways(boxes1, boxes2):
    """The maxima of arrays, asserted to be those of tensors and of the reference."""
    expected = reference.box_iou_max(boxes1, boxes2)
    got = ops.box_iou_max(boxes1, boxes2)
    assert_same(got, expected)
    assert_same(ops.box_iou_max(*tensors(boxes1, boxes2)), expected)
    return got


def scattered(rng, n, extent, side, dtype=np.float32, whole=False):
    """Boxes far apart for their size, so that order and hulls matter; `whole` ones tie often."""
    corner = rng.uniform(0, extent, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 1, (n, 2)) * side], 1)
    return (np.round(boxes) if whole else boxes).astype(dtype)


def test_maxima_of_a_matrix_worked_by_hand():
    boxes1 = np.array([[0, 0, 2, 2], [5, 5, 6, 6], [1, 0, 3, 2]], np.float64)
    boxes2 = np.array([[9, 9, 10, 10], [1, 0, 3, 2], [0, 0, 2, 1]], np.float64)
    # [[0, 2/6, 2/4], [0, 0, 0], [0, 1, 1/5]]
    found = max_all_ways(boxes1, boxes2)
    assert found.row_max.tolist() == [0.5, 0, 1]
    assert found.row_argmax.tolist() == [2, -1, 1]
    assert found.column_max.tolist() == [0, 1, 0.5]


def test_the_first_of_equal_overlaps_is_the_argument():
    box = np.array([[0, 0, 10, 10]], np.float32)
    for n, m in ((1, 300), (300, 1), (70, 70)):
        found = max_all_ways(np.repeat(box, n, 0), np.repeat(box, m, 0))
        assert (found.row_argmax == 0).all() and (found.row_max == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_iou_max_equals_the_reference(dtype):
    rng = np.random.default_rng(0)
    for n in SIZES:
        for m in (0, 1, 17, 64, 65, 1000):
            a, b = random_boxes(rng, n, dtype, bad=True), random_boxes(rng, m, dtype, bad=True)
            max_all_ways(a, b)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_groups_that_lie_apart_are_passed_over_without_a_trace(dtype, whole):
    # Enough boxes for several parts; of random order, in raster order, and with boxes that lie
    # nowhere or far away among them.
    rng = np.random.default_rng(1)
    many = scattered(rng, 9000, 900, 60, dtype, whole)
    few = scattered(rng, 250, 900, 60, dtype, whole)
    raster = many[np.lexsort((many[:, 0], many[:, 1] // 50))]
    spoilt = many.copy()
    spoilt[::7, 2] = np.nan
    spoilt[3::7] = spoilt[3::7, [2, 1, 0, 3]]
    spoilt[5] = [-1e30, -1e30, 1e30, 1e30] if dtype is np.float64 else [-1e15, -1e15, 1e15, 1e15]
    for boxes in (many, raster, spoilt):
        max_all_ways(boxes, few)
        max_all_ways(few, boxes)


def test_boxes_of_every_size_among_each_other():
    rng = np.random.default_rng(2)
    side = np.exp2(rng.uniform(-3, 10, 6000))[:, None]
    centre = rng.uniform(0, 1000, (6000, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 1).astype(np.float32)
    max_all_ways(boxes, boxes[::30] + np.float32(0.25))


def test_bad_boxes_overlap_nothing():
    nan, inf = np.nan, np.inf
    bad = np.array(
        [[nan, 0, 1, 1], [0, 0, inf, 1], [5, 5, 5, 5], [9, 9, 0, 0], [-3e38, -3e38, 3e38, 3e38]],
        np.float32,
    )
    whole = np.array([[0, 0, 10, 10]], np.float32)
    found = max_all_ways(np.concatenate([bad, whole]), np.concatenate([bad, whole]))
    assert found.row_argmax.tolist() == [-1] * 5 + [5]
    assert found.column_max.tolist() == [0] * 5 + [1]


rows = st.lists(st.tuples(*[st.integers(-3, 6)] * 4), min_size=1, max_size=9).map(
    lambda rows: np.array(rows, np.float64)
)


@settings(deadline=None, max_examples=60)
@given(rows, rows, st.integers(-9, 9), st.sampled_from([0.5, 8]))
def test_maxima_are_those_of_the_matrix_and_move_with_the_boxes(a, b, by, scale):
    found, iou = max_all_ways(a, b), ops.box_iou(a, b)
    assert (found.row_max == iou.max(1)).all() and (found.column_max == iou.max(0)).all()
    reached = found.row_argmax >= 0
    assert (reached == (iou.max(1) > 0)).all()
    assert (found.row_argmax[reached] == iou.argmax(1)[reached]).all()
    assert_same(ops.box_iou_max(b, a)[::2], found[::-2])
    assert_same(ops.box_iou_max(a * scale + by, b * scale + by), found)


def test_half_and_integer_boxes_compute_in_float32():
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.integers(0, 40, (200, 2, 2)), 1).reshape(200, 4)
    expected = reference.box_iou_max(boxes[:150].astype("f4"), boxes[150:].astype("f4"))
    for dtype in (np.uint8, np.int32, np.int64, np.float16):
        a, b = boxes[:150].astype(dtype), boxes[150:].astype(dtype)
        assert_same(max_all_ways(a, b), expected)
    half = torch.from_numpy(boxes).bfloat16()
    assert_same(ops.box_iou_max(half[:150], half[150:]), expected)
    with torch.autocast("cpu", torch.bfloat16):
        of_autocast = torch.ops.sightline.box_iou_max(half[None, :150], half[None, 150:])
    assert_same([part[0] for part in of_autocast[:3]], expected)
    mixed = ops.box_iou_max(boxes.astype(np.float32), boxes.astype(np.float64))
    assert mixed.row_max.dtype == mixed.column_max.dtype == np.float64


def test_any_layout_of_the_inputs_gives_the_same():
    rng = np.random.default_rng(4)
    a, b = random_boxes(rng, 99), random_boxes(rng, 20)
    expected = reference.box_iou_max(a, b)
    for x, y in zip(awkward_layouts(a), awkward_layouts(b), strict=True):
        assert_same(ops.box_iou_max(x, y), expected)
    assert_same(ops.box_iou_max(*(t.T.contiguous().T for t in tensors(a, b))), expected)


def test_leading_dimensions_are_a_batch():
    rng = np.random.default_rng(5)
    a, b = (random_boxes(rng, 6 * n).reshape(2, 3, n, 4) for n in (40, 7))
    each = [[reference.box_iou_max(x, y) for x, y in zip(p, q)] for p, q in zip(a, b)]
    expected = [np.array([[found[k] for found in row] for row in each]) for k in range(3)]
    assert_same(ops.box_iou_max(a, b), expected)
    assert_same(ops.box_iou_max(*tensors(a, b)), expected)
    for empty in (a[:0], a[:, :, :0]):
        found = ops.box_iou_max(empty, b[: len(empty)])
        assert found.row_max.shape == empty.shape[:-1] and (found.column_max == 0).all()


def test_vmap_maps_over_any_dimension_of_either_argument():
    rng = np.random.default_rng(6)
    a, b = tensors(*(random_boxes(rng, 3 * n).reshape(3, n, 4) for n in (40, 7)))
    expected = [part.numpy() for part in ops.box_iou_max(a, b)]
    assert_same(torch.vmap(ops.box_iou_max)(a, b), expected)
    assert_same(torch.vmap(ops.box_iou_max, in_dims=(1, 0))(a.movedim(0, 1), b), expected)
    against_one = torch.vmap(ops.box_iou_max, in_dims=(0, None))(a, b[1])
    expected = [part.numpy() for part in ops.box_iou_max(a, b[1].expand(3, 7, 4))]
    assert_same(against_one, expected)


def test_gradients_are_those_of_the_values():
    rng = np.random.default_rng(7)
    a, b = (torch.tensor(random_boxes(rng, n, np.float64), requires_grad=True) for n in (9, 6))
    assert torch.autograd.gradcheck(lambda a, b: ops.box_iou_max(a, b)[::2], (a, b))
    assert not ops.box_iou_max(a, b).row_argmax.requires_grad


def test_gradients_are_those_of_the_matrix_at_its_maxima():
    rng = np.random.default_rng(8)
    a, b = (torch.tensor(random_boxes(rng, n), requires_grad=True) for n in (300, 40))
    found, iou = ops.box_iou_max(a, b), ops.box_iou(a, b)
    weights = torch.rand(300), torch.rand(40)
    value = (found.row_max * weights[0]).sum() + (found.column_max * weights[1]).sum()
    expected = (iou.amax(1) * weights[0]).sum() + (iou.amax(0) * weights[1]).sum()
    for grad, want in zip(
        torch.autograd.grad(value, (a, b)), torch.autograd.grad(expected, (a, b))
    ):
        torch.testing.assert_close(grad, want)


BITS = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (9000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (9000, 2))], 1)
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        a = boxes.astype(dtype)
        parts = [
            part
            for x, y in ((a[300:], a[:300]), (a[:300], a[300:]), (a[:1500], a[1500:3100]))
            for part in (*ops.box_iou_max(x, y),
                         *ops.box_iou_max(torch.from_numpy(x), torch.from_numpy(y)))
        ]
        print(dtype.__name__, hashlib.md5(b"".join(map(bytes, map(np.asarray, parts)))).hexdigest())
"""


def test_every_instruction_set_and_thread_count_gives_the_same():
    lines = output_of_every_level(BITS).splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    boxes = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"`boxes1` must have shape \[..., N, 4\], got \[3, 5\]"):
        ops.box_iou_max(np.zeros((3, 5)), boxes)
    with pytest.raises(ValueError, match=r"`boxes2` must have shape \[..., N, 4\], got \[4\]"):
        ops.box_iou_max(boxes, boxes[0])
    with pytest.raises(ValueError, match=r"same leading dimensions, got \[2, 3, 4\] and \[3, 4\]"):
        ops.box_iou_max(np.zeros((2, 3, 4)), boxes)
    with pytest.raises(TypeError, match=r"`boxes2` is a torch.Tensor and"):
        ops.box_iou_max(boxes, torch.zeros(1, 4))
    with pytest.raises(TypeError, match=r"`boxes2` must hold real numbers, got dtype bool"):
        ops.box_iou_max(boxes, boxes > 0)


def test_native_ops_refuse_what_would_read_out_of_bounds():
    a, b = np.zeros((2, 3, 4), np.float32), np.zeros((1, 3, 4), np.float32)
    with pytest.raises(ValueError, match="boxes1 and boxes2 must have shapes"):
        _numpy.box_iou_max(a, b)
    a, b = tensors(a, b)
    with pytest.raises(RuntimeError, match="boxes1 and boxes2 must have shapes"):
        torch.ops.sightline.box_iou_max(a, b)
    grad, arguments = torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="gradients and int64 arguments must have shapes"):
        torch.ops.sightline.box_iou_max_backward(grad, grad, a, a, arguments, arguments)
    arguments = torch.full((2, 3), 3)
    with pytest.raises(RuntimeError, match="arguments must lie in"):
        torch.ops.sightline.box_iou_max_backward(grad, grad, a, a, arguments, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype):
    rng = np.random.default_rng(9)
    a, b = (torch.tensor(random_boxes(rng, 2 * n)).to(dtype).view(2, n, 4) for n in (20, 7))
    arguments = (a.requires_grad_(), b.requires_grad_())
    torch.library.opcheck(torch.ops.sightline.box_iou_max, arguments)
    found = torch.ops.sightline.box_iou_max(a.detach(), b.detach())
    torch.library.opcheck(
        torch.ops.sightline.box_iou_max_backward,
        (found[0], found[2], a.detach(), b.detach(), found[1], found[3]),
    )


def test_compiles_and_exports_as_one_graph():
    rng = np.random.default_rng(10)
    a, b = (torch.tensor(random_boxes(rng, n), requires_grad=True) for n in (60, 9))

    class Overlap(torch.nn.Module):
        def forward(self, a, b):
            found = ops.box_iou_max(a, b)
            return found.row_max.sum() + found.column_max.sum(), found.row_argmax

    expected = Overlap()(a, b)
    got = torch.compile(Overlap(), fullgraph=True, backend="aot_eager")(a, b)
    assert got[0] == expected[0] and torch.equal(got[1], expected[1])
    for grad, want in zip(*(torch.autograd.grad(v[0], (a, b)) for v in (got, expected))):
        torch.testing.assert_close(grad, want)
    exported = torch.export.export(
        Overlap(), (a.detach(), b.detach()), dynamic_shapes=[{0: torch.export.Dim("n")}, None]
    ).module()
    longer = torch.cat([a, a]).detach()
    assert torch.equal(exported(longer, b.detach())[1], Overlap()(longer, b)[1])


def test_cuda_gives_the_bits_of_the_cpu_without_synchronising(cuda):
    rng = np.random.default_rng(11)
    for dtype in DTYPES:
        for n, m in ((0, 3), (3, 0), (1, 1), (257, 300), (5000, 65), (65, 5000), (3000, 3000)):
            a, b = tensors(*(random_boxes(rng, k, dtype, bad=True) for k in (n, m)))
            a[: n // 2] = a[: n // 2].round()
            expected = [part.numpy() for part in ops.box_iou_max(a, b)]
            on_gpu = a.to(cuda).requires_grad_(), b.to(cuda).requires_grad_()
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("error")
            try:
                got = ops.box_iou_max(*on_gpu)
                grads = torch.autograd.grad(got.row_max.sum() + got.column_max.sum(), on_gpu)
            finally:
                torch.cuda.set_sync_debug_mode(before)
            assert_same(got, expected)
            a, b = a.requires_grad_(), b.requires_grad_()
            found = ops.box_iou_max(a, b)
            wanted = torch.autograd.grad(found.row_max.sum() + found.column_max.sum(), (a, b))
            for grad, want in zip(grads, wanted):
                torch.testing.assert_close(grad.cpu(), want, rtol=1e-4, atol=1e-6)
