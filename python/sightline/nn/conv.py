"""The convolution that all models here use, alone and with its norm and activation."""

from torch import Tensor, nn

from sightline.nn.batch_norm.modules import BatchNormAct2d


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias and with He's initialisation; stride 1 keeps the size."""
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
        self.bn = BatchNormAct2d(out_channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))
