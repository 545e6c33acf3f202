"""What torch must know of box_iou_topk beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _entries(boxes1, boxes2, k):
    batch, n = boxes1.shape[:2]
    return boxes1.new_empty(batch, n, k), boxes1.new_empty(batch, n, k, dtype=torch.int64)


def _vmap(info, in_dims, boxes1, boxes2, k):
    """vmap's dimension becomes one with the batch."""
    size = info.batch_size
    moved = [
        boxes.expand(size, *boxes.shape) if dim is None else boxes.movedim(dim, 0)
        for boxes, dim in zip((boxes1, boxes2), in_dims)
    ]
    outputs = torch.ops.sightline.box_iou_topk(*(boxes.flatten(0, 1) for boxes in moved), k)
    batch = (size, moved[0].shape[1])
    return tuple(output.unflatten(0, batch) for output in outputs), (0, 0)


register_fake("box_iou_topk", _entries)
register_float32("box_iou_topk")
torch.library.register_vmap("sightline::box_iou_topk", _vmap)
