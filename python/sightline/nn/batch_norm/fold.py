"""Folds batch norms in evaluation mode into the convolution or linear layer before them."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from sightline.nn.batch_norm.forward import activate, as_one_step
from sightline.nn.batch_norm.graph import (
    Traced,
    calls_of,
    check_module,
    count_names,
    is_plain,
    trace_all,
)
from sightline.nn.batch_norm.match import Settings, describe, only_user
from sightline.nn.batch_norm.modules import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNormAct2d,
)
from sightline.nn.batch_norm.own_activation import own_activation, subclass_reason
from sightline.nn.batch_norm.report import ConversionReport, Fusion, Unfused
from sightline.nn.batch_norm.sync import SyncBatchNormAct

_NORMS: dict[type[nn.Module], int] = {
    nn.BatchNorm1d: 1,
    nn.BatchNorm2d: 2,
    nn.BatchNorm3d: 3,
    BatchNormAct1d: 1,
    BatchNormAct2d: 2,
    BatchNormAct3d: 3,
    FrozenBatchNormAct2d: 2,
    nn.SyncBatchNorm: 0,  # any
    SyncBatchNormAct: 0,
}
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS: dict[type[nn.Module], int] = {
    nn.Linear: 1,
    **{kind: i + 1 for i, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d))},
    **{kind: i + 1 for i, kind in enumerate(_TRANSPOSED)},
}


class AddAct(nn.Module):
    """The residual add and activation that remain of a `BatchNormAct` that was folded.

    `rank` is the number of dimensions that its input must have, where with another number the batch
    norm would have normalised another axis than the folded one; None for any.
    """

    def __init__(
        self, activation: str | None, negative_slope: float = 0.01, rank: int | None = None
    ) -> None:
        super().__init__()
        self.activation, self.negative_slope, self.rank = activation, negative_slope, rank

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if isinstance(x, fx.Proxy):
            return as_one_step(self, x, residual)
        if self.rank is not None and x.dim() != self.rank:
            raise ValueError(
                f"a batch norm was folded into the layer before for inputs of {self.rank} "
                f"dimensions, got {list(x.shape)}: fold_batch_norm cannot be used here"
            )
        return activate(
            x if residual is None else x + residual, self.activation, self.negative_slope
        )

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, rank={self.rank}"


def fold_batch_norm(
    model: nn.Module, *, inplace: bool = False
) -> tuple[nn.Module, ConversionReport]:
    """Fold each batch norm of `model` into the convolution or linear layer before it.

    For `Conv1d` to `3d`, `ConvTranspose1d` to `3d` and `Linear`, with any groups, with or without a
    bias, in evaluation mode. The layer gets new weights and a bias, computed in float64. The batch
    norm is replaced by `nn.Identity`, or by the residual add and activation of a `BatchNormAct`. No
    forward changes; the state dict no longer has the batch norm and is for inference only.

    The layer before a batch norm is read from the graph of each module's own forward. A batch norm
    is left where folding could change a result: where it or the layer is in training mode, has no
    running statistics, has hooks, is a subclass (except timm's `BatchNormAct2d` with a ReLU,
    LeakyReLU or SiLU), is parametrised, shared, or called in several places; where the output of
    the layer has another use, or something lies between the two; and where the forward cannot be
    traced or depends on its mode.

    Args:
        model: any module, in evaluation mode.
        inplace: change `model` itself, not a copy of it.

    Returns:
        The folded model, and a `ConversionReport` with each batch norm under `fused` or `left`.

    Raises:
        TypeError: `model` is not a module.

    Outputs are those of `model` within 1e-5 of the largest value in float32.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> folded, report = fold_batch_norm(net)
    >>> print(report)
    batch norms: 1 folded, 0 left
      folded  1: Conv2d + batch norm
    """
    check_module(model)
    model = model if inplace else copy.deepcopy(model)
    report = ConversionReport(done="folded")
    traces = trace_all(model)
    uses, calls = count_names(model), Counter(m for t in traces for _, m in calls_of(t))
    layers: dict[nn.Module, Any] = {}
    reasons: dict[nn.Module, str] = {}
    for traced in traces:
        for child in traced.module.children() if traced.graph is None else ():
            reasons[child] = traced.reason
        for node, module in calls_of(traced):
            if _is_norm(module):
                layers[module], reasons[module] = _layer_before(traced, node)
    for name, norm in [(n, m) for n, m in model.named_modules() if _is_norm(m)]:
        layer = layers.get(norm)
        own = own_activation(norm)
        reason = reasons.get(norm, "no forward that could be traced calls it")
        if max(uses[norm], calls[norm]) > 1:
            reason = "it is used in several places"
        elif layer is not None:
            shared = max(uses[layer], calls[layer]) > 1
            reason = "the layer before it is used in several places" if shared else ""
            reason = reason or _why_unlike(layer, norm, own)
        if reason or layer is None:
            report.left.append(Unfused(name, reason))
            continue
        _fold(layer, norm)
        holder = model.get_submodule(name.rpartition(".")[0])
        holder._modules[name.rpartition(".")[2]] = _what_is_left(layer, norm, own)
        report.fused.append(Fusion(name, f"{type(layer).__name__} + batch norm"))
    return model, report


def _is_norm(module: nn.Module) -> bool:
    of_torch = isinstance(module, _NormBase) and not isinstance(module, _InstanceNorm)
    return of_torch or isinstance(module, FrozenBatchNormAct2d)


def _layer_before(traced: Traced, node: fx.Node) -> tuple[Any, str]:
    """The layer whose output is used only by the norm at `node`; or None and the reason."""
    before = node.args[0] if node.args else None
    while isinstance(before, fx.Node) and before.op == "call_module":
        module = traced.target(before)
        if not is_plain(module, nn.Identity):
            break
        before = before.args[0] if before.args else None
    if node.kwargs or not isinstance(before, fx.Node):
        return None, "it is called with keywords"
    if before.op == "placeholder":
        return None, "nothing that its caller runs comes before it"
    if before.op != "call_module" or type(traced.target(before)) not in _LAYERS:
        return None, f"{describe(traced, before)} comes before it"
    path, reason = only_user(traced, before)
    if not path:
        return None, reason.replace("its output", "the output of the layer before it")
    return traced.target(before), ""


def _why_unlike(layer: Any, norm: Any, own: Settings | None) -> str:
    """Why these two cannot be one layer; "" where they can. `own` is from `own_activation`."""
    rank = _NORMS.get(type(norm), 0 if own is None else 2)
    reasons = {
        subclass_reason(norm): type(norm) not in _NORMS and own is None,
        "it has hooks or another forward": not is_plain(norm, type(norm)),
        "the layer before it has hooks or another forward": not is_plain(layer, type(layer)),
        "it is in training mode: call model.eval()": norm.training
        and not isinstance(norm, FrozenBatchNormAct2d),
        "the layer before it is in training mode: call model.eval()": layer.training
        and not isinstance(norm, FrozenBatchNormAct2d),
        "it has no running statistics": norm.running_mean is None,
        f"it does not fit {type(layer).__name__}": rank not in (0, _LAYERS[type(layer)])
        or norm.num_features != _out_channels(layer),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _out_channels(layer: Any) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> None:
    """Give `layer` the weights and bias with which it computes what both did."""
    wide = torch.float64
    scale = (norm.running_var.to(wide) + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.to(wide)
    shift = -norm.running_mean.to(wide) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.to(wide)
    old = layer.weight
    if isinstance(layer, _TRANSPOSED):
        # [in, out / groups, ...]: each group has its own outputs for its share of the inputs.
        groups = layer.groups
        weight = old.to(wide).unflatten(0, (groups, -1))
        along = scale.view(groups, 1, -1, *(1,) * (old.dim() - 2))
        weight = (weight * along).flatten(0, 1)
    else:
        weight = old.to(wide) * scale.view(-1, *(1,) * (old.dim() - 1))
    bias = shift if layer.bias is None else layer.bias.to(wide) * scale + shift
    layer.weight = nn.Parameter(weight.to(old.dtype), old.requires_grad)
    layer.bias = nn.Parameter(bias.to(old.dtype), old.requires_grad)


def _what_is_left(layer: nn.Module, norm: Any, own: Settings | None) -> nn.Module:
    """A module that does what the norm did after normalising, with the same arguments."""
    if own is not None:
        return AddAct(**own).train(norm.training)  # its forward takes no residual
    rank = {nn.Linear: 2, nn.Conv1d: 3, nn.ConvTranspose1d: 3}.get(type(layer))
    activation = getattr(norm, "activation", None)
    if activation is None and rank is None and not hasattr(norm, "activation"):
        return nn.Identity().train(norm.training)
    return AddAct(activation, getattr(norm, "negative_slope", 0.01), rank).train(norm.training)
