"""Batch norm with statistics over all processes of a group, fused with its activation."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from sightline.nn.batch_norm.graph import check_module, is_plain
from sightline.nn.batch_norm.modules import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    _BatchNormAct,
    become,
)
from sightline.nn.batch_norm.report import ConversionReport, Fusion, Unfused
from sightline.ops.batch_norm import ACTIVATIONS

_KINKED = (ACTIVATIONS.index("relu"), ACTIVATIONS.index("leaky_relu"))


class SyncBatchNormAct(_BatchNormAct):
    """`BatchNormAct1d` to `3d` with statistics over the batches of all processes.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype: as in
            `torch.nn.SyncBatchNorm`; state dicts can be exchanged in both directions.
        process_group: the processes; None for all of them.
        activation: None, "relu", "leaky_relu" or "silu".
        negative_slope: slope of "leaky_relu" below 0.

    In training one gather collects the count, mean and sum of squared differences of each process,
    and one reduction its two sums of gradients. They are merged in float64, in the order of the
    ranks, so that every process has the same bits. A process may have any number of samples,
    including none, and nothing waits for the device. Where there is only one value per channel in
    all processes together, the variance is 0 and the running statistics do not change.

    In evaluation, in a group of one, and where `torch.distributed` is not initialised, it behaves
    as `BatchNormAct`. Gradients of parameters are those of the process, to be summed or averaged as
    `DistributedDataParallel` does. They can be differentiated again, any number of times, at the
    cost of torch's own operations; like the first gradients, these are of the sum over all
    processes, and all processes must compute them. It works with gloo and NCCL, on CPU and CUDA;
    `torch.compile` breaks its graph here.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = "relu",
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            activation=activation, negative_slope=negative_slope,
        )  # fmt: skip
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"`x` must have shape [B, C] or [B, C, ...], got {list(input.shape)}")

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x of shape [B, C, ...] and a residual of that shape, or None -> shape of x."""
        training = self.training or self.running_mean is None
        traced = isinstance(x, fx.Proxy)
        if training and not traced and dist.is_available() and dist.is_initialized():
            group = self.process_group or dist.group.WORLD
            if dist.get_world_size(group) > 1:
                self._check_input_dim(x)
                return self._synchronized(x, residual, group)
        return super().forward(x, residual)

    @torch.compiler.disable
    def _synchronized(self, x: Tensor, residual: Tensor | None, group: Any) -> Tensor:
        if x.shape[1] != self.num_features:
            raise ValueError(f"`x` must have {self.num_features} channels, got {list(x.shape)}")
        if residual is not None:
            if residual.shape != x.shape:
                raise ValueError(
                    f"`residual` must have the shape of `x`, {list(x.shape)}, "
                    f"got {list(residual.shape)}"
                )
            residual = residual.to(x.dtype)
        wide = torch.promote_types(x.dtype, torch.float32)
        weight, bias = (None if t is None else t.to(wide) for t in (self.weight, self.bias))
        numbers = (ACTIVATIONS.index(self.activation), float(self.negative_slope), self.eps)
        y, statistics, total = _Synchronized.apply(x, weight, bias, residual, numbers, group)
        if self.training and self.track_running_stats and self.running_mean is not None:
            self._track(statistics, total)
        return y

    @torch.no_grad()
    def _track(self, statistics: Tensor, total: Tensor) -> None:
        """Update the running statistics, on the device, given at least two values per channel."""
        moves = total > 1
        factor: Any = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += moves
            if factor is None:
                factor = 1 / self.num_batches_tracked.clamp(min=1).double()
        mean, var = statistics
        unbiased = var * (total / (total - 1).clamp(min=1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            assert running is not None
            running += torch.where(moves, factor * (new - running), 0).to(running.dtype)


class _Synchronized(torch.autograd.Function):
    """-> y; mean and biased variance [2, C] over all processes; number of values per channel."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, numbers, group):
        from sightline.ops.batch_norm_torch import INPUT, MASK

        code, slope, eps = numbers
        statistics, total = _merged(x, group)
        # The sign of u is kept as bits where it depends on a residual, as in the op itself.
        keep = MASK if residual is not None and code in _KINKED else INPUT
        y, statistics, mask = torch.ops.sightline.batch_norm_apply(
            x, weight, bias, *statistics, residual, code, slope, eps, keep
        )
        silu = ACTIVATIONS[code] == "silu"
        ctx.save_for_backward(
            x, weight, bias, statistics, total,
            residual if silu else None, mask if keep == MASK else None,
        )  # fmt: skip
        ctx.numbers, ctx.group = numbers, group
        ctx.mark_non_differentiable(statistics, total)
        return y, statistics, total

    @staticmethod
    def backward(ctx, grad, *_):
        from sightline.ops.derivatives_torch import has_tangent

        x, weight, bias, statistics, total, residual, mask = ctx.saved_tensors
        code, slope, eps = ctx.numbers
        needs_x, needs_weight, needs_bias, needs_residual = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() or has_tangent([grad]):  # to be differentiated again
            from sightline.ops.batch_norm_torch import backward_of_moments

            grads = backward_of_moments(
                grad,
                (x, weight, bias, residual),
                needs_residual,
                mask,
                lambda wide: _differentiable_moments(wide, statistics[0], total, ctx.group),
                ctx.numbers,
            )
            return *grads, None, None
        given = (grad, x, weight, bias, statistics)
        kept = (residual, mask, code, slope, eps)
        sums = torch.ops.sightline.batch_norm_backward_sums(*given, *kept)
        grad_weight = sums[1] * (statistics[1] + eps).rsqrt() if needs_weight else None
        grad_bias = sums[0].clone() if needs_bias else None
        grad_x = grad_residual = None
        if needs_x:
            dist.all_reduce(sums, group=ctx.group)
            sums /= total.clamp(min=1)
        if needs_x or needs_residual:
            grad_x, grad_residual = torch.ops.sightline.batch_norm_backward_apply(
                *given, sums, *kept, needs_residual and code != 0
            )
            if code == 0:
                grad_residual = grad
        return (
            grad_x if needs_x else None,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            grad_residual if needs_residual else None,
            None,
            None,
        )


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t, group):
        ctx.group = group
        total = t.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad):
        return _SumOverProcesses.apply(grad, ctx.group), None


