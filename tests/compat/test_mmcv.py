"""mmcv's names: shapes, offset, thresholds and what is refused."""

import numpy as np
import pytest
import torch

from sightline import ops
from sightline.compat import mmcv

from ..ops.box_cases import random_boxes


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 200).round()
    return boxes, rng.permutation(200).astype(np.float32) / 200, rng.integers(0, 4, 200)


def iou_with_offset(a, b, offset):
    w = min(a[2], b[2]) - max(a[0], b[0]) + offset
    h = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(w, 0) * max(h, 0)
    area = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    whole = sum(area) - inter
    return inter / whole if whole > 0 else 0.0, inter / area[0] if area[0] > 0 else 0.0


def both_kinds(function, *arguments, **settings):
    """The result for arrays, after checking that tensors give the same."""
    got = function(*arguments, **settings)
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    for ours, theirs in zip(got, function(*tensors, **settings)):
        assert isinstance(ours, np.ndarray | np.generic) and isinstance(theirs, torch.Tensor)
        np.testing.assert_array_equal(ours, theirs.numpy())
    return got


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_bbox_overlaps_of_every_pair_and_of_aligned_pairs(case, mode, offset):
    boxes = case[0][:40]
    others = case[0][40:80]
    expected = [
        [iou_with_offset(a, b, offset)[mode == "iof"] for b in others.astype(float)]
        for a in boxes.astype(float)
    ]
    got = both_kinds(mmcv.bbox_overlaps, boxes, others, mode=mode, offset=offset)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    got = both_kinds(mmcv.bbox_overlaps, boxes, others, mode=mode, offset=offset, aligned=True)
    np.testing.assert_allclose(got, np.diag(expected), rtol=1e-6)


def test_nms_gives_detections_and_indices(case):
    boxes, scores, _ = case
    dets, keep = both_kinds(mmcv.nms, boxes, scores, 0.3)
    assert keep.tolist() == ops.nms(boxes, scores, 0.3).tolist()
    assert dets.tolist() == np.column_stack([boxes[keep], scores[keep]]).tolist()
    best = both_kinds(mmcv.nms, boxes, scores, 0.3, max_num=5)
    assert best[1].tolist() == keep[:5].tolist()
    above = both_kinds(mmcv.nms, boxes, scores, 0.3, score_threshold=0.6)
    assert above[1].tolist() == keep[scores[keep] > 0.6].tolist()


def test_nms_with_offset_takes_pixels_as_whole():
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1]], np.float32)  # one column of pixels in common
    scores = np.array([0.9, 0.8], np.float32)
    assert mmcv.nms(boxes, scores, 0.3)[1].tolist() == [0, 1]
    assert mmcv.nms(boxes, scores, 0.3, offset=1)[1].tolist() == [0]
    with pytest.raises(ValueError, match="`offset` must be one of 0, 1"):
        mmcv.nms(boxes, scores, 0.3, offset=2)


def test_soft_nms_gives_lowered_scores(case):
    boxes, scores, labels = case
    for method in ("linear", "gaussian"):
        dets, keep = both_kinds(mmcv.soft_nms, boxes, scores, method=method, min_score=0.01)
        indices, lowered = ops.soft_nms(boxes, scores, method=method, score_threshold=0.01)
        assert keep.tolist() == indices.tolist() and dets[:, 4].tolist() == lowered.tolist()
        settings = {"type": "soft_nms", "method": method, "min_score": 0.01, "max_num": 9}
        dets, keep = both_kinds(mmcv.batched_nms, boxes, scores, labels, settings)
        indices, _ = ops.soft_nms(boxes, scores, method=method, score_threshold=0.01, idxs=labels)
        assert keep.tolist() == indices[:9].tolist() and dets.shape == (9, 5)
    dets, keep = both_kinds(mmcv.soft_nms, boxes, scores, 0.3, method="naive", min_score=0.2)
    kept = ops.nms(boxes, scores, 0.3)
    assert keep.tolist() == kept[scores[kept] >= 0.2].tolist()


