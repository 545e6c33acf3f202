"""multiclass_nms: the reference, batches of candidates, early stop, agnostic suppression."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .box_cases import random_boxes, random_scores
from .isa import output_of_every_level
from .same import assert_same, tensors

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0), (1, 1, 1), (3, 65, 5), (2, 600, 2)]
)
def test_multiclass_nms_equals_the_reference(shape, dtype):
    rng = np.random.default_rng(3)
    b, a, c = shape
    scores = random_scores(rng, shape)
    shared = random_boxes(rng, b * a, dtype, bad=True).reshape(b, a, 4)
    own = random_boxes(rng, b * a * c, dtype, bad=True).reshape(b, a, c, 4)
    for boxes in (shared, own):
        for max_detections, pre_top_k in ((0, None), (1, 1), (10, 7), (10, None), (400, 50)):
            for score_threshold, agnostic in ((-np.inf, False), (0.6, True), (2.0, False)):
                settings = {
                    "score_threshold": score_threshold,
                    "iou_threshold": 0.4,
                    "max_detections": max_detections,
                    "pre_top_k": pre_top_k,
                    "agnostic": agnostic,
                }
                expected = reference.multiclass_nms(boxes, scores, **settings)
                of_arrays = ops.multiclass_nms(boxes, scores, **settings)
                of_tensors = ops.multiclass_nms(*tensors(boxes, scores), **settings)
                for want, array, tensor in zip(expected, of_arrays, of_tensors, strict=True):
                    assert_same(array, want)
                    assert_same(tensor, want)


def test_multiclass_nms_is_batched_nms_of_the_candidates():
    rng = np.random.default_rng(4)
    boxes, scores = random_boxes(rng, 500), rng.random((500, 3)).astype(np.float32)
    found = ops.multiclass_nms(
        boxes[None], scores[None], score_threshold=0.5, iou_threshold=0.5, max_detections=2000
    )
    anchor, label = np.nonzero(scores > 0.5)
    keep = ops.batched_nms(boxes[anchor], scores[anchor, label], label, 0.5)
    count = found.count[0]
    assert count == len(keep)
    assert_same(found.boxes[0, :count], boxes[anchor[keep]])
    assert_same(found.labels[0, :count], label[keep])
    assert (found.labels[0, count:] == -1).all() and (found.scores[0, count:] == 0).all()


def test_wrong_arguments_of_multiclass_nms_are_named():
    boxes, scores = np.zeros((2, 3, 4)), np.zeros((2, 3, 5))
    right = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 3}
    with pytest.raises(ValueError, match=r"`scores` must have shape \[B, A, C\], got \[2, 3\]"):
        ops.multiclass_nms(boxes, scores[..., 0], **right)
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[2, 3, 4\] or \[2, 3, 5, 4\]"):
        ops.multiclass_nms(boxes[:, :2], scores, **right)
    for wrong, error, message in (
        ({"max_detections": -1}, ValueError, "`max_detections` must be at least 0, got -1"),
        ({"max_detections": 2.5}, TypeError, "`max_detections` must be an integer, got float"),
        ({"pre_top_k": 0}, ValueError, "`pre_top_k` must be at least 1, got 0"),
        ({"score_threshold": np.nan}, ValueError, "`score_threshold` must not be NaN"),
        ({"score_threshold": None}, TypeError, "`score_threshold` must be a number, got None"),
        ({"iou_threshold": 2}, ValueError, r"`iou_threshold` must lie in \[0, 1\], got 2"),
    ):
        with pytest.raises(error, match=message):
            ops.multiclass_nms(boxes, scores, **{**right, **wrong})


def test_agnostic_suppression_leaves_an_anchor_its_best_class():
    boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]], np.float32)
    scores = np.array([[[0.8, 0.3], [0.2, 0.9], [0.5, 0.6]]], np.float32)
    settings = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 5}
    found = ops.multiclass_nms(boxes, scores, agnostic=True, **settings)
    assert found.labels.tolist() == [[1, 1, -1, -1, -1]]
    assert found.boxes[0, :2].tolist() == [[1, 0, 11, 10], [20, 0, 30, 10]]
    # Each class for itself keeps the better of the two that overlap, and both classes of the third.
    found = ops.multiclass_nms(boxes, scores, **settings)
    assert found.labels.tolist() == [[1, 0, 1, 0, -1]]


def of_one_image(boxes, scores, *, score_threshold, iou_threshold, max_detections, agnostic):
    """The usual way: all candidates, `batched_nms`, the first detections."""
    anchor, label = np.nonzero(scores > score_threshold)
    score = scores[anchor, label]
    segment = np.zeros_like(label) if agnostic else label
    keep = ops.batched_nms(boxes[anchor], score, segment, iou_threshold)[:max_detections]
    return boxes[anchor[keep]], score[keep], label[keep]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("kind", ["distinct", "tied", "equal", "few above", "ascending"])
def test_many_candidates_equal_batched_nms_of_all(kind, agnostic):
    # More than the batches in which the best are found, so that these end early, start again, and
    # hold ties across their ends.
    rng = np.random.default_rng(11)
    anchors, classes = 9000, 9
    scores = rng.random((anchors, classes)).astype(np.float32)
    if kind == "tied":
        scores = np.round(scores, 2)
    elif kind == "equal":
        scores[...] = 0.5
    elif kind == "few above":
        scores **= 40
    elif kind == "ascending":
        scores = np.sort(scores.ravel()).reshape(anchors, classes)
    # A hundred places: detections run out long before candidates do.
    boxes = random_boxes(rng, 100)[rng.integers(0, 100, anchors)]
    boxes = boxes + rng.uniform(-1, 1, boxes.shape).astype(np.float32)
    for max_detections in (1, 50, 3000):
        settings = {
            "score_threshold": 0.01,
            "iou_threshold": 0.5,
            "max_detections": max_detections,
            "agnostic": agnostic,
        }
        found = ops.multiclass_nms(boxes[None], scores[None], **settings)
        count = found.count[0]
        expected = of_one_image(boxes, scores, **settings)
        for part, want in zip(found, expected, strict=False):
            assert_same(part[0, :count], want)
        limited = ops.multiclass_nms(boxes[None], scores[None], pre_top_k=5000, **settings)
        worst = np.sort(-scores, None, kind="stable")[4999]
        if kind == "distinct":
            expected = of_one_image(boxes, np.where(-scores <= worst, scores, 0), **settings)
            assert_same(limited.labels[0, : limited.count[0]], expected[2])


def test_every_instruction_set_finds_the_same_among_many_candidates():
    code = """
