"""The usual programs in plain torch, without a kernel."""

from collections.abc import Callable

import torch
from torch import Tensor


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    low = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.min(boxes1[:, None, 2:], boxes2[:, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[:, :, 0] * sides[:, :, 1]
    return intersection / (area1[:, None] + area2 - intersection)


def box_iou_out(boxes1: Tensor, boxes2: Tensor, out: Tensor) -> Tensor:
    return box_iou(boxes1, boxes2)


def box_iou_max(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, ...]:
    """The matrix, then its maxima with their indices."""
    matrix = box_iou(boxes1, boxes2)
    row_max, _ = matrix.max(1)
    return row_max, matrix.amax(0)


def box_iou_topk(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """The matrix, then its largest elements."""
    values, _ = box_iou(boxes1, boxes2).topk(9)
    return values


def nms(boxes: Tensor, scores: Tensor) -> Tensor:
    """The greedy loop over the remaining boxes."""
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        order = order[box_iou(boxes[best][None], boxes[order])[0] <= 0.5]
    return torch.stack(keep)


def soft_nms_linear(boxes: Tensor, scores: Tensor) -> Tensor:
    return _soft_nms(boxes, scores, lambda iou: torch.where(iou > 0.3, 1 - iou, 1))


def soft_nms_gaussian(boxes: Tensor, scores: Tensor) -> Tensor:
    return _soft_nms(boxes, scores, lambda iou: torch.exp(-(iou**2) / 0.5))


def _soft_nms(boxes: Tensor, scores: Tensor, factor: Callable[[Tensor], Tensor]) -> Tensor:
    """Keep the best and lower the scores of the others, until none reaches 0.001."""
    rest = torch.arange(len(scores), device=scores.device)
    rest = rest[scores >= 0.001]
    scores = scores[rest]
    keep = []
    while len(rest):
        best = scores.argmax()
        keep.append(rest[best])
        scores = scores * factor(box_iou(boxes[rest[best]][None], boxes[rest])[0])
        scores[best] = -1
        stays = scores >= 0.001
        rest, scores = rest[stays], scores[stays]
    return torch.stack(keep)


def matrix_nms(boxes: Tensor, scores: Tensor) -> Tensor:
    """With the matrix of all pairs, as in the listing of the paper."""
    order = scores.argsort(descending=True, stable=True)
    iou = box_iou(boxes[order], boxes[order]).triu(1)
    most = iou.amax(0)[:, None]
    decay = torch.exp(-2.0 * (iou**2 - most**2)).masked_fill(iou == 0, 1).amin(0).clamp(max=1)
    return torch.empty_like(scores).scatter_(0, order, scores[order] * decay)
