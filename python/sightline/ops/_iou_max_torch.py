"""What torch must know of the reductions of the IoU matrix beyond their kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _maxima(boxes1, boxes2):
    batch, n, m = boxes1.shape[0], boxes1.shape[1], boxes2.shape[1]
    return (
        boxes1.new_empty(batch, n),
        boxes1.new_empty(batch, n, dtype=torch.int64),
        boxes1.new_empty(batch, m),
        boxes1.new_empty(batch, m, dtype=torch.int64),
    )


def _backward(grad_row, grad_column, boxes1, boxes2, *_arguments):
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


def _setup_context(ctx, inputs, output):
    _, row_argmax, _, column_argmax = output
    ctx.mark_non_differentiable(row_argmax, column_argmax)
    ctx.save_for_backward(*inputs, row_argmax, column_argmax)


def _gradient(ctx, grad_row, _row_argmax, grad_column, _column_argmax):
    return torch.ops.sightline.box_iou_max_backward(grad_row, grad_column, *ctx.saved_tensors)


def _in_one_batch(name):
    """vmap's dimension becomes one with the batch."""

    def rule(info, in_dims, *tensors):
        size = info.batch_size
        moved = [
            tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims, strict=True)
        ]
        outputs = getattr(torch.ops.sightline, name)(*(tensor.flatten(0, 1) for tensor in moved))
        batch = (size, moved[0].shape[1])
        return tuple(output.unflatten(0, batch) for output in outputs), (0,) * len(outputs)

    torch.library.register_vmap(f"sightline::{name}", rule)


register_fake("box_iou_max", _maxima)
register_fake("box_iou_max_backward", _backward)
torch.library.register_autograd("sightline::box_iou_max", _gradient, setup_context=_setup_context)
register_float32("box_iou_max")
_in_one_batch("box_iou_max")
_in_one_batch("box_iou_max_backward")
