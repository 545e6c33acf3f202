"""NMS: hand-worked cases, the reference, ties and bad boxes, and what torch asks of an op."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes, random_scores
from .isa import output_of_every_level
from .same import assert_same, tensors

SIZES = (0, 1, 2, 63, 64, 65, 255, 256, 257, 1000)
DTYPES = (np.float32, np.float64)
BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.8, 0.9, 0.7], np.float32)


def test_nms_of_three_boxes_worked_by_hand():
    # The first two overlap by 90 / 110.
    assert ops.nms(BOXES, SCORES, 0.5).tolist() == [1, 2]
    assert ops.nms(BOXES, SCORES, 0.9).tolist() == [1, 0, 2]


def test_a_suppressed_box_suppresses_nothing():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert ops.nms(boxes, np.array([3, 2, 1]), 0.3).tolist() == [0, 2]
    assert ops.nms(boxes, np.array([2, 3, 1]), 0.3).tolist() == [1]


@pytest.mark.parametrize("score_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_equals_the_reference(dtype, score_dtype):
    rng = np.random.default_rng(0)
    for n in SIZES:
        boxes, scores = random_boxes(rng, n, dtype, bad=True), random_scores(rng, n, score_dtype)
        for threshold in (0.0, 0.3, 0.7, 1.0):
            expected = reference.nms(boxes, scores, threshold)
            assert_same(ops.nms(boxes, scores, threshold), expected)
            assert_same(ops.nms(*tensors(boxes, scores), threshold), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batched_nms_equals_the_reference(dtype):
    rng = np.random.default_rng(1)
    for n in SIZES:
        boxes, scores = random_boxes(rng, n, dtype, bad=True), random_scores(rng, n)
        for idxs in (
            rng.integers(-3, 4, n),
            rng.choice([-(2**63), -1, 0, 2**63 - 1], n),
            np.arange(n),
            np.zeros(n, np.int8),
        ):
            expected = reference.batched_nms(boxes, scores, idxs, 0.4)
            assert_same(ops.batched_nms(boxes, scores, idxs, 0.4), expected)
            assert_same(ops.batched_nms(*tensors(boxes, scores, idxs), 0.4), expected)


def test_large_segments_beside_small_ones_equal_one_nms_a_segment():
    rng = np.random.default_rng(2)
    n = 6500
    corner = rng.uniform(0, 1500, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (n, 2))], 1).astype(np.float32)
    scores = random_scores(rng, n)
    idxs = np.where(rng.random(n) < 0.7, 5, rng.integers(0, 40, n))
    kept = np.zeros(n, bool)
    for idx in range(40):
        segment = np.flatnonzero(idxs == idx)
        kept[segment[ops.nms(boxes[segment], scores[segment], 0.3)]] = True
    order = np.argsort(-scores, kind="stable")
    got = ops.batched_nms(boxes, scores, idxs, 0.3)
    assert_same(got, order[kept[order]])
    assert_same(ops.batched_nms(*tensors(boxes, scores, idxs), 0.3), got)


def test_the_first_of_equal_scores_is_kept():
    boxes = np.repeat(BOXES[:1], 70, 0)
    assert ops.nms(boxes, np.ones(70), 0.5).tolist() == [0]
    assert ops.nms(boxes, np.array([-0.0, 0.0] * 35), 0.5).tolist() == [0]


def test_nan_scores_come_last():
    far = np.arange(5)[:, None] * 100.0 + np.array([[0, 0, 1, 1]])
    scores = np.array([np.nan, -np.inf, 1, np.nan, np.inf])
    assert ops.nms(far, scores, 0.5).tolist() == [4, 2, 1, 0, 3]


def test_bad_boxes_neither_suppress_nor_are_suppressed():
    nan, inf = np.nan, np.inf
    whole = [0, 0, 10, 10]
    bad = [[nan, 0, 10, 10], [0, 0, inf, 10], [-inf, 0, 10, 10], [10, 10, 0, 0], [5, 5, 5, 5]]
    boxes = np.array([*bad, whole, *bad, whole], np.float32)
    assert ops.nms(boxes, -np.arange(12), 0.0).tolist() == list(range(11))


def test_segments_are_exact_at_negative_and_large_coordinates():
    # Cases that coordinate offsets get wrong (see docs of `batched_nms`).
    negative = np.array([[-20, -20, -10, -10]] * 2, np.float32)
    assert ops.batched_nms(negative, np.array([2, 1]), np.array([0, 1]), 0.5).tolist() == [0, 1]
    far = np.array([[1e6, 1e6, 1e6 + 100, 1e6 + 100], [1e6 + 3, 1e6, 1e6 + 103, 1e6 + 100]])
    far = far.astype(np.float32)
    scores, idxs = np.array([2, 1]), np.array([79, 79])
    assert 0.94 < ops.box_iou(far, far)[0, 1] < 0.945
    assert ops.batched_nms(far, scores, idxs, 0.95).tolist() == [0, 1]
    assert ops.batched_nms(far, scores, idxs, 0.94).tolist() == [0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_iou_that_equals_the_threshold_does_not_suppress(dtype):
    # Boxes of height 1 whose IoU is k / 100, so that the division rounds as the threshold does.
    for percent in range(1, 100):
        boxes = np.array([[0, 0, 100, 1], [0, 0, percent, 1]], dtype)
        threshold = percent / 100
        assert ops.box_iou(boxes, boxes)[0, 1] == dtype(threshold)
        assert len(ops.nms(boxes, np.array([2, 1]), threshold)) == 2
        assert len(ops.nms(*tensors(boxes, np.array([2.0, 1.0])), threshold)) == 2
        below = float(np.nextafter(dtype(threshold), dtype(0)))
        assert len(ops.nms(boxes, np.array([2, 1]), below)) == 1


rows = st.lists(
    st.tuples(*[st.integers(-3, 6)] * 4, st.integers(0, 3)), min_size=1, max_size=12
).map(lambda rows: np.array(rows, np.float64))


@settings(deadline=None, max_examples=60)
@given(rows, st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(-9, 9), st.sampled_from([0.5, 8]))
def test_nms_keeps_a_set_that_explains_itself_and_moves_with_the_boxes(rows, threshold, by, scale):
    boxes, scores = rows[:, :4], rows[:, 4]
    keep = ops.nms(boxes, scores, threshold)
    assert keep.tolist() == reference.nms(boxes, scores, threshold).tolist()
    iou = ops.box_iou(boxes, boxes)
    kept = iou[np.ix_(keep, keep)]
    assert (kept[~np.eye(len(keep), dtype=bool)] <= threshold).all()
    for i in set(range(len(boxes))) - set(keep):
        assert ((iou[keep, i] > threshold) & (scores[keep] >= scores[i])).any()
    assert ops.nms(boxes * scale + by, scores, threshold).tolist() == keep.tolist()
    assert ops.nms(boxes[keep], scores[keep], threshold).tolist() == list(range(len(keep)))


def test_half_and_integer_inputs_compute_in_float32():
    rng = np.random.default_rng(5)
    boxes = np.sort(rng.integers(0, 40, (200, 2, 2)), 1).reshape(200, 4)
    scores = rng.integers(0, 9, 200)
    expected = reference.nms(boxes.astype(np.float32), scores.astype(np.float32), 0.3)
    for box_dtype in (np.uint8, np.int16, np.int64, np.float16, np.float64):
        for score_dtype in (np.uint8, np.int32, np.float16, np.float64):
            b, s = boxes.astype(box_dtype), scores.astype(score_dtype)
            assert_same(ops.nms(b, s, 0.3), expected)
            assert_same(ops.nms(*tensors(b, s), 0.3), expected)
    b, s = tensors(boxes, scores)
    assert_same(ops.nms(b.bfloat16(), s.bfloat16(), 0.3), expected)
    found = ops.multiclass_nms(
        b.half()[None],
        s.bfloat16()[None, :, None],
        score_threshold=0,
        iou_threshold=0.5,
        max_detections=3,
    )
    assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_any_layout_of_the_inputs_gives_the_same():
    rng = np.random.default_rng(6)
    boxes, scores, idxs = random_boxes(rng, 99), random_scores(rng, 99), rng.integers(0, 3, 99)
    expected = reference.batched_nms(boxes, scores, idxs, 0.3)
    for b, s, i in zip(*map(awkward_layouts, (boxes, scores, idxs)), strict=True):
        assert_same(ops.batched_nms(b, s, i, 0.3), expected)
    b, s, i = tensors(boxes, scores, idxs)
    strided = torch.stack([s, s], 1)[:, 0], torch.stack([i, i], 1)[:, 0]
    assert_same(ops.batched_nms(b.T.contiguous().T, *strided, 0.3), expected)


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (6000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (6000, 2))], 1)
scores, idxs = rng.random(6000), rng.integers(0, 3, 6000)
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        b, s = boxes.astype(dtype), scores.astype(dtype)
        many = b.reshape(2, 3000, 4), s.reshape(2, 1000, 3).repeat(3, 1)
        rest = dict(score_threshold=0.2, iou_threshold=0.4, max_detections=200)
        results = [
            ops.nms(b, s, 0.4),
            ops.nms(torch.from_numpy(b), torch.from_numpy(s), 0.4).numpy(),
            ops.batched_nms(b, s, idxs, 0.4),
            *ops.multiclass_nms(*many, **rest),
            *(t.numpy() for t in ops.multiclass_nms(*map(torch.from_numpy, many), **rest)),
        ]
        print(dtype.__name__, *(hashlib.md5(r.tobytes()).hexdigest() for r in results))
"""
    lines = output_of_every_level(code).splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    nms, batched_nms = ops.nms, ops.batched_nms
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 4\], got \[3, 5\]"):
        nms(np.zeros((3, 5)), SCORES, 0.5)
    with pytest.raises(ValueError, match=r"`scores` must have shape \[3\], one for each of"):
        nms(BOXES, SCORES[:2], 0.5)
    with pytest.raises(ValueError, match=r"`idxs` must have shape \[3\]"):
        batched_nms(BOXES, SCORES, np.zeros((3, 1), int), 0.5)
    with pytest.raises(TypeError, match=r"`idxs` must hold integers, got dtype float64"):
        batched_nms(BOXES, SCORES, np.zeros(3), 0.5)
    for threshold in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"`iou_threshold` must lie in \[0, 1\], got"):
            nms(BOXES, SCORES, threshold)
    with pytest.raises(TypeError, match=r"`iou_threshold` must be a number, got str"):
        nms(BOXES, SCORES, "0.5")
    with pytest.raises(TypeError, match=r"`scores` must hold real numbers, got dtype bool"):
        nms(BOXES, SCORES > 0, 0.5)
    with pytest.raises(TypeError, match=r"`scores` is a torch.Tensor and `boxes` is numpy.ndarray"):
        nms(BOXES, torch.from_numpy(SCORES), 0.5)
    with pytest.raises(TypeError, match=r"must be a torch.Tensor or a numpy.ndarray, got list"):
        nms(BOXES.tolist(), SCORES, 0.5)


