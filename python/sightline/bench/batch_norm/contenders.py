"""The implementations: modules whose parameters and buffers have the same names."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sightline.models import BatchNormAct2d, FrozenBatchNormAct2d

from ..outcome import OURS
from .benchmark import COMPILE, EAGER, LayerBenchmark

SLOPE = 0.01  # of leaky_relu


class Plain(nn.Module):
    """The usual torch modules; on CUDA their batch norm is cuDNN's."""

    def __init__(self, layer: LayerBenchmark) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(layer.shape[1])
        activations = {"relu": nn.ReLU, "silu": nn.SiLU, "none": nn.Identity}
        leaky = layer.activation == "leaky_relu"
        self.act = nn.LeakyReLU(SLOPE) if leaky else activations[layer.activation]()

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        normalized = self.bn(x)
        return self.act(normalized if residual is None else normalized + residual)


def ours(layer: LayerBenchmark) -> nn.Module:
    activation = None if layer.activation == "none" else layer.activation
    channels = layer.shape[1]
    if layer.program == "frozen":
        return FrozenBatchNormAct2d(channels, activation=activation, negative_slope=SLOPE)
    return BatchNormAct2d(channels, activation=activation, negative_slope=SLOPE, save=layer.save)


def compiled(layer: LayerBenchmark) -> nn.Module:
    torch._dynamo.reset()  # otherwise shapes after the first are compiled as dynamic shapes
    module: nn.Module = torch.compile(Plain(layer))  # type: ignore[assignment]
    return module


class _ChannelsLast(nn.Module):
    """apex takes [N, H, W, C]."""

    def __init__(self, bn: nn.Module) -> None:
        super().__init__()
        self.bn = bn

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        z = None if residual is None else residual.permute(0, 2, 3, 1)
        return self.bn(x.permute(0, 2, 3, 1), z).permute(0, 3, 1, 2)


class _OnACopy(nn.Module):
    """inplace_abn overwrites its input."""

    def __init__(self, bn: nn.Module) -> None:
        super().__init__()
        self.bn = bn

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x.clone())


def apex_groupbn(layer: LayerBenchmark) -> nn.Module | None:
    if (layer.layout, layer.dtype, layer.activation) != ("channels_last", "float16", "relu"):
        return None
    from apex.contrib.groupbn import BatchNorm2d_NHWC

    return _ChannelsLast(BatchNorm2d_NHWC(layer.shape[1], fuse_relu=True))


def apex_sync(layer: LayerBenchmark) -> nn.Module | None:
    if (layer.layout, layer.activation) != ("channels_last", "relu"):
        return None
    from apex.parallel import SyncBatchNorm

    return _ChannelsLast(SyncBatchNorm(layer.shape[1], channel_last=True, fuse_relu=True))


def inplace_abn(layer: LayerBenchmark) -> nn.Module | None:
    if (layer.layout, layer.activation, layer.residual) != ("contiguous", "leaky_relu", False):
        return None
    if layer.dtype == "bfloat16":
        return None
    from inplace_abn import InPlaceABN

    bn = InPlaceABN(layer.shape[1], activation="leaky_relu", activation_param=SLOPE)
    return _OnACopy(bn)


# Each returns None for a layer that it does not support, and raises ImportError if not installed.
Make = Callable[[LayerBenchmark], nn.Module | None]
EVERYWHERE: dict[str, Make] = {EAGER: Plain, OURS: ours, COMPILE: compiled}
IN_TRAINING_ON_CUDA: dict[str, Make] = {
    "apex groupbn": apex_groupbn,
    "apex SyncBatchNorm": apex_sync,
    "inplace_abn, after a copy": inplace_abn,
}


def contenders(layer: LayerBenchmark, device: str) -> dict[str, Make]:
    """Eager torch first, with which the others are compared."""
    in_training = device == "cuda" and layer.program in ("step", "forward")
    return EVERYWHERE | (IN_TRAINING_ON_CUDA if in_training else {})
