"""Batch norm, an optional residual and an activation in one op, for training and inference."""

import math
from typing import Any

import numpy as np

from sightline import _numpy

from .arguments import (
    _devices,
    backend,
    check_choice,
    check_count,
    check_fraction,
    check_number,
    has_torch_ops,
    is_tensor,
    torch,
)

if has_torch_ops():
    from . import batch_norm_torch

Array = Any  # a torch.Tensor or a numpy.ndarray

_FLOATS = () if torch is None else (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ACTIVATIONS = (None, "relu", "leaky_relu", "silu")  # in the order of csrc/batch_norm/activation.h
_OPTIONAL = (
    "weight", "bias", "running_mean", "running_var", "residual", "num_batches_tracked",
)  # fmt: skip


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
    allow_single_value: bool = False,
    ghost_batches: int = 1,
) -> Array:
    """act(weight * (x - mean) / sqrt(var + eps) + bias + residual), with mean and var per channel.

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
        negative_slope: slope of "leaky_relu" below 0.
        training: use the statistics of x (variance divided by the count), and update the running
            statistics in place (variance divided by the count - 1). Otherwise the running
            statistics are used, and nothing is changed.
        momentum: share of the new value in the running statistics; None for the average over all
            batches, which needs `num_batches_tracked`.
        eps: added to the variance.
        num_batches_tracked: int64 scalar, incremented when running statistics are updated.
        save: what is kept for the backward pass. "input": x, and for "silu" the residual; for the
            other activations one bit per element where there is a residual. "output": nothing
            but the result, for a None or "leaky_relu" activation in training without a residual.
            x is then recomputed from the result, with a relative error of its last bit times
            |bias / weight|, so that |weight| must be at least 2^-12 (float64 2^-20, float16 2^-6)
            and |bias| / 2^12 (float64 2^20, float16 2^4, bfloat16 2^3). A smaller weight, such as
            an initial 0, is an error on the CPU; on CUDA, where an error would wait for the
            device, the gradients of its channel are NaN.
        allow_single_value: with one value per channel in training, return `bias` (the variance is
            0) and leave the running statistics unchanged, instead of raising a ValueError.
        ghost_batches: in training x is split along N into this number of equal, contiguous parts,
            each normalised by its own statistics. The running statistics are updated by each part
            in turn, and `num_batches_tracked` grows by their number. N must be a multiple of it. It
            has no effect in inference.

    Returns:
        Shape, dtype and layout of x (arrays: C order).

    Raises:
        ValueError: a wrong shape, device or setting; one value per channel in training, also in a
            ghost batch; no running statistics in inference. TypeError: a wrong dtype, a mixture of
            tensors and arrays. RuntimeError: a weight too small for save="output".

    Half types are computed in float32, statistics are merged in float64: with a mean 10^4 times the
    deviation, the variance is right to 1e-7. The bits do not depend on the number of threads.
    An empty x gives an empty result and leaves the running statistics unchanged. NaN and infinity
    spread to their whole channel in training.

    Differentiable with respect to x, weight, bias and residual, in training and inference. Where
    neither weight nor bias needs a gradient, inference keeps nothing but its result (x, for
    "silu"). With save="input" the gradients can be differentiated again, any number of times; this,
    forward-mode differentiation and the transforms of `torch.func` use torch's own operations, at
    their cost. Results then differ in the last bits, and `vmap` refuses to update running
    statistics. Arrays: forward only.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015; moments as in Chan, Golub and
    LeVeque, "Algorithms for Computing the Sample Variance", 1983. Ghost batches: Hoffer, Hubara and
    Soudry, "Train longer, generalize better", NeurIPS 2017.

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> batch_norm_act(x, None, None, None, None, activation="relu", eps=0)
    array([[0.],
           [1.]])
    """
    plain = (
        is_tensor(x)
        and (num_batches_tracked is None or is_tensor(num_batches_tracked))
        and _is_plain(x, weight, bias, running_mean, running_var, residual)
    )
    if not plain:
        backend(
            x=x,
            weight=weight,
            bias=bias,
            running_mean=running_mean,
            running_var=running_var,
            residual=residual,
            num_batches_tracked=num_batches_tracked,
            optional=_OPTIONAL,
        )
    code = _check_settings(activation, negative_slope, eps, save, residual, training)
    if not plain:
        _check_shapes(x, weight, bias, running_mean, running_var, residual)
    ghosts = _check_ghost_batches(x, ghost_batches) if training and ghost_batches != 1 else 1
    updates = _check_statistics(
        x, running_mean, running_var, training, momentum, num_batches_tracked, allow_single_value,
        ghosts,
    )  # fmt: skip
    numbers = (code, float(negative_slope), bool(training), float(eps), ghosts)
    if is_tensor(x):
        kept = (running_mean, running_var) if updates or not training else (None, None)
        running = (*kept, num_batches_tracked if updates else None, momentum)
        run = batch_norm_torch.run if plain else _convert_and_run
        return run(x, weight, bias, residual, running, numbers, save)
    y, mean, var = _on_arrays(x, weight, bias, running_mean, running_var, residual, numbers)
    if updates:
        count = math.prod(x.shape) // x.shape[1] // ghosts
        for of_run in zip(mean.reshape(ghosts, -1), var.reshape(ghosts, -1)):
            _track_arrays(*of_run, count, momentum, running_mean, running_var, num_batches_tracked)
    return y


