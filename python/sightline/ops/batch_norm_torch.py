"""Registers the torch rules of batch norm."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from ._rules import register_fake
from .derivatives_torch import (
    is_differentiated,
    pull_back,
    register_derivatives,
    without_derivatives,
)

_ops = torch.ops.sightline
_STATISTICS = torch.float64
_RELU, _LEAKY_RELU, _SILU = 1, 2, 3
# What is kept for the backward pass besides the statistics.
INPUT, MASK, OUTPUT, SIGN = range(4)

_train = _ops.batch_norm_act_.default
_apply = _ops.batch_norm_apply.default
_gradients = _ops.batch_norm_act_backward.default


class _BatchNormAct(torch.autograd.Function):
    """The ops with their gradients, for eager calls: cheaper than the registered rule."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, running, settings):
        y, statistics, mask = call(x, weight, bias, residual, running, settings)
        _save(ctx, (x, weight, bias, residual), y, statistics, mask, settings)
        return y

    @staticmethod
    def backward(ctx, grad):
        return *_backward(ctx, grad, *ctx.needs_input_grad[1:4]), None, None


def call(x, weight, bias, residual, running, settings):
    """-> y, statistics, mask, without gradients; running statistics are updated in training.

    running: running_mean, running_var, num_batches_tracked, momentum.
    settings: code of the activation, negative_slope, training, eps, ghost_batches, what is kept.
    """
    code, slope, training, eps, ghosts, keep = settings
    mean, var, tracked, momentum = running
    if not training:
        return _apply(x, weight, bias, mean, var, residual, code, slope, eps, keep)
    return _train(
        x, weight, bias, mean, var, tracked, residual, code, slope, momentum, eps, keep, ghosts
    )


def run(x, weight, bias, residual, running, numbers, save):
    """The public function after its checks; numbers: the settings of call() except what is kept."""
    code, slope, training, *_ = numbers
    inputs = (x, weight, bias, residual)
    wanted = torch.is_grad_enabled() and (
        x.requires_grad
        or (weight is not None and weight.requires_grad)
        or (bias is not None and bias.requires_grad)
        or (residual is not None and residual.requires_grad)
    )
    if not wanted:
        keep = OUTPUT if save == "output" else INPUT
    elif save == "output":
        keep = OUTPUT
    else:
        parameters = training or any(t is not None and t.requires_grad for t in (weight, bias))
        keep = _kept(code, slope, residual is not None, parameters)
    settings = (*numbers, keep)
    if torch.compiler.is_compiling():
        return _functional(*inputs, running, settings)
    if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        return _transformed(inputs, running, numbers)
    if wanted:
        return _BatchNormAct.apply(*inputs, running, settings)
    return call(*inputs, running, settings)[0]


def _kept(code, slope, has_residual, parameters):
    kinked = code in (_RELU, _LEAKY_RELU)
    if not parameters and (code == 0 or (kinked and slope >= 0)):
        return SIGN
    return MASK if kinked and has_residual else INPUT


def _functional(x, weight, bias, residual, running, settings):
    code, slope, training, eps, ghosts, keep = settings
    mean, var, tracked, momentum = running
    if not training:
        return _ops.batch_norm_apply(x, weight, bias, mean, var, residual, code, slope, eps, keep)[
            0
        ]
    y, statistics, _ = _ops.batch_norm_act(
        x, weight, bias, residual, code, slope, eps, keep, ghosts
    )
    if mean is not None and x.numel() != 0:
        with torch.no_grad():
            count = x.numel() // x.shape[1] // ghosts
            _ops.batch_norm_track(statistics, count, momentum, mean, var, tracked)
    return y


