"""The k largest IoUs of each row: hand-worked cases, the reference, and what torch asks."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .same import assert_same, tensors

DTYPES = (np.float32, np.float64)


def topk_all_ways(boxes1, boxes2, k):
    """The entries of arrays, asserted to be those of tensors and of the reference."""
    expected = reference.box_iou_topk(boxes1, boxes2, k)
    got = ops.box_iou_topk(boxes1, boxes2, k)
    assert_same(got, expected)
    assert_same(ops.box_iou_topk(*tensors(boxes1, boxes2), k), expected)
    return got


def test_topk_of_a_row_worked_by_hand():
    boxes1 = np.array([[0, 0, 2, 2]], np.float64)
    boxes2 = np.array([[9, 9, 10, 10], [0, 0, 1, 1], [0, 0, 2, 1], [1, 1, 2, 2]], np.float64)
    found = topk_all_ways(boxes1, boxes2, 5)
    assert found.values.tolist() == [[0.5, 0.25, 0.25, 0, 0]]
    assert found.indices.tolist() == [[2, 1, 3, -1, -1]]


def test_the_first_of_equal_overlaps_come_first():
    box = np.array([[0, 0, 10, 10]], np.float32)
    for n, m in ((1, 300), (300, 100)):
        found = topk_all_ways(np.repeat(box, n, 0), np.repeat(box, m, 0), 5)
        assert (found.indices == np.arange(5)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_iou_topk_equals_the_reference(dtype):
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 63, 64, 65, 1000):
        for m in (0, 1, 65, 1000):
            a, b = random_boxes(rng, n, dtype, bad=True), random_boxes(rng, m, dtype, bad=True)
            for k in (0, 1, 9, m + 2):
                topk_all_ways(a, b, k)


@pytest.mark.parametrize("dtype", DTYPES)
def test_boxes_that_are_put_in_order_keep_their_indices(dtype):
    rng = np.random.default_rng(1)
    for whole in (False, True):  # whole numbers tie often
        corner = rng.uniform(0, 900, (6150, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, 60, (6150, 2))], 1)
        boxes = (np.round(boxes) if whole else boxes).astype(dtype)
        topk_all_ways(boxes[:150], boxes[150:], 9)
        topk_all_ways(boxes[150:], boxes[:150], 9)


def test_integers_and_halves_compute_in_float32_from_any_layout():
    rng = np.random.default_rng(2)
    boxes = np.sort(rng.integers(0, 40, (120, 2, 2)), 1).reshape(120, 4)
    expected = reference.box_iou_topk(boxes[:20].astype("f4"), boxes[20:].astype("f4"), 7)
    for dtype in (np.uint8, np.int64, np.float16):
        assert_same(topk_all_ways(boxes[:20].astype(dtype), boxes[20:].astype(dtype), 7), expected)
    half = torch.from_numpy(boxes).bfloat16()
    assert_same(ops.box_iou_topk(half[:20], half[20:], 7), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.ops.sightline.box_iou_topk(half[None, :20], half[None, 20:], 7)
    assert_same([part[0] for part in found], expected)
    a, b = boxes[:20].astype(np.float32), boxes[20:].astype(np.float32)
    for x, y in zip(awkward_layouts(a), awkward_layouts(b), strict=True):
        assert_same(ops.box_iou_topk(x, y, 7), expected)


def test_leading_dimensions_and_vmap_are_a_batch():
    rng = np.random.default_rng(3)
    a, b = (random_boxes(rng, 3 * n).reshape(3, n, 4) for n in (40, 70))
    each = [reference.box_iou_topk(x, y, 4) for x, y in zip(a, b)]
    expected = [np.stack([found[part] for found in each]) for part in range(2)]
    assert_same(ops.box_iou_topk(a, b, 4), expected)
    a, b = tensors(a, b)
    assert_same(torch.vmap(lambda x, y: ops.box_iou_topk(x, y, 4))(a, b), expected)
    against_one = torch.vmap(lambda x: ops.box_iou_topk(x, b[0], 4))(a)
    assert_same([part[0] for part in against_one], [part[0] for part in expected])


BITS = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (5000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (5000, 2))], 1)
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        a, b = boxes[:300].astype(dtype), boxes[300:].astype(dtype)
        parts = [*ops.box_iou_topk(a, b, 9), *ops.box_iou_topk(b, a, 9),
                 *ops.box_iou_topk(torch.from_numpy(a), torch.from_numpy(b), 9)]
        print(dtype.__name__, hashlib.md5(b"".join(map(bytes, map(np.asarray, parts)))).hexdigest())
"""


def test_every_instruction_set_and_thread_count_gives_the_same():
    lines = output_of_every_level(BITS).splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    boxes = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"`k` must be at least 0, got -1"):
        ops.box_iou_topk(boxes, boxes, -1)
    with pytest.raises(TypeError, match=r"`k` must be an integer, got float"):
        ops.box_iou_topk(boxes, boxes, 2.5)
    with pytest.raises(ValueError, match=r"`boxes1` must have shape \[..., N, 4\], got \[3, 5\]"):
        ops.box_iou_topk(np.zeros((3, 5)), boxes, 1)
    with pytest.raises(ValueError, match="boxes1 and boxes2 must have shapes"):
        _numpy.box_iou_topk(np.zeros((2, 3, 4)), np.zeros((1, 3, 4)), 1)
    with pytest.raises(RuntimeError, match="k must be at least 0"):
        torch.ops.sightline.box_iou_topk(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), -1)


def test_opcheck_and_compile():
    a, b = tensors(*(random_boxes(np.random.default_rng(4), n) for n in (9, 40)))
    torch.library.opcheck(torch.ops.sightline.box_iou_topk, (a[None], b[None], 5))

    class Topk(torch.nn.Module):
        def forward(self, a, b):
            return tuple(ops.box_iou_topk(a, b, 5))

    expected = [part.numpy() for part in Topk()(a, b)]
    assert_same(torch.compile(Topk(), fullgraph=True, backend="aot_eager")(a, b), expected)
    assert_same(torch.export.export(Topk(), (a, b)).module()(a, b), expected)
    assert not ops.box_iou_topk(a.requires_grad_(), b, 5).values.requires_grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_gives_the_bits_of_the_cpu(cuda, dtype):
    rng = np.random.default_rng(5)
    for n, m in ((0, 3), (3, 0), (1, 1), (70, 3000), (3000, 70)):
        a, b = tensors(*(random_boxes(rng, size, dtype, bad=True).round() for size in (n, m)))
        for k in (1, 9, 80):
            expected = [part.numpy() for part in ops.box_iou_topk(a, b, k)]
            assert_same(ops.box_iou_topk(a.to(cuda), b.to(cuda), k), expected)