def test_native_ops_refuse_what_would_read_out_of_bounds():
    boxes, scores = BOXES, SCORES[:2]
    with pytest.raises(ValueError, match="scores must have one number for each of boxes"):
        _numpy.nms(boxes, scores, 0.5)
    with pytest.raises(RuntimeError, match="scores must have one number for each of boxes"):
        torch.ops.sightline.nms(*tensors(boxes, scores), 0.5)
    with pytest.raises(ValueError, match="idxs must have one integer"):
        _numpy.batched_nms(boxes, SCORES, np.zeros(2, np.int64), 0.5)
    with pytest.raises(RuntimeError, match="idxs must have one int64"):
        torch.ops.sightline.batched_nms(*tensors(boxes, SCORES, np.zeros(2, np.int64)), 0.5)
    with pytest.raises(RuntimeError, match="boxes must have shape"):
        torch.ops.sightline.multiclass_nms(
            torch.zeros(2, 3, 4), torch.zeros(2, 4, 5), 0.1, 0.5, 3, 9, False
        )


def test_opcheck_of_every_op():
    rng = np.random.default_rng(7)
    boxes, scores, idxs = tensors(
        random_boxes(rng, 40), random_scores(rng, 40), rng.integers(0, 3, 40)
    )
    torch.library.opcheck(torch.ops.sightline.nms, (boxes, scores, 0.5))
    torch.library.opcheck(torch.ops.sightline.nms, (boxes.double(), scores, 0.5))
    torch.library.opcheck(torch.ops.sightline.batched_nms, (boxes, scores, idxs, 0.5))
    many = boxes.reshape(2, 20, 4), scores.double().reshape(2, 10, 2).repeat(1, 2, 1)
    torch.library.opcheck(torch.ops.sightline.multiclass_nms, (*many, 0.1, 0.5, 7, 30, False))


