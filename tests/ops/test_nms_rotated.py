"""NMS of rotated boxes: hand-worked cases, the reference, ties and bad boxes, what torch asks."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference
from sightline.reference.nms_rotated import suppress

from .box_cases import awkward_layouts
from .isa import output_of_every_level
from .rotated_cases import random_rotated_boxes
from .same import assert_same, tensors
from .test_nms import random_scores

DTYPES = (np.float32, np.float64)
BOXES = np.array([[0, 0, 10, 2, 0], [0, 0, 10, 2, 5], [0, 0, 10, 2, 90]], np.float32)
SCORES = np.array([0.8, 0.9, 0.7], np.float32)


def expected_of(boxes, scores, threshold, idxs=None, unit="degrees"):
    """Greedy suppression on the op's own matrix, which other tests hold to the reference."""
    iou = ops.box_iou_rotated(boxes, boxes, unit=unit)
    return suppress(iou, scores, threshold, idxs)


def test_a_bar_suppresses_one_in_its_direction_and_none_across():
    assert ops.nms_rotated(BOXES, SCORES, 0.5).tolist() == [1, 2]
    assert ops.nms_rotated(BOXES, SCORES, 0.9).tolist() == [1, 0, 2]
    # Across: 4 / 36.
    assert ops.nms_rotated(BOXES[::2], SCORES[::2], 0.11).tolist() == [0]
    assert ops.nms_rotated(BOXES[::2], SCORES[::2], 0.112).tolist() == [0, 1]


def test_iou_on_the_threshold_does_not_suppress():
    # mmcv and detectron2 suppress at the threshold on the CPU and beyond it on CUDA.
    boxes = np.array([[0, 0, 4, 2, 90], [0, 1, 2, 2, 0]], np.float32)  # IoU 4 / 8
    assert ops.box_iou_rotated(boxes[:1], boxes[1:])[0, 0] == 0.5
    assert ops.nms_rotated(boxes, np.array([2, 1]), 0.5).tolist() == [0, 1]
    assert ops.nms_rotated(boxes, np.array([2, 1]), np.nextafter(np.float32(0.5), 0)).tolist() == [
        0
    ]


def test_upright_boxes_are_kept_as_nms_keeps_them():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 60, (400, 2, 2)), 1).reshape(400, 4).astype(np.float32)
    scores = random_scores(rng, 400)
    boxes = ops.box_convert(corners, "xyxy", "cxcywh")
    for turns in (0, 1, 2, -3):
        sides = boxes[:, [0, 1, 3, 2]] if turns % 2 else boxes
        turned = np.concatenate([sides, np.full((400, 1), 90.0 * turns)], 1, dtype=np.float32)
        for threshold in (0.0, 0.25, 0.5):
            got = ops.nms_rotated(turned, scores, threshold)
            assert_same(got, ops.nms(corners, scores, threshold))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("unit", ["degrees", "radians"])
def test_kept_boxes_are_those_of_the_reference(unit, dtype):
    rng = np.random.default_rng(1)
    for n in (0, 1, 2, 25, 65):
        boxes = random_rotated_boxes(rng, n, dtype, bad=n > 1, unit=unit)
        scores = random_scores(rng, n)
        for threshold in (0.0, 0.3, 1.0):
            for idxs in (None, rng.integers(-2, 2, n)):
                expected = reference.nms_rotated(boxes, scores, threshold, idxs=idxs, unit=unit)
                got = ops.nms_rotated(boxes, scores, threshold, idxs=idxs, unit=unit)
                assert_same(got, expected)