def _is_plain(x, weight, bias, running_mean, running_var, residual):
    """Whether all tensors are in the form of the kernels, as in most calls; takes 2 us."""
    shape, device, dtype = x.shape, x.device, x.dtype
    if len(shape) < 2 or dtype not in _FLOATS or device.type not in _devices:
        return False
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    per_channel = shape[1:2]
    for t in (weight, bias, running_mean, running_var):
        if t is not None and not (
            is_tensor(t)
            and t.dtype is wide
            and t.shape == per_channel
            and t.device == device
            and t.is_contiguous()
        ):
            return False
    return residual is None or (
        is_tensor(residual)
        and residual.dtype is dtype
        and residual.shape == shape
        and residual.device == device
    )


def _convert_and_run(x, weight, bias, residual, running, numbers, save):
    if not x.dtype.is_floating_point or x.element_size() == 1:
        raise TypeError(f"`x` must be float16, bfloat16, float32 or float64, got {x.dtype}")
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    running_mean, running_var, tracked, momentum = running
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
    if weight is not None:
        weight = weight.to(wide).contiguous()
    if bias is not None:
        bias = bias.to(wide).contiguous()
    if running_mean is None:
        return batch_norm_torch.run(x, weight, bias, residual, running, numbers, save)
    # The kernels update running statistics of the computing type in place.
    wide_mean, wide_var = (t.detach().to(wide).contiguous() for t in (running_mean, running_var))
    running = (wide_mean, wide_var, tracked, momentum)
    y = batch_norm_torch.run(x, weight, bias, residual, running, numbers, save)
    training = numbers[2]
    if training and (running_mean.dtype != wide or not running_mean.is_contiguous()):
        running_mean.detach().copy_(wide_mean)
    if training and (running_var.dtype != wide or not running_var.is_contiguous()):
        running_var.detach().copy_(wide_var)
    return y


def _on_arrays(x, weight, bias, running_mean, running_var, residual, numbers):
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

    native: Any = _numpy
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


def _track_arrays(mean, var, count, momentum, running_mean, running_var, tracked):
    if tracked is not None:
        tracked += 1
    factor = 1 / float(tracked) if momentum is None else momentum
    unbiased = count / (count - 1)
    running_mean[...] = running_mean + factor * (mean - running_mean)
    running_var[...] = running_var + factor * (var * unbiased - running_var)


def _check_settings(activation, negative_slope, eps, save, residual, training):
    """The code of the activation."""
    check_choice("activation", activation, ACTIVATIONS)
    code = ACTIVATIONS.index(activation)
    for name, value in (("eps", eps), ("negative_slope", negative_slope)):
        if type(value) is not float:  # it nearly always is
            check_number(name, value)
    if not eps >= 0:
        raise ValueError(f"`eps` must be >= 0, got {eps}")
    if save == "input":
        return code
    check_choice("save", save, ("input", "output"))
    invertible = activation is None or (activation == "leaky_relu" and negative_slope > 0)
    if not invertible or residual is not None or not training:
        raise ValueError(
            'save="output" recomputes x from the output: it needs training=True, no `residual`, '
            'and activation None, or "leaky_relu" with a `negative_slope` > 0; got '
            f"training={training}, activation={activation!r}, negative_slope={negative_slope}"
            + ("" if residual is None else " and a `residual`")
        )
    return code


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


def _check_ghost_batches(x, ghost_batches):
    ghosts = check_count("ghost_batches", ghost_batches, at_least=1)
    if x.shape[0] % ghosts:
        raise ValueError(
            f"`x` must hold a multiple of ghost_batches={ghosts} samples, got {x.shape[0]}"
        )
    return ghosts


def _check_statistics(
    x, running_mean, running_var, training, momentum, num_batches_tracked, allow_single_value,
    ghosts,
):  # fmt: skip
    """Whether running statistics are to be updated."""
    if (running_mean is None) != (running_var is None):
        raise ValueError("`running_mean` and `running_var` must be given together, or both None")
    if not training:
        if running_mean is None:
            raise ValueError(
                "`running_mean` and `running_var` must be given with training=False: there are no "
                "other statistics to use"
            )
        return False
    numbers = x.numel() if is_tensor(x) else x.size
    single = numbers != 0 and numbers == x.shape[1] * ghosts
    if single and not allow_single_value:
        cut = "" if ghosts == 1 else f" in {ghosts} ghost batches"
        raise ValueError(
            f"Expected more than 1 value per channel when training, got `x` of shape "
            f"{list(x.shape)}{cut}: use a larger batch, training=False, or allow_single_value=True"
        )
    if momentum is not None:
        check_fraction("momentum", momentum)
    elif running_mean is not None and num_batches_tracked is None:
        raise ValueError(
            "`num_batches_tracked` must be given with momentum=None: the average over all batches "
            "needs their number"
        )
    return running_mean is not None and numbers != 0 and not single