def test_compiled_functions_have_no_graph_break():
    rng = np.random.default_rng(8)
    boxes, scores, idxs = tensors(
        random_boxes(rng, 40), random_scores(rng, 40), rng.integers(0, 3, 40)
    )

    def detect(boxes, scores, idxs):
        keep = ops.batched_nms(boxes, scores, idxs, 0.5)
        found = ops.multiclass_nms(
            boxes[None], scores[None, :, None], score_threshold=0, iou_threshold=0.5,
            max_detections=5,
        )  # fmt: skip
        return boxes[keep], ops.nms(boxes, scores, 0.5), found.boxes, found.count

    compiled = torch.compile(detect, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(boxes, scores, idxs), detect(boxes, scores, idxs)):
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def test_gradients_flow_through_the_kept_rows_alone():
    boxes = torch.from_numpy(BOXES).requires_grad_()
    scores = torch.from_numpy(SCORES).requires_grad_()
    keep = ops.nms(boxes, scores, 0.5)
    assert not keep.requires_grad
    boxes[keep].sum().backward()
    assert boxes.grad.sum(1).tolist() == [0, 4, 4]
    found = ops.multiclass_nms(
        boxes[None], scores[None, :, None], score_threshold=0, iou_threshold=0.5, max_detections=2
    )
    assert not any(part.requires_grad for part in found)


def test_cuda_gives_what_the_cpu_gives(cuda):
    rng = np.random.default_rng(9)
    for n in (*SIZES, 5000):
        for dtype in DTYPES:
            boxes, scores, idxs = tensors(
                random_boxes(rng, n, dtype, bad=True), random_scores(rng, n), rng.integers(-3, 4, n)
            )
            on_gpu = [part.to(cuda) for part in (boxes, scores, idxs)]
            for threshold in (0.0, 0.4, 1.0):
                got = ops.nms(*on_gpu[:2], threshold)
                assert got.device.type == "cuda"
                assert_same(got.cpu(), ops.nms(boxes, scores, threshold).numpy())
                expected = ops.batched_nms(boxes, scores, idxs, threshold).numpy()
                assert_same(ops.batched_nms(*on_gpu, threshold).cpu(), expected)