@pytest.mark.parametrize("clockwise", [True, False])
def test_box_iou_rotated_takes_radians_clockwise(clockwise):
    # An L of two long boxes: whether the second leans over the first tells the sense.
    first = np.array([[0.0, 0, 10, 1, np.pi / 4]])
    down_right = np.array([[3.0, 3, 1, 1, 0]])
    iou = mmcv.box_iou_rotated(first, down_right, clockwise=clockwise)
    assert (iou > 0).item() == clockwise
    aligned = mmcv.box_iou_rotated(first, down_right, aligned=True, clockwise=clockwise)
    assert aligned.tolist() == iou[0].tolist()
    with pytest.raises(NotImplementedError, match="`mode` 'iof'"):
        mmcv.box_iou_rotated(first, first, mode="iof")


def test_nms_rotated_gives_detections_and_separates_labels(case):
    boxes, scores, labels = case
    angles = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
    rotated = np.concatenate([ops.box_convert(boxes, "xyxy", "cxcywh"), angles], 1)
    degrees = np.concatenate([rotated[:, :4], -rotated[:, 4:] * np.float32(180 / np.pi)], 1)
    dets, keep = both_kinds(mmcv.nms_rotated, rotated, scores, 0.3)
    assert keep.tolist() == ops.nms_rotated(degrees, scores, 0.3).tolist()
    assert dets.tolist() == np.column_stack([rotated[keep], scores[keep]]).tolist()
    _, apart = both_kinds(mmcv.nms_rotated, rotated, scores, 0.3, labels)
    assert apart.tolist() == ops.nms_rotated(degrees, scores, 0.3, idxs=labels).tolist()
    settings = {"type": "nms_rotated", "iou_threshold": 0.3, "max_num": 5}
    dets, few = both_kinds(mmcv.batched_nms, rotated, scores, labels, settings)
    assert few.tolist() == apart[:5].tolist() and dets.shape == (5, 6)


def test_batched_nms_separates_classes_unless_told(case):
    boxes, scores, labels = case
    _, keep = both_kinds(mmcv.batched_nms, boxes, scores, labels, {"iou_threshold": 0.3})
    assert keep.tolist() == ops.batched_nms(boxes, scores, labels, 0.3).tolist()
    settings = {"type": "nms", "iou_threshold": 0.3, "split_thr": 10, "max_num": 7}
    _, few = both_kinds(mmcv.batched_nms, boxes, scores, labels, settings)
    assert few.tolist() == keep[:7].tolist()
    _, agnostic = both_kinds(mmcv.batched_nms, boxes, scores, labels, {"iou_thr": 0.3}, True)
    assert agnostic.tolist() == ops.nms(boxes, scores, 0.3).tolist()
    settings = {"iou_threshold": 0.3, "score_threshold": 0.6}
    _, above = both_kinds(mmcv.batched_nms, boxes, scores, labels, settings)
    assert above.tolist() == keep[scores[keep] > 0.6].tolist()
    dets, every = both_kinds(mmcv.batched_nms, boxes, scores, labels, None)
    assert every.tolist() == np.argsort(-scores).tolist() and dets.shape == (200, 5)


def test_batched_nms_refuses_what_it_does_not_know(case):
    with pytest.raises(NotImplementedError, match="`nms_cfg` has the type 'nms_match'"):
        mmcv.batched_nms(*case, {"type": "nms_match", "iou_threshold": 0.5})
    with pytest.raises(NotImplementedError, match="`nms_cfg` has 'sigma', which 'nms' does not"):
        mmcv.batched_nms(*case, {"iou_threshold": 0.5, "sigma": 1})


def test_nothing_in_gives_nothing():
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    dets, keep = mmcv.nms(boxes, scores, 0.5)
    assert dets.shape == (0, 5) and keep.shape == (0,) and keep.dtype == torch.int64
    assert mmcv.bbox_overlaps(boxes, torch.zeros(3, 4)).shape == (0, 3)
