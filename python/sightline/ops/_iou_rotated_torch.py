"""Registers the torch rules of the IoU of rotated boxes."""

import torch

from ._iou_rotated_composed_torch import rotated_iou_matrix, rotated_iou_of_pairs
from ._rules import register_fake, register_float32, register_vmap_as_batch
from .derivatives_torch import register_with_backward


def _matrix(boxes1, boxes2, degrees):
    return boxes1.new_empty(boxes1.shape[0], boxes2.shape[0])


def _aligned(boxes1, boxes2, degrees):
    return boxes1.new_empty(boxes1.shape[0])


def _out(boxes1, boxes2, degrees, out):
    return None


def _backward(grad, boxes1, boxes2, degrees):
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


def _register_vmap_by_element(name: str) -> None:
    """Under vmap, one call per element of the batch."""
    op = getattr(torch.ops.sightline, name)

    def vmap(info, in_dims, *arguments):
        results = []
        for i in range(info.batch_size):
            element = [
                value if dim is None else value.select(dim, i)
                for value, dim in zip(arguments, in_dims, strict=True)
            ]
            results.append(op(*element))
        if isinstance(results[0], torch.Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results))), (0,) * len(results[0])

    torch.library.register_vmap(f"sightline::{name}", vmap)


for _name, _fake, _composed, _register_vmap in (
    ("box_iou_rotated", _matrix, rotated_iou_matrix, _register_vmap_by_element),
    ("aligned_box_iou_rotated", _aligned, rotated_iou_of_pairs, register_vmap_as_batch),
):
    register_fake(_name, _fake)
    register_fake(f"{_name}_out", _out)
    register_fake(f"{_name}_backward", _backward)
    register_with_backward(_name, _composed, differentiable=2)
    register_float32(_name)
    _register_vmap(_name)
    _register_vmap(f"{_name}_backward")
