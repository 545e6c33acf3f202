"""Ours, for tensors and arrays alike."""

from collections.abc import Callable
from typing import Any

from sightline import ops

Array = Any  # a torch.Tensor or a numpy.ndarray


def box_iou(boxes1: Array, boxes2: Array) -> Array:
    return ops.box_iou(boxes1, boxes2)


def _with_out(op: Callable[..., Array]) -> Callable[..., Array]:
    return lambda boxes1, boxes2, out: op(boxes1, boxes2, out=out)


box_iou_out = _with_out(ops.box_iou)
generalized_box_iou_out = _with_out(ops.generalized_box_iou)
complete_box_iou_out = _with_out(ops.complete_box_iou)
box_iou_rotated_out = _with_out(ops.box_iou_rotated)
generalized_box_iou_loss = ops.generalized_box_iou_loss
distance_box_iou_loss = ops.distance_box_iou_loss
complete_box_iou_loss = ops.complete_box_iou_loss


def decode_boxes(deltas: Array, anchors: Array) -> Array:
    return ops.decode_boxes(deltas, anchors, size=(1000, 1000))


def box_iou_max(boxes1: Array, boxes2: Array) -> tuple[Array, ...]:
    found = ops.box_iou_max(boxes1, boxes2)
    return found.row_max, found.column_max


def box_iou_topk(boxes1: Array, boxes2: Array) -> Array:
    return ops.box_iou_topk(boxes1, boxes2, 9).values


def nms(boxes: Array, scores: Array) -> Array:
    return ops.nms(boxes, scores, 0.5)


def batched_nms(boxes: Array, scores: Array, idxs: Array) -> Array:
    return ops.batched_nms(boxes, scores, idxs, 0.5)


def multiclass_nms(boxes: Array, scores: Array) -> tuple[Array, ...]:
    found = ops.multiclass_nms(
        boxes, scores, score_threshold=0.001, iou_threshold=0.5, max_detections=300
    )
    return found.boxes, found.scores, found.labels


def nms_padded(boxes: Array, scores: Array) -> Array:
    return ops.nms_padded(boxes, scores, 0.5, max_detections=300).indices


def soft_nms_linear(boxes: Array, scores: Array) -> Array:
    keep, _ = ops.soft_nms(boxes, scores, method="linear", iou_threshold=0.3)
    return keep


def soft_nms_gaussian(boxes: Array, scores: Array) -> Array:
    keep, _ = ops.soft_nms(boxes, scores, method="gaussian", sigma=0.5)
    return keep


def matrix_nms(boxes: Array, scores: Array) -> Array:
    return ops.matrix_nms(boxes, scores, method="gaussian", sigma=2.0)


def nms_rotated(boxes: Array, scores: Array) -> Array:
    return ops.nms_rotated(boxes, scores, 0.5)


def weighted_boxes_fusion(boxes: Array, scores: Array, labels: Array) -> Array:
    """One row of boxes, scores and labels per model."""
    _, fused, _ = ops.weighted_boxes_fusion(list(boxes), list(scores), list(labels))
    return fused