def _transformed(inputs, running, numbers):
    """The op from torch's own operations, which have forward-mode derivatives and `torch.func`."""
    code, slope, training, eps, ghosts = numbers
    x = inputs[0]
    mean, var, tracked, momentum = running
    if not training:
        return _composed(inputs, mean.detach()[None], var.detach()[None], code, slope, eps)
    batch_mean, batch_var = _batch_moments(_widened(x), ghosts)
    if mean is not None and x.numel() != 0:
        statistics = torch.stack([batch_mean, batch_var]).detach().double().flatten(1)
        count = x.numel() // x.shape[1] // ghosts
        _ops.batch_norm_track(statistics, count, momentum, mean, var, tracked)
    return _composed(inputs, batch_mean, batch_var, code, slope, eps)


def _save(ctx: Any, inputs: Any, y: Any, statistics: Any, mask: Any, settings: Any) -> None:
    x, weight, bias, residual = inputs
    code, *_, keep = settings
    ctx.settings = settings
    ctx.save_for_backward(
        x if keep in (INPUT, MASK) else None,
        y if keep == OUTPUT or (keep == SIGN and code) else None,
        weight,
        bias,
        statistics,
        residual if code == _SILU else None,
        mask if keep == MASK else None,
    )


def _backward(ctx, grad, needs_weight, needs_bias, needs_residual):
    """Gradients of x, weight, bias and residual."""
    x, y, weight, bias, statistics, residual, mask = ctx.saved_tensors
    code, slope, training, eps, ghosts, _ = ctx.settings
    if is_differentiated((grad, x, y, weight, bias, residual)):
        return _differentiable_backward(ctx, grad, needs_residual)
    if x is None and y is None:
        x = grad  # the gradient of an affine map does not depend on x
    grad_x, grad_weight, grad_bias, grad_residual = _gradients(
        grad, x, y, weight, bias, statistics, residual, mask, code, slope, training, eps,
        needs_weight or needs_bias, needs_residual and code != 0, ghosts,
    )  # fmt: skip
    return (
        grad_x,
        grad_weight if needs_weight else None,
        grad_bias if needs_bias else None,
        (grad_residual if code else grad) if needs_residual else None,
    )


def _differentiable_backward(ctx, grad, needs_residual):
    x, y, weight, bias, statistics, residual, mask = ctx.saved_tensors
    code, slope, training, eps, ghosts, keep = ctx.settings
    if keep == OUTPUT:
        raise RuntimeError(
            'save="output" keeps no input, which gradients of gradients need: '
            'use save="input" where create_graph=True'
        )
    if keep in (MASK, SIGN) and code:
        positive = y > 0 if mask is None else unpack_mask(mask, x, ghosts)
        grad, code = _before_kink(grad, positive, code, slope), 0
    if x is None:  # and weight is a constant
        invstd = (statistics[1] + eps).rsqrt()
        scale = invstd if weight is None else weight * invstd
        along = (1, -1) + (1,) * (grad.dim() - 2)
        return grad * scale.to(grad.dtype).view(along), None, None, grad if needs_residual else None

    def moments(x):
        return _batch_moments(x, ghosts) if training else statistics[:, None]

    inputs = (x, weight, bias, residual)
    return _composed_gradients(grad, inputs, needs_residual, moments, code, slope, eps)


def backward_of_moments(grad, inputs, needs_residual, mask, moments, settings):
    """Gradients of x, weight, bias and residual that can be differentiated again.

    inputs: x, weight, bias, and the residual where the activation is SiLU. mask: of the forward
    pass, or None. moments: from x in computing type, mean and biased variance [1, C].
    settings: code of the activation, negative_slope, eps.
    """
    code, slope, eps = settings
    if mask is not None:
        grad, code = _before_kink(grad, unpack_mask(mask, inputs[0], 1), code, slope), 0
    return _composed_gradients(grad, inputs, needs_residual, moments, code, slope, eps)


def _before_kink(grad, positive, code, slope):
    return torch.where(positive, grad, grad * slope if code == _LEAKY_RELU else 0)


