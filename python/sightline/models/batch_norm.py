"""Batch norm fused with its activation as a module, and the conversion of models to it."""

from typing import Any

import torch
from torch import Tensor, nn

from sightline.ops import batch_norm_act


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch norm over `[B, C, H, W]`, then an optional residual, then an activation, in one op.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype: as those of
            `torch.nn.BatchNorm2d`, whose state dict it shares in both directions.
        activation: None, "relu", "leaky_relu" or "silu".
        negative_slope: of "leaky_relu".

    Being an `nn.BatchNorm2d`, it is found by code that freezes or resets batch norms; for the same
    reason `nn.SyncBatchNorm.convert_sync_batchnorm` would replace it, and drop the activation.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = "relu",
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.activation = activation
        self.negative_slope = negative_slope

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`[B, C, H, W]` and a residual of that shape, or None -> `[B, C, H, W]`."""
        self._check_input_dim(x)
        tracking = self.training and self.track_running_stats
        known = self.running_mean is not None and (tracking or not self.training)
        return batch_norm_act(
            x,
            self.weight,
            self.bias,
            self.running_mean if known else None,
            self.running_var if known else None,
            residual=residual,
            activation=self.activation,
            negative_slope=self.negative_slope,
            training=self.training or self.running_mean is None,
            momentum=self.momentum,
            eps=self.eps,
            num_batches_tracked=self.num_batches_tracked if tracking else None,
        )

    def extra_repr(self) -> str:
        slope = f", negative_slope={self.negative_slope}" * (self.activation == "leaky_relu")
        return f"{super().extra_repr()}, activation={self.activation!r}{slope}"


def convert_batch_norm(model: nn.Module) -> nn.Module:
    """Replaces every `nn.BatchNorm2d` of `model` by `BatchNormAct2d`, in place.

    Directly before an `nn.ReLU`, `nn.LeakyReLU` or `nn.SiLU` in an `nn.Sequential` it takes that
    activation over, and `nn.Identity` stands where the activation was: names in the state dict do
    not change. Elsewhere it has no activation, since a `forward` cannot be seen through. Parameters
    and buffers are the same objects, so optimizers stay valid; training mode is kept. A module with
    hooks, or of a subclass, stays as it is. A batch norm used in several places is converted once,
    without an activation.

    Returns:
        `model`; or, where it is itself an `nn.BatchNorm2d`, its replacement.
    """
    uses: dict[nn.Module, int] = {}
    for parent in model.modules():
        for child in parent._modules.values():
            if child is not None:
                uses[child] = uses.get(child, 0) + 1
    replacements: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        children = list(parent._modules.items())
        followers: list[tuple[Any, Any]] = [*children[1:], (None, None)]
        in_order = isinstance(parent, nn.Sequential) and type(parent).forward is _IN_ORDER
        for (name, child), (next_name, follower) in zip(children, followers):
            if child is None or not _is_plain(child, nn.BatchNorm2d):
                continue
            activation = None
            if in_order and uses[child] == 1 and follower is not None:
                activation = _activation_of(follower)
            if child not in replacements:
                replacements[child] = _replacement(child, activation)
            parent._modules[name] = replacements[child]
            if activation is not None:
                parent._modules[next_name] = nn.Identity().train(follower.training)
    return _replacement(model, None) if _is_plain(model, nn.BatchNorm2d) else model


_IN_ORDER = nn.Sequential.forward


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether `module` is of exactly this class and nobody watches its calls."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return type(module) is kind and not any(hooks)


def _activation_of(module: nn.Module) -> dict[str, Any] | None:
    """The settings of `BatchNormAct2d` that stand for this activation."""
    if _is_plain(module, nn.ReLU):
        return {"activation": "relu"}
    if _is_plain(module, nn.LeakyReLU):
        return {"activation": "leaky_relu", "negative_slope": module.negative_slope}
    if _is_plain(module, nn.SiLU):
        return {"activation": "silu"}
    return None


def _replacement(norm: Any, activation: dict[str, Any] | None) -> BatchNormAct2d:
    new = BatchNormAct2d(
        norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
        device=torch.device("meta"),
        **(activation or {"activation": None}),
    )
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(norm, name))
    return new.train(norm.training)
