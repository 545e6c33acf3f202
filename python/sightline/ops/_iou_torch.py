"""Registers the torch rules of the IoU ops."""

from functools import partial

import torch

from ._rules import mapped_first, register_fake, register_float32, register_vmap_as_batch
from .derivatives_torch import pull_back, register_derivatives, register_with_backward
from .iou_composed_torch import loss_of_pairs, overlap_matrix, overlap_of_pairs

MATRIX_OPS = (
    "box_iou",
    "box_ioa",
    "generalized_box_iou",
    "distance_box_iou",
    "complete_box_iou",
)
LOSS_OPS = ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss")
ALIGNED_OPS = (*(f"{name}_aligned" for name in MATRIX_OPS), *LOSS_OPS)


def _batch(boxes1, boxes2):
    """[B], or [] where neither has a batch; a batch of 1 serves every element."""
    sizes = [boxes.shape[0] for boxes in (boxes1, boxes2) if boxes.dim() == 3]
    return tuple(sizes[-1:]) if not sizes or sizes[0] == 1 else tuple(sizes[:1])


def _matrix(boxes1, boxes2, *_eps):
    return boxes1.new_empty(*_batch(boxes1, boxes2), boxes1.shape[-2], boxes2.shape[-2])


def _out(boxes1, boxes2, *_eps_and_out):
    return None


def _aligned(boxes1, boxes2, *_eps):
    return boxes1.new_empty(boxes1.shape[0])


def _matrix_backward(grad, boxes1, boxes2, *_eps):
    batch = _batch(boxes1, boxes2)
    return tuple(boxes.new_empty(*batch, boxes.shape[-2], 4) for boxes in (boxes1, boxes2))


def _aligned_backward(grad, boxes1, boxes2, *_eps):
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


def _register_matrix_derivatives(name):
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")
    composed = partial(overlap_matrix, name)

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.eps = inputs[2:]

    def backward(ctx, grad):
        boxes = ctx.saved_tensors
        grads = backward_op(grad, *boxes, *ctx.eps)
        # Boxes that are shared by the batch get the sum of the gradients of its elements.
        return (
            *(g.sum_to_size(b.shape) if g.shape != b.shape else g for g, b in zip(grads, boxes)),
            *(None for _ in ctx.eps),
        )

    def composed_backward(grad, boxes1, boxes2, *eps):
        batch = _batch(boxes1, boxes2)
        whole = [boxes.expand(*batch, *boxes.shape[-2:]) for boxes in (boxes1, boxes2)]
        return pull_back(lambda a, b: composed(a, b, *eps), whole, [grad])

    register_derivatives(name, composed, setup_context=setup_context, backward=backward)
    register_derivatives(f"{name}_backward", composed_backward)


def _with_batch(boxes, dim, size, batch):
    """[size * B, N, 4] from boxes [N, 4] or [B, N, 4] with a mapped dimension."""
    boxes = mapped_first(boxes, dim, size)
    if boxes.dim() == 3:
        boxes = boxes.unsqueeze(1)
    return boxes.expand(size, batch, *boxes.shape[2:]).reshape(-1, *boxes.shape[2:])


def _register_matrix_vmap(name):
    op = getattr(torch.ops.sightline, name)
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")

    def one_batch(info, dims, boxes1, boxes2):
        """Both boxes with the mapped dimension merged into their batch, and the original batch."""
        own = [
            boxes.shape[0 if dim is None or dim > 0 else 1]
            for boxes, dim in ((boxes1, dims[0]), (boxes2, dims[1]))
            if boxes.dim() - (dim is not None) == 3
        ]
        batch = max(own, default=1) if 0 not in own else 0
        size = info.batch_size
        mapped = (_with_batch(b, d, size, batch) for b, d in ((boxes1, dims[0]), (boxes2, dims[1])))
        return *mapped, (size, batch) if own else (size,)

    def forward(info, in_dims, boxes1, boxes2, *eps):
        boxes1, boxes2, lead = one_batch(info, in_dims, boxes1, boxes2)
        matrix = op(boxes1, boxes2, *eps)
        return matrix.reshape(*lead, *matrix.shape[1:]), 0

    def backward(info, in_dims, grad, boxes1, boxes2, *eps):
        grad = mapped_first(grad, in_dims[0], info.batch_size)
        boxes1, boxes2, lead = one_batch(info, in_dims[1:], boxes1, boxes2)
        grad = grad.reshape(-1, boxes1.shape[1], boxes2.shape[1])
        grads = backward_op(grad, boxes1, boxes2, *eps)
        return tuple(g.reshape(*lead, *g.shape[1:]) for g in grads), (0, 0)

    torch.library.register_vmap(f"sightline::{name}", forward)
    torch.library.register_vmap(f"sightline::{name}_backward", backward)


for _name in MATRIX_OPS:
    register_fake(_name, _matrix)
    register_fake(f"{_name}_out", _out)
    register_fake(f"{_name}_backward", _matrix_backward)
    _register_matrix_derivatives(_name)
    _register_matrix_vmap(_name)
    register_float32(_name)
for _name in ALIGNED_OPS:
    register_fake(_name, _aligned)
    register_fake(f"{_name}_backward", _aligned_backward)
    _form = _name.removesuffix("_aligned").removesuffix("_loss")
    _formula = loss_of_pairs if _name in LOSS_OPS else overlap_of_pairs
    register_with_backward(_name, partial(_formula, _form), differentiable=2)
    register_vmap_as_batch(_name)
    register_vmap_as_batch(f"{_name}_backward")
    register_float32(_name)
