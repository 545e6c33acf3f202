"""torchvision, as its users call it; it has no `out`."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.box_iou(boxes1, boxes2)


def _without_out(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda boxes1, boxes2, out: op(boxes1, boxes2)


box_iou_out = _without_out(ops.box_iou)
generalized_box_iou_out = _without_out(ops.generalized_box_iou)
complete_box_iou_out = _without_out(ops.complete_box_iou)
generalized_box_iou_loss = ops.generalized_box_iou_loss
distance_box_iou_loss = ops.distance_box_iou_loss
complete_box_iou_loss = ops.complete_box_iou_loss


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """As in torchvision's RetinaNet: its box coder, then clipping."""
    boxes = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(deltas, anchors)
    return ops.clip_boxes_to_image(boxes, (1000, 1000))


def box_iou_rotated_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return ops.box_iou(boxes1, boxes2, fmt="cxcywhr")


def box_iou_max(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, ...]:
    """The matrix, then its maxima with their indices."""
    matrix = ops.box_iou(boxes1, boxes2)
    row_max, _ = matrix.max(1)
    return row_max, matrix.amax(0)


def box_iou_topk(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """The matrix, then its largest elements."""
    values, _ = ops.box_iou(boxes1, boxes2).topk(9)
    return values


def nms(boxes: Tensor, scores: Tensor) -> Tensor:
    return ops.nms(boxes, scores, 0.5)


def nms_padded(boxes: Tensor, scores: Tensor) -> Tensor:
    keep = ops.nms(boxes, scores, 0.5)[:300]
    return torch.nn.functional.pad(keep, (0, 300 - len(keep)), value=-1)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor) -> Tensor:
    return ops.batched_nms(boxes, scores, idxs, 0.5)


def multiclass_nms(boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
    """The usual loop over images, as in torchvision's own detectors; padded like ours."""
    found = []
    pad = torch.nn.functional.pad
    for own_boxes, own_scores in zip(boxes, scores):
        anchor, label = torch.where(own_scores > 0.001)
        candidates, confidence = own_boxes[anchor], own_scores[anchor, label]
        keep = ops.batched_nms(candidates, confidence, label, 0.5)[:300]
        missing = 300 - len(keep)
        found.append(
            (
                pad(candidates[keep], (0, 0, 0, missing)),
                pad(confidence[keep], (0, missing)),
                pad(label[keep], (0, missing), value=-1),
            )
        )
    return tuple(torch.stack(part) for part in zip(*found))
