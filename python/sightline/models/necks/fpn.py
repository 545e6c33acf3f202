"""Feature pyramid network: maps of several strides, each with the context of the coarser ones."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from sightline.nn.conv import ConvNormAct


class FPN(nn.Module):
    """Merge the maps of a trunk from coarse to fine.

    Args:
        in_channels: channels of the trunk's map at each stride, `{8: 48, 16: 96, ...}`.
        channels: channels of every output map.
        out_strides: strides of the output maps; those of `in_channels` when None. Coarser input
            maps only provide context.

    `fpn({stride: [B, C, H, W]})` returns `{stride: [B, channels, H, W]}`, finest first. Sizes need
    not be multiples of each other: a coarser map is resized to the finer one by nearest neighbour.
    Source: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
    """

    def __init__(
        self,
        in_channels: Mapping[int, int],
        channels: int = 64,
        *,
        out_strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.strides = sorted(in_channels)
        self.out_strides = sorted(self.strides if out_strides is None else out_strides)
        missing = [stride for stride in self.out_strides if stride not in in_channels]
        if missing:
            raise ValueError(f"`out_strides` must be among {self.strides}, got {missing}")
        # Keys of a ModuleDict are strings.
        self.lateral = nn.ModuleDict(
            {
                str(stride): ConvNormAct(in_channels[stride], channels, 1, activation=None)
                for stride in self.strides
                if stride >= self.out_strides[0]
            }
        )
        self.output = nn.ModuleDict(
            {str(stride): ConvNormAct(channels, channels, 3) for stride in self.out_strides}
        )

    def forward(self, maps: Mapping[int, Tensor]) -> dict[int, Tensor]:
        merged: Tensor | None = None
        out = {}
        for stride in reversed(self.strides):
            if stride < self.out_strides[0]:
                break
            lateral = self.lateral[str(stride)](maps[stride])
            if merged is None:
                merged = lateral
            else:
                merged = lateral + F.interpolate(merged, size=lateral.shape[-2:])
            if stride in self.out_strides:
                out[stride] = self.output[str(stride)](merged)
        return {stride: out[stride] for stride in self.out_strides}
