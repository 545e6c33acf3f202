"""Arguments that the originals take and `sightline.ops` refuses: float classes, tensor numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from sightline import ops
from sightline.compat import detectron2, mmcv
from sightline.compat import torchvision as vision_ops

from ..ops.box_cases import random_boxes


def of_mmcv(boxes, scores, idxs, threshold):
    return mmcv.batched_nms(boxes, scores, idxs, {"type": "nms", "iou_threshold": threshold})[1]


def of_mmcv_soft(boxes, scores, idxs, threshold):
    return mmcv.batched_nms(boxes, scores, idxs, {"type": "soft_nms", "iou_threshold": threshold})[
        1
    ]


def turned(boxes):
    columns = [ops.box_convert(boxes, "xyxy", "cxcywh"), boxes[:, :1] * 0]
    return torch.cat(columns, 1) if isinstance(boxes, torch.Tensor) else np.concatenate(columns, 1)


FORMS: dict[str, Any] = {
    "torchvision": vision_ops.batched_nms,
    "detectron2": detectron2.batched_nms,
    "detectron2 rotated": lambda b, *rest: detectron2.batched_nms_rotated(turned(b), *rest),
    "mmcv": of_mmcv,
    "mmcv soft": of_mmcv_soft,
    "mmcv rotated": lambda b, s, i, threshold: mmcv.nms_rotated(turned(b), s, threshold, i)[1],
}


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    return (
        random_boxes(rng, 80),
        rng.permutation(80).astype(np.float32) / 80,
        rng.integers(0, 3, 80),
    )


def both_kinds(form, boxes, scores, idxs, threshold=0.3):
    """The result for arrays, after checking that tensors give the same."""
    got = form(boxes, scores, idxs, threshold)
    given = [torch.from_numpy(np.ascontiguousarray(a)) for a in (boxes, scores, idxs)]
    assert form(*given, threshold).tolist() == got.tolist()
    return got.tolist()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_classes_may_be_a_column_of_floats(form, case):
    boxes, scores, classes = case
    expected = both_kinds(form, boxes, scores, classes)
    assert expected != both_kinds(form, boxes, scores, classes * 0)
    for dtype in (np.float16, np.float32, np.float64):
        prediction = np.column_stack([boxes, scores, classes]).astype(np.float64)
        column = prediction.astype(dtype)[:, 5]  # of a wider array, as of a detector
        assert both_kinds(form, boxes, scores, column) == expected
    halves = torch.from_numpy(classes).to(torch.bfloat16)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
    assert form(*tensors, halves, 0.3).tolist() == expected
    assert form(*tensors, halves.float().requires_grad_(), 0.3).tolist() == expected


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_distinct_float_is_a_class(form, case):
    boxes, scores, classes = case
    values = np.array([-0.5, 0.5, 1e300])
    expected = both_kinds(form, boxes, scores, classes)
    assert both_kinds(form, boxes, scores, values[classes]) == expected
    # 5e-324 has the bits of the integer 1, -0 and 0 are one class, and infinity is one.
    for pair in ((5e-324, 1.0), (0.0, 1e-12), (np.inf, -np.inf)):
        apart = np.where(classes == 0, *pair)
        assert both_kinds(form, boxes, scores, apart) == both_kinds(
            form, boxes, scores, (classes == 0).astype(np.int64)
        )
    zeros = np.where(classes == 0, 0.0, -0.0)
    assert both_kinds(form, boxes, scores, zeros) == both_kinds(form, boxes, scores, classes * 0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_nan_is_a_class_by_itself(form, case):
    boxes, scores, classes = case
    some = np.where(classes == 0, np.nan, classes.astype(np.float64))
    own = np.where(classes == 0, np.arange(len(classes)) + 10, classes)
    assert both_kinds(form, boxes, scores, some) == both_kinds(form, boxes, scores, own)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_classes_may_be_bool_and_a_threshold_a_tensor(form, case):
    boxes, scores, classes = case
    expected = both_kinds(form, boxes, scores, (classes == 0).astype(np.int64))
    assert both_kinds(form, boxes, scores, classes == 0) == expected
    assert both_kinds(form, boxes, scores, classes == 0, torch.tensor(0.3)) == expected


@pytest.mark.parametrize("form", [vision_ops.batched_nms, detectron2.batched_nms])
def test_no_boxes_may_be_an_empty_list_made_a_tensor(form):
    nothing = torch.tensor([])
    assert form(nothing, nothing, nothing, 0.5).tolist() == []
    assert form(nothing, nothing, nothing, 0.5).dtype == torch.int64
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 4\], got \[3\]"):
        form(torch.zeros(3), torch.zeros(3), torch.zeros(3), 0.5)


def test_float_classes_compile_into_one_graph(case):
    boxes, scores, classes = map(torch.from_numpy, case)
    form = torch.compile(vision_ops.batched_nms, backend="eager", fullgraph=True)
    expected = vision_ops.batched_nms(boxes, scores, classes, 0.3)
    assert torch.equal(form(boxes, scores, classes.float(), 0.3), expected)


def test_mmcv_needs_no_classes_where_all_boxes_are_of_one(case):
    boxes, scores, classes = case
    settings = {"type": "nms", "iou_threshold": 0.3}
    given = mmcv.batched_nms(boxes, scores, classes, settings, class_agnostic=True)[1]
    assert mmcv.batched_nms(boxes, scores, None, settings, class_agnostic=True)[1].tolist() == (
        given.tolist()
    )
    with pytest.raises(TypeError, match="`idxs` is None: give the classes, or class_agnostic"):
        mmcv.batched_nms(boxes, scores, None, settings)


def test_sizes_of_torchvision_may_be_tensors_and_boxes_have_scores_behind(case):
    boxes, scores, _ = map(torch.from_numpy, case)
    expected = ops.clip_boxes_to_image(boxes, (40, 50))
    for size in (torch.tensor([40, 50]), [torch.tensor(40), 50], torch.Size([40, 50])):
        assert torch.equal(vision_ops.clip_boxes_to_image(boxes, size), expected)
    expected = ops.remove_small_boxes(boxes, 20.0)
    assert 0 < len(expected) < len(boxes)
    with_scores = torch.cat([boxes, scores[:, None]], 1)
    assert torch.equal(vision_ops.remove_small_boxes(with_scores, torch.tensor(20.0)), expected)
    assert torch.equal(
        vision_ops.nms(boxes, scores, torch.tensor(0.5)), ops.nms(boxes, scores, 0.5)
    )
    for call in (vision_ops.clip_boxes_to_image, vision_ops.remove_small_boxes):
        with pytest.raises(TypeError, match="`boxes` must be a"):
            call([[0, 0, 1, 1]], (4, 4))