def _composed_gradients(grad, inputs, needs_residual, moments, code, slope, eps):
    """The gradients from torch's own operations, so that they can be differentiated again."""
    places = [i for i, t in enumerate(inputs) if t is not None and t.requires_grad]

    def function(*wanted):
        given = list(inputs)
        for i, t in zip(places, wanted):
            given[i] = t
        mean, var = moments(_widened(given[0]))
        return _composed(given, mean, var, code, slope, eps)

    grads: list[Tensor | None] = [None] * 4
    for i, found in zip(places, pull_back(function, [inputs[i] for i in places], [grad])):
        grads[i] = found
    if inputs[3] is None and needs_residual:
        grads[3] = grad
    return tuple(grads)


def _widened(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _batch_moments(x, ghosts):
    """Mean and biased variance [ghosts, C]."""
    if x.numel() == 0:
        return x.new_zeros(2, ghosts, x.shape[1])
    runs = x.unflatten(0, (ghosts, x.shape[0] // ghosts))
    others = [dim for dim in range(runs.dim()) if dim not in (0, 2)]
    return torch.var_mean(runs, others, correction=0)[::-1]


def _composed(inputs, mean, var, activation, negative_slope, eps):
    """The op from torch's own operations, with mean and var [ghost batches, C]."""
    x, weight, bias, residual = inputs
    wide, ghosts = _widened(x), mean.shape[0]
    runs = wide.unflatten(0, (ghosts, wide.shape[0] // ghosts))
    along = (ghosts, 1, x.shape[1]) + (1,) * (x.dim() - 2)
    invstd = (var + eps).rsqrt()
    scale = (invstd if weight is None else weight * invstd).to(wide.dtype)
    u = (scale.view(along) * (runs - mean.to(wide.dtype).view(along))).flatten(0, 1)
    if bias is not None:
        u = u + bias.view(along[1:])
    if residual is not None:
        u = u + residual
    if activation == _RELU:
        u = F.relu(u)
    elif activation == _LEAKY_RELU:
        u = F.leaky_relu(u, negative_slope)
    elif activation == _SILU:
        u = F.silu(u)
    return u.to(x.dtype)


# --- the mask of csrc/batch_norm/batch_norm.h ---

_NARROW_ROW = 64


def _is_channels_last(x: Tensor) -> bool:
    """Whether the kernels read x as [positions, channels]."""
    if x.dim() == 2 or all(size == 1 for size in x.shape[2:]):
        return True
    return not x.is_contiguous() and x.movedim(1, -1).is_contiguous()


def _mask_rows(x: Tensor, ghosts: int) -> tuple[int, int]:
    """Number of rows of bits, each of which begins at a byte, and their number of bits."""
    batch, channels, *sizes = x.shape
    length = math.prod(sizes)
    if not _is_channels_last(x):
        return batch * channels, length
    if channels < _NARROW_ROW:
        return ghosts, batch // ghosts * length * channels
    return batch * length, channels


def _mask_bytes(x: Tensor, ghosts: int) -> int:
    rows, bits = _mask_rows(x, ghosts)
    return rows * ((bits + 7) // 8)


def unpack_mask(mask: Tensor, x: Tensor, ghosts: int) -> Tensor:
    """Bool in the shape of x: where the input of the activation is above zero."""
    rows, bits = _mask_rows(x, ghosts)
    places = torch.arange(8, device=mask.device, dtype=torch.uint8)
    width = (bits + 7) // 8
    flat = (mask.view(rows, width, 1) >> places & 1).view(rows, 8 * width)[:, :bits].bool()
    if _is_channels_last(x):
        return flat.reshape(x.movedim(1, -1).shape).movedim(-1, 1)
    return flat.reshape(x.shape)


# --- rules ---


def _like(x: Tensor) -> Tensor:
    """An output of the kernels: with the layout of x where that is contiguous or channels-last."""
    if x.is_contiguous() or x.movedim(1, -1).is_contiguous():
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _pairs(x: Tensor, ghosts: int = 1) -> Tensor:
    return x.new_empty((2, ghosts * x.shape[1]), dtype=_STATISTICS)


def _fakes(x: Tensor, keep: int, ghosts: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    bytes_ = _mask_bytes(_like(x), ghosts) if keep == MASK else 0
    return _like(x), _pairs(x, ghosts), x.new_empty(bytes_, dtype=torch.uint8)


def _fake(x, weight, bias, residual, activation, negative_slope, eps, keep, ghost_batches=1):
    return _fakes(x, keep, ghost_batches)


def _fake_mutating(
    x, weight, bias, running_mean, running_var, num_batches_tracked, residual, activation,
    negative_slope, momentum, eps, keep, ghost_batches=1,
):  # fmt: skip
    return _fakes(x, keep, ghost_batches)


def _fake_apply(x, *inputs):
    return _fakes(x, inputs[-1])


def _fake_backward(
    grad, x, y, weight, bias, statistics, residual, mask, activation, negative_slope, training, eps,
    parameters, to_residual, ghost_batches=1,
):  # fmt: skip
    x = y if x is None else x
    wide = torch.promote_types(x.dtype, torch.float32)
    if training or parameters:
        grad_weight, grad_bias = (x.new_empty(x.shape[1], dtype=wide) for _ in range(2))
    else:
        grad_weight, grad_bias = (x.new_empty(0) for _ in range(2))
    return _like(x), grad_weight, grad_bias, _like(x) if to_residual else x.new_empty(0)


def _fake_backward_apply(grad, x, *inputs):
    return _like(x), _like(x) if inputs[-1] else x.new_empty(0)


def _setup_train(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, code, slope, eps, keep, ghosts = inputs
    ctx.mark_non_differentiable(*output[1:])
    y, statistics, mask = output
    _save(ctx, tensors, y, statistics, mask, (code, slope, True, eps, ghosts, keep))


def _setup_apply(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, weight, bias, _, _, residual, code, slope, eps, keep = inputs
    ctx.mark_non_differentiable(*output[1:])
    y, statistics, mask = output
    settings = (code, slope, False, eps, 1, keep)
    _save(ctx, (x, weight, bias, residual), y, statistics, mask, settings)


def _backward_train(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    return *_backward(ctx, grad, *ctx.needs_input_grad[1:4]), None, None, None, None, None


def _backward_apply(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    _, needs_weight, needs_bias, _, _, needs_residual, *_ = ctx.needs_input_grad
    grad_x, grad_weight, grad_bias, grad_residual = _backward(
        ctx, grad, needs_weight, needs_bias, needs_residual
    )
    return grad_x, grad_weight, grad_bias, None, None, grad_residual, None, None, None, None


def _composed_train(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, residual, code, slope, eps, _, ghosts = others
    _, statistics, mask = without_derivatives(_ops.batch_norm_act, x, *others)
    mean, var = _batch_moments(_widened(x), ghosts)
    y = _composed((x, weight, bias, residual), mean, var, code, slope, eps)
    return y, statistics, mask


def _composed_apply(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, mean, var, residual, code, slope, eps, _ = others
    _, statistics, mask = without_derivatives(_ops.batch_norm_apply, x, *others)
    inputs = (x, weight, bias, residual)
    y = _composed(inputs, mean.detach()[None], var.detach()[None], code, slope, eps)
    return y, statistics, mask


register_fake("batch_norm_act", _fake)
register_fake("batch_norm_act_", _fake_mutating)
register_fake("batch_norm_apply", _fake_apply)
register_fake("batch_norm_act_backward", _fake_backward)
register_fake("batch_norm_moments", _pairs)
register_fake("batch_norm_backward_sums", lambda grad, x, *_: _pairs(x))
register_fake("batch_norm_backward_apply", _fake_backward_apply)
register_fake("batch_norm_track", lambda *_: None)
register_derivatives(
    "batch_norm_act", _composed_train, setup_context=_setup_train, backward=_backward_train
)
register_derivatives(
    "batch_norm_apply", _composed_apply, setup_context=_setup_apply, backward=_backward_apply
)
