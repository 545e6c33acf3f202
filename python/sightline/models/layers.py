"""The two layers every model here is made of: a convolution, and batch norm with its activation."""

from collections.abc import Callable

from torch import Tensor, nn


class _PlainBatchNormAct2d(nn.BatchNorm2d):
    """Batch norm, then an optional residual, then the activation, as separate torch calls."""

    def __init__(self, num_features: int, *, activation: str | None = "relu") -> None:
        super().__init__(num_features)
        self.activation: Callable[[Tensor], Tensor] = {
            None: nn.Identity(),
            "relu": nn.functional.relu,
            "leaky_relu": nn.functional.leaky_relu,
            "silu": nn.functional.silu,
        }[activation]

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = super().forward(x)
        return self.activation(y if residual is None else y + residual)


def norm_act(channels: int, activation: str | None = "relu") -> nn.Module:
    """Return batch norm over `channels` with `activation`; call it as `layer(x, residual=None)`."""
    return _PlainBatchNormAct2d(channels, activation=activation)


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size (for stride 1) and has He's init."""
    layer = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class ConvNormAct(nn.Module):
    """Convolution, batch norm and activation: the block of the light trunk, the FPN and the head.

    The input is `[B, in_channels, H, W]`, the output `[B, out_channels, ceil(H / stride),
    ceil(W / stride)]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        activation: str | None = "relu",
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, kernel_size, stride)
        self.bn = norm_act(out_channels, activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))
