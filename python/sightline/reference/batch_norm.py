"""Batch norm with a residual and an activation in plain NumPy, computed in float64."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def batch_norm_act(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    residual: Array | None = None,
    activation: str | None = None,
    negative_slope: float = 0.01,
    training: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: NDArray[np.int64] | None = None,
    allow_single_value: bool = False,
    ghost_batches: int = 1,
) -> Array:
    """act(weight * (x - mean) / sqrt(var + eps) + bias + residual), as x [N, C, ...] in its dtype.

    In training, mean and variance are those of x (variance divided by the count), and the running
    arrays [C] are updated in place (variance divided by the count - 1). In inference they are the
    running ones. One value per channel has no unbiased variance: with allow_single_value it leaves
    the running arrays unchanged. In training x may be split along N into equal ghost batches, which
    are normalised one after the other.
    """
    if training and ghost_batches > 1:
        runs = [
            batch_norm_act(
                run,
                weight,
                bias,
                running_mean,
                running_var,
                residual=residual_of_run,
                activation=activation,
                negative_slope=negative_slope,
                momentum=momentum,
                eps=eps,
                num_batches_tracked=num_batches_tracked,
                allow_single_value=allow_single_value,
            )
            for run, residual_of_run in _cut(ghost_batches, x, residual)
        ]
        return np.concatenate(runs)
    channels, count = x.shape[1], x.size // max(x.shape[1], 1)
    if training and count == 1 and not allow_single_value:
        raise ValueError("Expected more than 1 value per channel when training")
    mean, var = _statistics(x, running_mean, running_var, training)
    tracks = training and count > 1
    if tracks and running_mean is not None and running_var is not None:
        if num_batches_tracked is not None:
            num_batches_tracked += 1
        factor = 1 / np.asarray(num_batches_tracked) if momentum is None else momentum
        running_mean[:] = (1 - factor) * running_mean + factor * mean
        running_var[:] = (1 - factor) * running_var + factor * var * count / (count - 1)
    u = _affine(x, _or(weight, np.ones(channels)), _or(bias, np.zeros(channels)), mean, var, eps)
    if residual is not None:
        u = u + residual
    return _activate(u, activation, negative_slope).astype(x.dtype)


def batch_norm_act_backward(
    grad: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    residual: Array | None = None,
    activation: str | None = None,
    negative_slope: float = 0.01,
    training: bool = True,
    eps: float = 1e-5,
    ghost_batches: int = 1,
) -> tuple[Array, Array, Array, Array]:
    """Gradients of x, weight, bias and residual, float64, given that of y, `grad` [N, C, ...].

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.
    """
    if training and ghost_batches > 1:
        runs = [
            batch_norm_act_backward(
                grad_of_run,
                run,
                weight,
                bias,
                None,
                None,
                residual=residual_of_run,
                activation=activation,
                negative_slope=negative_slope,
                eps=eps,
            )
            for grad_of_run, run, residual_of_run in _cut(ghost_batches, grad, x, residual)
        ]
        by_x, by_weight, by_bias, by_residual = zip(*runs)
        return np.concatenate(by_x), sum(by_weight), sum(by_bias), np.concatenate(by_residual)
    channels = x.shape[1]
    weight = np.asarray(_or(weight, np.ones(channels)), np.float64)
    mean, var = _statistics(x, running_mean, running_var, training)
    u = _affine(x, weight, _or(bias, np.zeros(channels)), mean, var, eps)
    if residual is not None:
        u = u + residual
    g = grad * _activation_slope(u, activation, negative_slope)
    others = tuple(k for k in range(x.ndim) if k != 1)
    normalized = _affine(x, np.ones(channels), np.zeros(channels), mean, var, eps)
    grad_bias, grad_weight = g.sum(others), (g * normalized).sum(others)
    grad_x = g
    if training and x.size:
        count = x.size // channels
        grad_x = g - _along(grad_bias / count, x) - normalized * _along(grad_weight / count, x)
    return _along(weight / np.sqrt(var + eps), x) * grad_x, grad_weight, grad_bias, g


def _cut(ghost_batches: int, *arrays: Array | None) -> Iterator[tuple[Any, ...]]:
    """The parts of arrays [N, ...] for each ghost batch; None stays None."""
    return zip(
        *([None] * ghost_batches if a is None else np.split(a, ghost_batches) for a in arrays)
    )


def _or(values: Array | None, otherwise: Array) -> Array:
    return otherwise if values is None else values


def _along(per_channel: Array, x: Array) -> Array:
    """[C] as [1, C, 1, ...], to combine with x."""
    return np.asarray(per_channel, np.float64).reshape(1, -1, *(1,) * (x.ndim - 2))


def _statistics(
    x: Array, running_mean: Array | None, running_var: Array | None, training: bool
) -> tuple[Array, Array]:
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("inference needs `running_mean` and `running_var`")
        return running_mean.astype(np.float64), running_var.astype(np.float64)
    if not x.size:
        return np.zeros(x.shape[1]), np.zeros(x.shape[1])
    others = tuple(k for k in range(x.ndim) if k != 1)
    wide = x.astype(np.float64)
    return wide.mean(others), wide.var(others)


def _affine(x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float) -> Array:
    scale = np.asarray(weight, np.float64) / np.sqrt(var + eps)
    return _along(scale, x) * (x - _along(mean, x)) + _along(bias, x)


def _activate(u: Array, activation: str | None, negative_slope: float) -> Array:
    if activation is None:
        return u
    if activation == "relu":
        return np.maximum(u, 0)
    if activation == "leaky_relu":
        return np.where(u > 0, u, negative_slope * u)
    if activation == "silu":
        return u * _sigmoid(u)
    raise ValueError(f"`activation` must be None, relu, leaky_relu or silu, got {activation!r}")


def _activation_slope(u: Array, activation: str | None, negative_slope: float) -> Array:
    if activation is None:
        return np.ones_like(u)
    if activation == "silu":
        return _sigmoid(u) * (1 + u * (1 - _sigmoid(u)))
    return np.where(u > 0, 1.0, 0.0 if activation == "relu" else negative_slope)


def _sigmoid(u: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-u))
