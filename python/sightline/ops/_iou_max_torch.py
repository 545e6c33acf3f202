"""Registers the torch rules of the reductions of the IoU matrix."""

import torch

from ._rules import indices, register_fake, register_float32, register_vmap_as_batch
from .derivatives_torch import pull_back, register_derivatives, without_derivatives
from .iou_composed_torch import overlap_of_pairs

_op = torch.ops.sightline.box_iou_max


def _maxima(boxes1, boxes2):
    batch, n, m = boxes1.shape[0], boxes1.shape[1], boxes2.shape[1]
    return (
        boxes1.new_empty(batch, n),
        indices(boxes1, batch, n),
        boxes1.new_empty(batch, m),
        indices(boxes1, batch, m),
    )


def _backward(grad_row, grad_column, boxes1, boxes2, *_arguments):
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


def _setup_context(ctx, inputs, output):
    _, row_argmax, _, column_argmax = output
    ctx.mark_non_differentiable(row_argmax, column_argmax)
    ctx.save_for_backward(*inputs, row_argmax, column_argmax)


def _gradient(ctx, grad_row, _row_argmax, grad_column, _column_argmax):
    return torch.ops.sightline.box_iou_max_backward(grad_row, grad_column, *ctx.saved_tensors)


def _attained(boxes1, boxes2, row_argmax, column_argmax):
    """The maxima of rows and columns, computed from the pairs that attain them."""
    return _of_rows(boxes1, boxes2, row_argmax), _of_rows(boxes2, boxes1, column_argmax)


def _of_rows(boxes, others, argmax):
    if others.shape[1] == 0:
        return boxes.new_zeros(argmax.shape)
    index = argmax.clamp(min=0)[..., None].expand(*argmax.shape, 4)
    overlap = overlap_of_pairs("box_iou", boxes, others.gather(1, index))
    return torch.where(argmax >= 0, overlap, 0)


def _composed(boxes1, boxes2):
    _, row_argmax, _, column_argmax = without_derivatives(_op, boxes1, boxes2)
    row_max, column_max = _attained(boxes1, boxes2, row_argmax, column_argmax)
    return row_max, row_argmax, column_max, column_argmax


def _composed_backward(grad_row, grad_column, boxes1, boxes2, *arguments):
    return pull_back(
        lambda a, b: _attained(a, b, *arguments), [boxes1, boxes2], [grad_row, grad_column]
    )


register_fake("box_iou_max", _maxima)
register_fake("box_iou_max_backward", _backward)
register_derivatives("box_iou_max", _composed, setup_context=_setup_context, backward=_gradient)
register_derivatives("box_iou_max_backward", _composed_backward)
register_float32("box_iou_max")
register_vmap_as_batch("box_iou_max")
register_vmap_as_batch("box_iou_max_backward")