def _differentiable_moments(
    x: Tensor, mean: Tensor, total: Tensor, group: Any
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [1, C], float64, of x over all processes.

    mean: the mean [C] as a constant; squares about it do not lose the variance to rounding.
    """
    centre = mean.to(x.dtype)
    others = [dim for dim in range(x.dim()) if dim != 1]
    shifted = x - centre.view(1, -1, *(1,) * (x.dim() - 2))
    sums = torch.stack([t.sum(others, dtype=torch.float64) for t in (shifted, shifted.square())])
    offset, square = (_SumOverProcesses.apply(sums, group) / total.clamp(min=1))[:, None]
    return centre + offset, square - offset.square()


def _merged(x: Tensor, group: Any) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [2, C] of x in all processes, and their count, float64."""
    count = x.new_full((1,), x.numel() // max(x.shape[1], 1), dtype=torch.float64)
    moments = torch.cat([torch.ops.sightline.batch_norm_moments(x).flatten(), count])[None]
    gathered = moments.new_empty(dist.get_world_size(group), moments.shape[1])
    dist.all_gather_into_tensor(gathered, moments, group=group)
    counts = gathered[:, -1:]  # 0 where a process has no samples, as are its moments
    means, squares = gathered[:, :-1].chunk(2, 1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total.clamp(min=1)
    m2 = (squares + counts * (means - mean).square()).sum(0)
    return torch.stack([mean, m2 / total.clamp(min=1)]), total


_KINDS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
)


def convert_sync_batch_norm(
    model: nn.Module, process_group: Any = None
) -> tuple[nn.Module, ConversionReport]:
    """Turn each batch norm of `model` into a `SyncBatchNormAct`, in place; activations are kept.

    For `nn.BatchNorm1d` to `3d`, `nn.SyncBatchNorm` and `BatchNormAct1d` to `3d`: the object stays
    the same and changes its class, so that parameters, buffers, names and references stay valid.
    Those with hooks, of another subclass, with ghost batches or with save="output" are left
    unchanged, and the report says so. To fuse activations as well, call `convert_batch_norm` first.

    Args:
        model: any module, before `DistributedDataParallel`.
        process_group: the processes that share statistics; None for all of them.

    Returns:
        `model`, and a `ConversionReport` of what was converted and what was left.

    Raises:
        TypeError: `model` is not a module.

    >>> net, report = convert_sync_batch_norm(nn.Sequential(BatchNormAct2d(8)))
    >>> type(net[0]).__name__, net[0].activation
    ('SyncBatchNormAct', 'relu')
    """
    check_module(model)
    report = ConversionReport()
    for name, norm in model.named_modules():
        if not isinstance(norm, _BatchNorm) or isinstance(norm, SyncBatchNormAct):
            continue
        reason = _why_left(norm)
        if reason:
            report.left.append(Unfused(name, reason))
            continue
        activation = getattr(norm, "activation", None)
        become(norm, SyncBatchNormAct, {"activation": activation, "process_group": process_group})
        pattern = f"batch norm + {activation}" if activation else "batch norm"
        report.fused.append(Fusion(name, pattern))
    return model, report


def _why_left(norm: Any) -> str:
    if not is_plain(norm, *_KINDS):
        return f"it has hooks or is a subclass, {type(norm).__name__}"
    if getattr(norm, "ghost_batches", 1) > 1:
        return "its ghost batches have statistics of their own"
    return 'it has save="output"' if getattr(norm, "save", "input") != "input" else ""
