"""What torch must know of batch norm beyond its kernels."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ._rules_torch import register_fake

_ops = torch.ops.sightline
_STATISTICS = torch.float64


def _like(x: Tensor) -> Tensor:
    """What the kernels write: laid out as x where it is contiguous or channels-last."""
    if x.is_contiguous() or x.movedim(1, -1).is_contiguous():
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _fake(x, *_inputs):
    channels = x.shape[1]
    mean, var = (x.new_empty(channels, dtype=_STATISTICS) for _ in range(2))
    return _like(x), mean, var


def _fake_backward(grad, x, weight, bias, mean, var, residual, *_numbers):
    wide = torch.promote_types(x.dtype, torch.float32)
    grad_weight, grad_bias = (x.new_empty(x.shape[1], dtype=wide) for _ in range(2))
    return _like(x), grad_weight, grad_bias, x.new_empty(0) if residual is None else _like(x)


def _fake_track(*_inputs):
    return None


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, weight, bias, _, _, residual, *ctx.numbers = inputs
    _, mean, var = output
    ctx.mark_non_differentiable(mean, var)
    activation = ctx.numbers[0]
    # Without an activation the residual's value does not matter.
    ctx.save_for_backward(x, weight, bias, mean, var, residual if activation else None)


def _backward(ctx: Any, grad: Tensor, _mean: Any, _var: Any) -> tuple[Any, ...]:
    x, weight, bias, mean, var, residual = ctx.saved_tensors
    inputs = (x, weight, bias, residual)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (grad, *inputs)):
        grads = _differentiable_backward(grad, inputs, mean, var, ctx.numbers)
    else:
        grads = _ops.batch_norm_act_backward(
            grad, x, weight, bias, mean, var, residual, *ctx.numbers
        )
    grad_x, grad_weight, grad_bias, grad_residual = grads
    return (
        grad_x,
        None if weight is None else grad_weight,
        None if bias is None else grad_bias,
        None,
        None,
        grad_residual if residual is not None else grad if ctx.needs_input_grad[5] else None,
        *(None for _ in ctx.numbers),
    )


def _differentiable_backward(
    grad: Tensor,
    inputs: tuple[Tensor | None, ...],
    mean: Tensor,
    var: Tensor,
    numbers: list[Any],
) -> list[Tensor | None]:
    """The gradients from torch's own operations, where they are to be differentiated again."""
    # Aliases, so that an input that depends on another one does not count that one's share.
    aliases = [None if t is None else t.view_as(t) for t in inputs]
    wanted = [t for t in aliases if t is not None and t.requires_grad]
    x, weight, bias, residual = aliases
    y = _composed(x, weight, bias, residual, mean, var, *numbers)
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return [next(found) if t is not None and t.requires_grad else None for t in aliases]


def _composed(x, weight, bias, residual, mean, var, activation, negative_slope, training, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if training:
        others = [dim for dim in range(x.dim()) if dim != 1]
        var, mean = torch.var_mean(wide, others, correction=0)
    along = (1, -1) + (1,) * (x.dim() - 2)
    invstd = (var + eps).rsqrt()
    scale = (invstd if weight is None else weight * invstd).to(wide.dtype)
    u = scale.view(along) * (wide - mean.to(wide.dtype).view(along))
    if bias is not None:
        u = u + bias.view(along)
    if residual is not None:
        u = u + residual
    if activation == 1:
        u = F.relu(u)
    elif activation == 2:
        u = F.leaky_relu(u, negative_slope)
    elif activation == 3:
        u = F.silu(u)
    return u.to(x.dtype)


register_fake("batch_norm_act", _fake)
register_fake("batch_norm_act_backward", _fake_backward)
register_fake("batch_norm_track", _fake_track)
torch.library.register_autograd(
    "sightline::batch_norm_act", _backward, setup_context=_setup_context
)
