"""Modules of batch norm fused with its activation."""

import sys
from typing import Any

import torch
from torch import Tensor, fx, nn

from sightline.nn.batch_norm.forward import as_one_step
from sightline.ops import batch_norm_act
from sightline.ops.arguments import check_choice
from sightline.ops.batch_norm import ACTIVATIONS

# Functions of other packages that replace each batch norm by their own, by package and name, and
# what to use instead.
_REPLACING = {
    ("torch", "convert_sync_batchnorm"): "sightline.models.convert_sync_batch_norm(model)",
    ("timm", "convert_sync_batchnorm"): "sightline.models.convert_sync_batch_norm(model)",
    ("apex", "convert_syncbn_model"): "sightline.models.convert_sync_batch_norm(model)",
    ("timm", "freeze_batch_norm_2d"): "sightline.models.FrozenBatchNormAct2d",
    ("detectron2", "convert_frozen_batchnorm"): "sightline.models.FrozenBatchNormAct2d",
}


class _BatchNormAct(nn.modules.batchnorm._BatchNorm):
    """The settings and the op that `BatchNormAct1d` to `3d` and `SyncBatchNormAct` share."""

    adds = False  # whether convert_batch_norm moved an addition into it

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
        save: str = "input",
        ghost_batches: int = 1,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("save", save, ("input", "output"))
        if ghost_batches < 1:
            raise ValueError(f"`ghost_batches` must be >= 1, got {ghost_batches}")
        self.activation = activation
        self.negative_slope = negative_slope
        self.save = save
        self.ghost_batches = ghost_batches

    @property
    def num_features(self) -> int:  # type: ignore[override]
        """Number of channels. All functions of `_REPLACING` read it before they change anything."""
        caller = sys._getframe(1)
        package = str(caller.f_globals.get("__name__")).partition(".")[0]
        instead = _REPLACING.get((package, caller.f_code.co_name))
        lost = self._beside_batch_norm() if instead else ""
        if lost:
            raise TypeError(
                f"{package}'s {caller.f_code.co_name} would drop {lost} of a "
                f"{type(self).__name__}: use {instead}, which keeps it"
            )
        return self.__dict__["num_features"]

    @num_features.setter
    def num_features(self, value: int) -> None:
        self.__dict__["num_features"] = value

    def _beside_batch_norm(self) -> str:
        """What it does that torch's batch norm does not, in words; "" where there is nothing."""
        parts = {
            f"the activation {self.activation!r}": self.activation is not None,
            "the residual add": self.adds,
            f"the {self.ghost_batches} ghost batches": self.ghost_batches > 1,
        }
        return " and ".join(part for part, there in parts.items() if there)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x of shape [B, C, ...] and a residual of that shape, or None -> shape of x."""
        if isinstance(x, fx.Proxy):
            return as_one_step(self, x, residual)
        self._check_input_dim(x)
        mean, var = self.running_mean, self.running_var
        tracking = self.training and self.track_running_stats
        training = self.training or mean is None
        if self.training and not tracking:
            mean = var = None
        return batch_norm_act(
            x,
            self.weight,
            self.bias,
            mean,
            var,
            residual=residual,
            activation=self.activation,
            negative_slope=self.negative_slope,
            training=training,
            momentum=self.momentum,
            eps=self.eps,
            num_batches_tracked=self.num_batches_tracked if tracking else None,
            save=self.save if training else "input",
            ghost_batches=self.ghost_batches if self.training else 1,
        )

    def extra_repr(self) -> str:
        slope = f", negative_slope={self.negative_slope}" * (self.activation == "leaky_relu")
        ghosts = f", ghost_batches={self.ghost_batches}" * (self.ghost_batches > 1)
        save = f", save={self.save!r}" * (self.save != "input")
        return f"{super().extra_repr()}, activation={self.activation!r}{slope}{save}{ghosts}"


def become(norm: Any, kind: type[_BatchNormAct], settings: dict[str, Any]) -> None:
    """Turn `norm`, any batch norm, into a `kind` in place, so that references to it stay valid.

    Attributes that neither it nor `settings` has get the defaults of `kind`.
    """
    if type(norm) is not kind:
        for name in list(norm._modules):
            del norm._modules[name]
        norm.__class__ = kind
        template = kind(norm.num_features, device=torch.device("meta"))
        for name, value in vars(template).items():
            vars(norm).setdefault(name, value)
    for name, value in settings.items():
        setattr(norm, name, value)


class BatchNormAct1d(_BatchNormAct, nn.BatchNorm1d):
    """`BatchNormAct2d` over `[B, C]` or `[B, C, L]`."""


class BatchNormAct2d(_BatchNormAct, nn.BatchNorm2d):
    """Batch norm over `[B, C, H, W]`, then an optional residual, then an activation, in one op.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype: as in
            `torch.nn.BatchNorm2d`; state dicts can be exchanged in both directions.
        activation: None, "relu", "leaky_relu" or "silu".
        negative_slope: slope of "leaky_relu" below 0.
        save: "input", or "output" to keep nothing but the result for the backward pass, as in
            `sightline.ops.batch_norm_act`.
        ghost_batches: in training the batch is split into this number of contiguous parts, each
            with its own statistics; each part updates the running statistics in turn (Hoffer et
            al., "Train longer, generalize better", NeurIPS 2017).

    As an `nn.BatchNorm2d`, it is found by code that freezes or resets batch norms. Functions that
    would replace it by a plain batch norm (`nn.SyncBatchNorm.convert_sync_batchnorm` and those of
    timm, apex and detectron2) raise TypeError where that would drop its activation, an addition or
    its ghost batches.
    """


class BatchNormAct3d(_BatchNormAct, nn.BatchNorm3d):
    """`BatchNormAct2d` over `[B, C, D, H, W]`."""


class FrozenBatchNormAct2d(nn.Module):
    """Batch norm whose statistics and parameters are constants, and its activation, in one op.

    For x of shape [B, C, H, W]. Only x and the residual get gradients, and nothing is kept for them
    but the result (x, for "silu"). It loads the state dict of an `nn.BatchNorm2d`, whose
    `num_batches_tracked` is disregarded.

    Args:
        num_features: channels.
        eps: added to the variance.
        activation: None, "relu", "leaky_relu" or "silu".
        negative_slope: slope of "leaky_relu" below 0.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        activation: str | None = "relu",
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, ACTIVATIONS)
        self.num_features, self.eps = num_features, eps
        self.activation, self.negative_slope = activation, negative_slope
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, torch.full((num_features,), float(value)))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`[B, C, H, W]` and a residual of that shape, or None -> `[B, C, H, W]`."""
        if isinstance(x, fx.Proxy):
            return as_one_step(self, x, residual)
        return batch_norm_act(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            residual=residual,
            activation=self.activation,
            negative_slope=self.negative_slope,
            training=False,
            eps=self.eps,
        )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        state_dict.pop(prefix + "num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, activation={self.activation!r}"
