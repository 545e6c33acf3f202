"""detectron2's names: which area divides, aligned pairs, several boxes per row."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sightline import ops
from sightline.compat import detectron2

from ..ops.box_cases import random_boxes


@pytest.fixture
def boxes():
    return torch.from_numpy(random_boxes(np.random.default_rng(0), 30))


def test_pairwise_functions_take_boxes_and_what_holds_them(boxes):
    first, second = boxes[:10], boxes[10:]
    held = SimpleNamespace(tensor=first)  # as detectron2's Boxes hold theirs
    assert torch.equal(detectron2.pairwise_iou(held, second), ops.box_iou(first, second))
    inter = detectron2.pairwise_intersection(held, second)
    area = ops.box_area(second)
    torch.testing.assert_close(detectron2.pairwise_ioa(held, second), inter / area)
    matched = detectron2.matched_pairwise_iou(held, second[:10])
    torch.testing.assert_close(matched, ops.box_iou(first, second[:10]).diag())
    with pytest.raises(ValueError, match="aligned boxes must have the same shape"):
        detectron2.matched_pairwise_iou(first, second)


def test_batched_nms_is_ours(boxes):
    scores, labels = torch.rand(30), torch.arange(30) % 3
    got = detectron2.batched_nms(boxes, scores, labels, 0.3)
    assert torch.equal(got, ops.batched_nms(boxes, scores, labels, 0.3))


def test_rotated_forms_are_ours_in_degrees(boxes):
    turned = torch.cat([ops.box_convert(boxes, "xyxy", "cxcywh"), torch.arange(30.0)[:, None]], 1)
    held = SimpleNamespace(tensor=turned)
    got = detectron2.pairwise_iou_rotated(held, turned[:7])
    assert torch.equal(got, ops.box_iou_rotated(turned, turned[:7]))
    scores, labels = torch.rand(30), torch.arange(30) % 3
    got = detectron2.nms_rotated(turned, scores, 0.3)
    assert torch.equal(got, ops.nms_rotated(turned, scores, 0.3))
    got = detectron2.batched_nms_rotated(turned, scores, labels, 0.3)
    assert torch.equal(got, ops.nms_rotated(turned, scores, 0.3, idxs=labels))


def test_box2box_transform_codes_several_boxes_a_row(boxes):
    transform = detectron2.Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0))
    source, target = boxes[:10], boxes[10:20]
    deltas = transform.get_deltas(source, target)
    torch.testing.assert_close(transform.apply_deltas(deltas, source), target, rtol=1e-4, atol=1e-4)
    several = torch.cat([deltas, 0 * deltas], 1)
    moved = transform.apply_deltas(several, source)
    assert moved.shape == (10, 8)
    torch.testing.assert_close(moved[:, :4], target, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved[:, 4:], source, rtol=1e-4, atol=1e-4)
    with pytest.raises(NotImplementedError, match="`scale_clamp` must be"):
        detectron2.Box2BoxTransform((1, 1, 1, 1), scale_clamp=1.0)
