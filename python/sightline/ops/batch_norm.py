"""Batch norm, an optional residual and an activation in one op, for training and inference."""

import math
from typing import Any

import numpy as np

from ._arguments import backend, check_choice, check_fraction, has_torch_ops, is_tensor, torch

if has_torch_ops():
    from . import _batch_norm_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray

ACTIVATIONS = (None, "relu", "leaky_relu", "silu")  # in the order of csrc/batch_norm/activation.h


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
    num_batches_tracked: Array | None = None,
    save: str = "input",
) -> Array:
    """act(weight * (x - mean) / sqrt(var + eps) + bias + residual), a mean and var per channel.

    Args:
        x: [N, C] or [N, C, ...], contiguous or channels-last (another layout is copied). Tensors
            are float16, bfloat16, float32 or float64, arrays float16, float32, float64 or integers
            (computed as float32).
        weight: [C], or None for 1. In the dtype of x, or float32 where x is a half type.
        bias: [C], or None for 0; dtype as `weight`.
        running_mean: [C], or None where statistics are not tracked; dtype as `weight`.
        running_var: as `running_mean`.
        residual: shape and dtype of x; added before the activation.
        activation: None, "relu", "leaky_relu" or "silu".
        negative_slope: of "leaky_relu".
        training: statistics of x itself (variance divided by the count), and the running ones
            are moved towards them in place (variance divided by the count - 1). Otherwise the
            running statistics are used, and nothing is changed.
        momentum: share of the new value in the running ones; None for the average over all
            batches, which needs `num_batches_tracked`.
        eps: added to the variance.
        num_batches_tracked: int64 scalar, incremented when running statistics are updated.
        save: what the backward pass starts from. Only "input" in this version: x is kept, and
            `residual` where there is an activation; neither y nor a mask is.

    Returns:
        Shape, dtype and layout of x (arrays: C order).

    Raises:
        ValueError: a wrong shape, device or setting; one value a channel in training; no running
            statistics in inference. TypeError: a wrong dtype, a mixture of tensors and arrays.

    Half types are computed in float32, statistics are merged in float64: with a mean 10^4 times the
    deviation, the variance is right to 1e-6. The bits do not depend on the number of threads.
    An empty x gives an empty result and leaves the running statistics alone. NaN and infinity
    spread to their channel in training.

    Differentiable by x, weight, bias and residual, in training and inference; the gradients can be
    differentiated again, at the cost of torch's own operations. Arrays: forward only.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015; moments as in Chan, Golub and
    LeVeque, "Algorithms for Computing the Sample Variance", 1983.

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> batch_norm_act(x, None, None, None, None, activation="relu", eps=0)
    array([[0.],
           [1.]])
    """
    native = backend(
        x=x,
        weight=weight,
        bias=bias,
        running_mean=running_mean,
        running_var=running_var,
        residual=residual,
        num_batches_tracked=num_batches_tracked,
    )
    check_choice("activation", activation, ACTIVATIONS)
    if save != "input":
        raise ValueError(f'`save` must be "input", all there is in this version, got {save!r}')
    if not eps >= 0:
        raise ValueError(f"`eps` must be >= 0, got {eps}")
    _check_shapes(x, weight, bias, running_mean, running_var, residual)
    _check_statistics(x, running_mean, running_var, training, momentum, num_batches_tracked)
    numbers = (ACTIVATIONS.index(activation), float(negative_slope), bool(training), float(eps))
    run = _on_tensors if is_tensor(x) else _on_arrays
    statistics = (running_mean, running_var)
    y, mean, var = run(native, x, weight, bias, *statistics, residual, numbers)
    if training and running_mean is not None and 0 not in x.shape:
        track = _track_tensors if is_tensor(x) else _track_arrays
        count = math.prod(x.shape) // x.shape[1]
        track(native, mean, var, count, momentum, *statistics, num_batches_tracked)
    return y


