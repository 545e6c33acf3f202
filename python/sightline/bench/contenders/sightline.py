"""Ours."""

import torch
from torch import Tensor

from sightline import ops


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.box_iou(boxes1, boxes2)


def box_iou_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return ops.box_iou(boxes1, boxes2, out=out)


def generalized_box_iou_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return ops.generalized_box_iou(boxes1, boxes2, out=out)


def complete_box_iou_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return ops.complete_box_iou(boxes1, boxes2, out=out)


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.generalized_box_iou_loss(boxes1, boxes2)


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.distance_box_iou_loss(boxes1, boxes2)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.complete_box_iou_loss(boxes1, boxes2)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    return ops.decode_boxes(deltas, anchors, size=(1000, 1000))


def box_iou_rotated_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return ops.box_iou_rotated(boxes1, boxes2, out=out)


def box_iou_max(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, ...]:
    found = ops.box_iou_max(boxes1, boxes2)
    return found.row_max, found.column_max


def box_iou_topk(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.box_iou_topk(boxes1, boxes2, 9).values


def nms(boxes: Tensor, scores: Tensor) -> Tensor:
    return ops.nms(boxes, scores, 0.5)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor) -> Tensor:
    return ops.batched_nms(boxes, scores, idxs, 0.5)


def multiclass_nms(boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
    found = ops.multiclass_nms(
        boxes, scores, score_threshold=0.001, iou_threshold=0.5, max_detections=300
    )
    return found.boxes, found.scores, found.labels


def nms_padded(boxes: Tensor, scores: Tensor) -> Tensor:
    return ops.nms_padded(boxes, scores, 0.5, max_detections=300).indices


def soft_nms_linear(boxes: Tensor, scores: Tensor) -> Tensor:
    keep, _ = ops.soft_nms(boxes, scores, method="linear", iou_threshold=0.3)
    return keep


def soft_nms_gaussian(boxes: Tensor, scores: Tensor) -> Tensor:
    keep, _ = ops.soft_nms(boxes, scores, method="gaussian", sigma=0.5)
    return keep


def matrix_nms(boxes: Tensor, scores: Tensor) -> Tensor:
    return ops.matrix_nms(boxes, scores, method="gaussian", sigma=2.0)


def nms_rotated(boxes: Tensor, scores: Tensor) -> Tensor:
    return ops.nms_rotated(boxes, scores, 0.5)


def weighted_boxes_fusion(boxes: Tensor, scores: Tensor) -> Tensor:
    """Of models, a row of boxes and of scores each; one label."""
    labels = [torch.zeros(len(own), dtype=torch.int64, device=own.device) for own in boxes]
    _, fused, _ = ops.weighted_boxes_fusion(list(boxes), list(scores), labels)
    return fused
