"""What torch must know of the box coder beyond its kernels.

The ops take rows [..., 4] and anchors [..., 4] whose number of rows divides theirs: row i goes with
anchor i modulo that number.
"""

import torch

from ._rules_torch import register_fake, register_float32


def _like_first(rows, anchors, *_numbers):
    return rows.new_empty(rows.shape)


def _backward_fake(grad, rows, anchors, *_numbers):
    return rows.new_empty(rows.shape), rows.new_empty(rows.shape)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:2])
    ctx.numbers = inputs[2:]


def _register_backward(name):
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")

    def backward(ctx, grad):
        rows, anchors = ctx.saved_tensors
        by_rows, by_anchors = backward_op(grad, rows, anchors, *ctx.numbers)
        turns = rows.numel() // max(anchors.numel(), 1)
        by_anchors = by_anchors.reshape(turns, *anchors.shape).sum(0)
        return by_rows, by_anchors, *(None for _ in ctx.numbers)

    torch.library.register_autograd(f"sightline::{name}", backward, setup_context=_setup_context)


def _to_front(tensor, dim, batch_size):
    return tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _register_vmap(name, outputs):
    op = getattr(torch.ops.sightline, name)

    def vmap(info, in_dims, *inputs):
        *batched, anchors = inputs[: outputs + 1]
        batched = [_to_front(t, dim, info.batch_size) for t, dim in zip(batched, in_dims)]
        anchors_dim = in_dims[outputs]
        if anchors_dim is not None:  # each sample has anchors of its own: one for every row
            anchors = anchors.movedim(anchors_dim, 0).reshape(info.batch_size, -1, 4)
            rows = batched[-1].shape[1:].numel() // 4
            anchors = anchors.repeat(1, rows // max(anchors.shape[1], 1), 1)
        result = op(*batched, anchors, *inputs[outputs + 1 :])
        return result, (0 if outputs == 1 else (0,) * outputs)

    torch.library.register_vmap(f"sightline::{name}", vmap)


for _name in ("encode_boxes", "decode_boxes"):
    register_fake(_name, _like_first)
    register_fake(f"{_name}_backward", _backward_fake)
    _register_backward(_name)
    _register_vmap(_name, 1)
    _register_vmap(f"{_name}_backward", 2)
    register_float32(_name)
