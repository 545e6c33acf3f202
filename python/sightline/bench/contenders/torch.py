"""What one writes in plain torch without a kernel."""

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
    """The matrix, then its maxima and which columns they are in."""
    matrix = box_iou(boxes1, boxes2)
    row_max, _ = matrix.max(1)
    return row_max, matrix.amax(0)


def nms(boxes: Tensor, scores: Tensor) -> Tensor:
    """The greedy loop over what is left."""
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        order = order[box_iou(boxes[best][None], boxes[order])[0] <= 0.5]
    return torch.stack(keep)