def _on_tensors(native, x, weight, bias, running_mean, running_var, residual, numbers):
    if not x.dtype.is_floating_point or x.element_size() == 1:
        raise TypeError(f"`x` must be float16, bfloat16, float32 or float64, got {x.dtype}")
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    named = {
        "weight": weight,
        "bias": bias,
        "running_mean": running_mean,
        "running_var": running_var,
    }
    for name, value in named.items():
        if value is not None and value.dtype != wide and value.dtype != x.dtype:
            allowed = str(wide) if wide == x.dtype else f"{wide} or {x.dtype}"
            raise TypeError(f"`{name}` must be {allowed} where `x` is {x.dtype}, got {value.dtype}")
    if residual is not None and residual.dtype != x.dtype:
        if not torch.is_autocast_enabled(x.device.type):
            raise TypeError(f"`residual` must be {x.dtype} as `x` is, got {residual.dtype}")
        residual = residual.to(x.dtype)
    weight, bias = (t if t is None or t.dtype == wide else t.to(wide) for t in (weight, bias))
    statistics = (None, None) if numbers[2] else (running_mean, running_var)
    return native.batch_norm_act(x, weight, bias, *statistics, residual, *numbers)


def _track_tensors(native, mean, var, count, momentum, running_mean, running_var, tracked):
    with torch.no_grad():
        if running_mean.dtype in (torch.float32, torch.float64):
            native.batch_norm_track(mean, var, count, momentum, running_mean, running_var, tracked)
            return
        wide = running_mean.float(), running_var.float()
        native.batch_norm_track(mean, var, count, momentum, *wide, tracked)
        running_mean.copy_(wide[0])
        running_var.copy_(wide[1])


def _on_arrays(native, x, weight, bias, running_mean, running_var, residual, numbers):
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        raise TypeError(f"`x` must be float16, float32, float64 or integers, got {x.dtype}")
    stored = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float32)
    wide = np.float64 if stored == np.float64 else np.float32
    shape = (*x.shape[:2], math.prod(x.shape[2:]))

    def elements(values):
        if values is None:
            return None
        values = np.ascontiguousarray(values, stored).reshape(shape)
        return values.view(np.uint16) if stored == np.float16 else values

    def per_channel(values, dtype):
        return None if values is None else np.ascontiguousarray(values, dtype)

    y, mean, var = native.batch_norm_act(
        elements(x),
        per_channel(weight, wide),
        per_channel(bias, wide),
        per_channel(running_mean, np.float64),
        per_channel(running_var, np.float64),
        elements(residual),
        *numbers,
    )
    return y.view(stored).reshape(x.shape), mean, var


def _track_arrays(_native, mean, var, count, momentum, running_mean, running_var, tracked):
    if tracked is not None:
        tracked += 1
    factor = 1 / float(tracked) if momentum is None else momentum
    unbiased = count / (count - 1)
    running_mean[...] = running_mean + factor * (mean - running_mean)
    running_var[...] = running_var + factor * (var * unbiased - running_var)


def _check_shapes(x, weight, bias, running_mean, running_var, residual):
    if len(x.shape) < 2:
        raise ValueError(f"`x` must have shape [N, C] or [N, C, ...], got {list(x.shape)}")
    channels = x.shape[1]
    per_channel = (
        ("weight", weight),
        ("bias", bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    )
    for name, value in per_channel:
        if value is not None and tuple(value.shape) != (channels,):
            raise ValueError(
                f"`{name}` must have shape [{channels}], one for each channel of `x`, "
                f"got {list(value.shape)}"
            )
    if residual is not None and residual.shape != x.shape:
        raise ValueError(
            f"`residual` must have the shape of `x`, {list(x.shape)}, got {list(residual.shape)}"
        )


def _check_statistics(x, running_mean, running_var, training, momentum, num_batches_tracked):
    if (running_mean is None) != (running_var is None):
        raise ValueError("`running_mean` and `running_var` must be given together, or both None")
    if not training:
        if running_mean is None:
            raise ValueError(
                "`running_mean` and `running_var` must be given with training=False: there are no "
                "other statistics to use"
            )
        return
    if 0 not in x.shape and math.prod(x.shape) == x.shape[1]:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got `x` of shape "
            f"{list(x.shape)}: use a larger batch, or training=False"
        )
    if momentum is not None:
        check_fraction("momentum", momentum)
    elif running_mean is not None and num_batches_tracked is None:
        raise ValueError(
            "`num_batches_tracked` must be given with momentum=None: the average over all batches "
            "needs their number"
        )