import hashlib
import numpy as np
from sightline import ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 300, (2, 4000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (2, 4000, 2))], 2)
scores = np.round(rng.random((2, 4000, 20)), 3)
for dtype in (np.float32, np.float64):
    for max_detections in (20, 900):
        found = ops.multiclass_nms(
            boxes.astype(dtype), scores.astype(dtype), score_threshold=0.1, iou_threshold=0.4,
            max_detections=max_detections, agnostic=max_detections == 20,
        )
        print(*(hashlib.md5(part.tobytes()).hexdigest() for part in found))
"""
    output_of_every_level(code)


def test_multiclass_nms_on_cuda_gives_what_the_cpu_gives_without_synchronising(cuda):
    rng = np.random.default_rng(10)
    for shape in ((2, 0, 3), (2, 3, 0), (3, 65, 5), (2, 3000, 20)):
        boxes = random_boxes(rng, shape[0] * shape[1], bad=True).reshape(*shape[:2], 4)
        boxes, scores = tensors(boxes, random_scores(rng, shape))
        on_gpu = boxes.to(cuda), scores.to(cuda)
        for pre_top_k in (None, 1, 500):
            settings = {
                "agnostic": pre_top_k == 500,
                "score_threshold": 0.1,
                "iou_threshold": 0.4,
                "max_detections": 100,
                "pre_top_k": pre_top_k,
            }
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("error")
            try:
                got = ops.multiclass_nms(*on_gpu, **settings)
            finally:
                torch.cuda.set_sync_debug_mode(before)
            for part, expected in zip(got, ops.multiclass_nms(boxes, scores, **settings)):
                assert_same(part.cpu(), expected.numpy())