@pytest.mark.parametrize("score_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_and_blocks_change_nothing(dtype, score_dtype):
    rng = np.random.default_rng(2)
    for n in (63, 64, 255, 256, 257, 511, 1000):
        for spread in (1, 8):
            boxes = random_rotated_boxes(rng, n, dtype, bad=True)
            with np.errstate(all="ignore"):
                boxes[:, :2] *= spread
            scores = random_scores(rng, n, score_dtype)
            idxs = rng.choice([-(2**63), 0, 7, 2**63 - 1], n)
            for threshold in (0.0, 0.4):
                expected = expected_of(boxes, scores, threshold)
                assert_same(ops.nms_rotated(boxes, scores, threshold), expected)
                assert_same(ops.nms_rotated(*tensors(boxes, scores), threshold), expected)
                expected = expected_of(boxes, scores, threshold, idxs)
                assert_same(ops.nms_rotated(boxes, scores, threshold, idxs=idxs), expected)
                by_tensors = tensors(boxes, scores, idxs)
                got = ops.nms_rotated(*by_tensors[:2], threshold, idxs=by_tensors[2])
                assert_same(got, expected)


def test_large_segments_beside_small_ones_equal_one_nms_a_segment():
    rng = np.random.default_rng(3)
    n = 6500
    boxes = random_rotated_boxes(rng, n)
    boxes[:, :2] *= 15
    scores = random_scores(rng, n)
    idxs = np.where(rng.random(n) < 0.7, 5, rng.integers(0, 40, n))
    kept = np.zeros(n, bool)
    for idx in range(40):
        segment = np.flatnonzero(idxs == idx)
        kept[segment[ops.nms_rotated(boxes[segment], scores[segment], 0.2)]] = True
    order = np.argsort(-scores, kind="stable")
    got = ops.nms_rotated(boxes, scores, 0.2, idxs=idxs)
    assert_same(got, order[kept[order]])
    assert len(got) < n
    segment = np.flatnonzero(idxs == 5)
    expected = expected_of(boxes[segment], scores[segment], 0.2)
    assert_same(ops.nms_rotated(boxes[segment], scores[segment], 0.2), expected)


def test_many_boxes_in_little_memory():
    rng = np.random.default_rng(4)
    n = 200_000
    boxes = random_rotated_boxes(rng, n)
    boxes[:, :2] = rng.uniform(0, 40_000, (n, 2))
    scores = rng.random(n, np.float32)
    keep = ops.nms_rotated(boxes, scores, 0.1)
    assert 0.5 * n < len(keep) < n and (np.diff(scores[keep]) <= 0).all()
    # A patch by itself, away from its rim, is kept as the whole has it: chains are short.
    patch = np.flatnonzero((boxes[:, :2] < 2500).all(1))
    inner = patch[(boxes[patch, :2] < 1500).all(1)]
    alone = patch[ops.nms_rotated(boxes[patch], scores[patch], 0.1)]
    assert set(inner) & set(alone) == set(inner) & set(keep)


def test_equal_scores_keep_the_first_and_nan_sorts_last():
    boxes = np.repeat(BOXES[:1], 4, 0)
    assert ops.nms_rotated(boxes, np.zeros(4), 0.5).tolist() == [0]
    assert ops.nms_rotated(boxes, np.array([np.nan, -np.inf, np.nan, -np.inf]), 0.5).tolist() == [1]
    assert ops.nms_rotated(boxes, np.full(4, np.nan), 1.0).tolist() == [0, 1, 2, 3]


def test_bad_boxes_are_kept_and_suppress_nothing():
    whole = [0, 0, 10, 10, 0]
    bad = [[0, 0, 10, 10, np.nan], [np.inf, 0, 10, 10, 0], [0, 0, 0, 10, 0], [0, 0, -10, 10, 0]]
    boxes = np.array([*bad, whole, *bad, whole], np.float32)
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert ops.nms_rotated(boxes, -np.arange(10.0), 0.0).tolist() == expected
    many = np.concatenate([boxes] * 60)
    kept = set(range(600)) - {i for i in range(600) if i % 5 == 4} | {4}
    assert set(ops.nms_rotated(many, -np.arange(600.0), 0.0).tolist()) == kept


def test_far_boxes_and_one_huge_box_change_nothing():
    rng = np.random.default_rng(5)
    for extreme in (1e30, 3e38):
        boxes = random_rotated_boxes(rng, 600)
        boxes[7, :2] = extreme
        boxes[8] = [0, 0, 1e15, 1e15, 30]
        boxes[9, 0] = -extreme
        scores = random_scores(rng, 600)
        expected = expected_of(boxes, scores, 0.2)
        assert_same(ops.nms_rotated(boxes, scores, 0.2), expected)


def test_layouts_and_types():
    rng = np.random.default_rng(6)
    boxes, scores = np.round(random_rotated_boxes(rng, 65)), random_scores(rng, 65)
    expected = ops.nms_rotated(boxes, scores, 0.3)
    for same in awkward_layouts(boxes):
        assert_same(ops.nms_rotated(same, awkward_layouts(scores)[0], 0.3), expected)
    assert_same(ops.nms_rotated(boxes.astype(np.int16), scores, 0.3), expected)
    assert_same(ops.nms_rotated(torch.from_numpy(boxes).half(), tensors(scores)[0], 0.3), expected)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 5\]"):
        ops.nms_rotated(BOXES[:, :4], SCORES, 0.5)
    with pytest.raises(ValueError, match=r"`scores` must have shape \[3\]"):
        ops.nms_rotated(BOXES, SCORES[:2], 0.5)
    with pytest.raises(ValueError, match=r"`idxs` must have shape \[3\]"):
        ops.nms_rotated(BOXES, SCORES, 0.5, idxs=np.zeros(2, np.int64))
    with pytest.raises(TypeError, match="`idxs` must hold integers, got dtype float64"):
        ops.nms_rotated(BOXES, SCORES, 0.5, idxs=np.zeros(3))
    with pytest.raises(ValueError, match=r"`iou_threshold` must lie in \[0, 1\], got 2"):
        ops.nms_rotated(BOXES, SCORES, 2)
    with pytest.raises(ValueError, match="`unit` must be one of"):
        ops.nms_rotated(BOXES, SCORES, 0.5, unit="turns")
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        ops.nms_rotated(BOXES, torch.from_numpy(SCORES), 0.5)


