"""Registers the torch rules of the box coder: fake kernels, derivatives, vmap.

The ops take rows [..., 4] and anchors [..., 4], whose number divides the number of rows: row i goes
with anchor i modulo the number of anchors.
"""

import math

import torch

from ._rules import mapped_first, register_fake, register_float32
from .derivatives_torch import pull_back, register_derivatives

_MAX_LOG_GROWTH = math.log(1000 / 16)


def _like_first(rows, anchors, *_numbers):
    return rows.new_empty(rows.shape)


def _backward_fake(grad, rows, anchors, *_numbers):
    return rows.new_empty(rows.shape), rows.new_empty(rows.shape)


def _turns(rows, anchors):
    return rows.numel() // max(anchors.numel(), 1)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:2])
    ctx.numbers = inputs[2:]


def _register_derivatives(name, composed):
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")

    def backward(ctx, grad):
        rows, anchors = ctx.saved_tensors
        by_rows, by_anchors = backward_op(grad, rows, anchors, *ctx.numbers)
        # Not for equal shapes: a size that depends on data cannot be divided by itself.
        if rows.shape != anchors.shape:
            by_anchors = by_anchors.reshape(_turns(rows, anchors), *anchors.shape).sum(0)
        return by_rows, by_anchors, *(None for _ in ctx.numbers)

    def composed_backward(grad, rows, anchors, *numbers):
        inputs = rows, _one_a_row(rows, anchors)
        return pull_back(lambda *t: composed(*t, *numbers), inputs, [grad])

    register_derivatives(name, composed, setup_context=_setup_context, backward=backward)
    register_derivatives(f"{name}_backward", composed_backward)


def _one_a_row(rows, anchors):
    return anchors.expand(_turns(rows, anchors), *anchors.shape).reshape(rows.shape)


# The formulas of csrc/boxes/coder/formulas.h from torch's own operations. Undefined operands are
# replaced before the computation: the derivative of a branch that `torch.where` drops can be NaN.


def _encode(rows, anchors, *weights):
    anchors = _one_a_row(rows, anchors)
    offsets = rows - anchors
    distance = offsets[..., :2] * 0.5 + offsets[..., 2:] * 0.5
    size, unit = rows[..., 2:] - rows[..., :2], anchors[..., 2:] - anchors[..., :2]
    of_shift, of_scale = rows.new_tensor(weights).chunk(2)
    usable, sized = ~(unit <= 0), size > 0  # NaN is usable
    unit = torch.where(usable, unit, 1)
    elsewhere = (torch.where(size <= 0, 0, size) / unit).detach().log()  # -inf, or NaN
    scale = torch.where(sized, (torch.where(sized, size, 1) / unit).log(), elsewhere)
    deltas = of_shift * distance / unit, of_scale * scale
    return torch.cat([torch.where(usable, delta, 0) for delta in deltas], -1)


def _decode(rows, anchors, *numbers):
    *weights, clip, height, width = numbers
    anchors = _one_a_row(rows, anchors)
    low, unit = anchors[..., :2], anchors[..., 2:] - anchors[..., :2]
    of_shift, of_scale = rows.new_tensor(weights).chunk(2)
    scale = rows[..., 2:] / of_scale
    growth = torch.where(scale > _MAX_LOG_GROWTH, _MAX_LOG_GROWTH, scale).exp()
    centre, half = rows[..., :2] / of_shift * unit + (low + unit * 0.5), growth * unit * 0.5
    corners = [centre - half, centre + half]
    if clip:
        limit = rows.new_tensor([width, height])
        corners = [corner.clamp(torch.zeros_like(limit), limit) for corner in corners]
    return torch.cat(corners, -1)


def _register_vmap(name, outputs):
    op = getattr(torch.ops.sightline, name)

    def vmap(info, in_dims, *inputs):
        *batched, anchors = inputs[: outputs + 1]
        batched = [mapped_first(t, dim, info.batch_size) for t, dim in zip(batched, in_dims)]
        anchors_dim = in_dims[outputs]
        if anchors_dim is not None:  # each sample has its own anchors: one for every row
            anchors = anchors.movedim(anchors_dim, 0).reshape(info.batch_size, -1, 4)
            rows = batched[-1].shape[1:].numel() // 4
            anchors = anchors.repeat(1, rows // max(anchors.shape[1], 1), 1)
        result = op(*batched, anchors, *inputs[outputs + 1 :])
        return result, (0 if outputs == 1 else (0,) * outputs)

    torch.library.register_vmap(f"sightline::{name}", vmap)


for _name, _formula in (("encode_boxes", _encode), ("decode_boxes", _decode)):
    register_fake(_name, _like_first)
    register_fake(f"{_name}_backward", _backward_fake)
    _register_derivatives(_name, _formula)
    _register_vmap(_name, 1)
    _register_vmap(f"{_name}_backward", 2)
    register_float32(_name)
