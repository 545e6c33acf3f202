"""A light trunk that trains in minutes on two cores."""

from collections.abc import Sequence

from torch import Tensor, nn

from sightline.models.classifiers.resnet import BasicBlock
from sightline.nn.conv import ConvNormAct


class LightTrunk(nn.Module):
    """Convolutions of stride 2, each followed by basic residual blocks.

    Args:
        in_channels: channels of the images.
        widths: channels at stride 2, 4, 8, ...
        blocks: basic blocks at each of those strides. The default has none at the first two, which
            have the most pixels: a block there costs as much as all later ones together.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = (16, 24, 48, 96, 160),
        blocks: Sequence[int] = (0, 0, 1, 1, 1),
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(
                f"`widths` and `blocks` must have one number per stage, got {len(widths)} and "
                f"{len(blocks)}"
            )
        self.stages = nn.ModuleList()
        self.feature_channels: dict[int, int] = {}
        channels = in_channels
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            down = ConvNormAct(channels, width, 3, 2)
            residual = [BasicBlock(width, width) for _ in range(count)]
            self.stages.append(nn.Sequential(down, *residual))
            channels = width
            self.feature_channels[2 ** (i + 1)] = width

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Return the map of each stage, by stride in pixels: `{2: [B, C, H/2, W/2], ...}`."""
        maps = {}
        x = images
        for stride, stage in zip(self.feature_channels, self.stages, strict=True):
            x = maps[stride] = stage(x)
        return maps