def test_opcheck_compile_export_and_autocast():
    boxes, scores, idxs = *tensors(BOXES, SCORES), torch.tensor([0, 0, 1])
    op = torch.ops.sightline.nms_rotated
    torch.library.opcheck(op.default, (boxes, scores, None, 0.5, True))
    torch.library.opcheck(op.default, (boxes, scores, idxs, 0.5, False))

    class Detect(torch.nn.Module):
        def forward(self, boxes, scores):
            return boxes[ops.nms_rotated(boxes, scores, 0.5)]

    expected = boxes[[1, 2]]
    compiled = torch.compile(Detect(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, scores), expected)
    assert torch.equal(
        torch.export.export(Detect(), (boxes, scores)).module()(boxes, scores), expected
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert op(boxes.bfloat16(), scores.bfloat16(), None, 0.5, True).tolist() == [1, 2]
    grown = boxes.clone().requires_grad_()
    assert not ops.nms_rotated(grown, scores, 0.5).requires_grad


BITS = """
import hashlib
import numpy as np
from tests.ops.rotated_cases import random_rotated_boxes
from sightline import ops
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    boxes = random_rotated_boxes(rng, 1500, dtype, bad=True)
    scores = np.round(rng.random(1500), 2)
    for threshold in (0.0, 0.3):
        keep = ops.nms_rotated(boxes, scores, threshold)
        print(len(keep), hashlib.sha256(keep.tobytes()).hexdigest())
"""


def test_every_isa_level_keeps_the_same():
    output_of_every_level(BITS)


def test_any_number_of_threads_keeps_the_same():
    rng = np.random.default_rng(7)
    boxes = random_rotated_boxes(rng, 40_000)
    boxes[:, :2] *= 20
    scores = random_scores(rng, 40_000)
    idxs = np.where(rng.random(40_000) < 0.8, 0, rng.integers(1, 50, 40_000))
    results, before = [], _numpy.get_num_threads()
    try:
        for threads in (1, 2, 5):
            _numpy.set_num_threads(threads)
            results.append(ops.nms_rotated(boxes, scores, 0.3, idxs=idxs))
    finally:
        _numpy.set_num_threads(before)
    for other in results[1:]:
        assert_same(other, results[0])


def test_cuda_keeps_what_the_cpu_keeps(cuda):
    rng = np.random.default_rng(8)
    for n in (0, 1, 2, 255, 256, 257, 1000, 5000):
        for dtype in DTYPES:
            boxes, scores, idxs = tensors(
                random_rotated_boxes(rng, n, dtype, bad=n > 1),
                random_scores(rng, n),
                rng.integers(-3, 4, n),
            )
            for threshold in (0.0, 0.4, 1.0):
                for segments in (None, idxs):
                    on_gpu = None if segments is None else segments.to(cuda)
                    got = ops.nms_rotated(boxes.to(cuda), scores.to(cuda), threshold, idxs=on_gpu)
                    expected = ops.nms_rotated(boxes, scores, threshold, idxs=segments)
                    assert_same(got.cpu(), expected.numpy())
