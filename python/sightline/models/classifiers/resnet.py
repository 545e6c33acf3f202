"""Residual networks with batch norm and activation fused: ResNet-18 and ResNet-20.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sections 4.1 (ImageNet
layout) and 4.2 (CIFAR layout). The names of weights are those of the common `resnet18` checkpoints
(`layer1.0.conv1.weight`, `fc.bias`), which therefore load unchanged.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.models.targets import check_images, class_targets
from sightline.nn.batch_norm.modules import BatchNormAct2d
from sightline.nn.conv import conv


class PadShortcut(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, new channels zero (option A)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the sum and its ReLU are part of the second norm.

    `[B, in_channels, H, W]` -> `[B, out_channels, ceil(H / stride), ceil(W / stride)]`.
    `shortcut` is "projection" (1x1 convolution, option B) or "pad" (option A); it is used only
    where the shapes differ.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, shortcut: str = "projection"
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn1 = BatchNormAct2d(out_channels)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.bn2 = BatchNormAct2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            if shortcut == "pad":
                self.downsample = PadShortcut(in_channels, out_channels, stride)
            else:
                self.downsample = nn.Sequential(
                    conv(in_channels, out_channels, 1, stride),
                    BatchNormAct2d(out_channels, activation=None),
                )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(self.conv2(self.bn1(self.conv1(x))), shortcut)


class ResNet(nn.Module):
    """A residual classifier; without classes (`num_classes=0`), a trunk for a detector.

    Args:
        blocks: number of basic blocks in each stage; stages after the first halve the size.
        widths: channels of each stage.
        num_classes: classes, or 0 for no final layer.
        in_channels: channels of the images.
        stem: "imagenet" (7x7 of stride 2 and a max-pool: stride 4) or "small" (3x3 of stride 1).
        shortcut: "projection" or "pad", see `BasicBlock`.
        label_smoothing: share of the target spread over all classes, in [0, 1).

    `model(images [B, C, H, W])` returns logits `[B, num_classes]`, and `loss(logits, targets)` the
    cross-entropy with `label_smoothing`. Both work the same in training and evaluation mode.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        *,
        num_classes: int,
        in_channels: int = 3,
        stem: str = "imagenet",
        shortcut: str = "projection",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, widths[0], 7, 2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, padding=1)
            stride = 4
        else:
            self.conv1 = conv(in_channels, widths[0], 3)
            self.maxpool = nn.Identity()
            stride = 1
        self.bn1 = BatchNormAct2d(widths[0])
        self.feature_channels: dict[int, int] = {}
        channels = widths[0]
        for i, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            first_stride = 1 if i == 0 else 2
            stage = [BasicBlock(channels, width, first_stride, shortcut=shortcut)]
            stage += [BasicBlock(width, width) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
            channels = width
            stride *= first_stride
            self.feature_channels[stride] = width
        self.fc = nn.Linear(channels, num_classes) if num_classes else None

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Return the maps after each stage, by stride in pixels: `{4: [B, C, H/4, W/4], ...}`."""
        x = self.maxpool(self.bn1(self.conv1(images)))
        maps = {}
        for i, stride in enumerate(self.feature_channels):
            x = maps[stride] = self.get_submodule(f"layer{i + 1}")(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.in_channels)
        if self.fc is None:
            raise ValueError("a ResNet without classes has no logits; call `features(images)`")
        # Channels-last convolutions are faster on CPU and on tensor cores.
        images = images.contiguous(memory_format=torch.channels_last)
        last = list(self.features(images).values())[-1]
        return self.fc(last.mean((2, 3)))

    def loss(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return `{"class_loss": scalar}`, the mean cross-entropy over the batch.

        Args:
            outputs: logits `[B, num_classes]`.
            targets: labels `[B]`, integers in 0..num_classes - 1; or their probabilities
                `[B, num_classes]`, as one-hot and soft labels are.

        Raises:
            TypeError: `targets` is not a tensor.
            ValueError: another shape, labels that are not integers, one out of range, or numbers
                that are no probabilities.
        """
        wanted = class_targets(targets, len(outputs), self.num_classes, outputs.device)
        loss = F.cross_entropy(outputs.float(), wanted, label_smoothing=self.label_smoothing)
        return {"class_loss": loss}


def resnet18(
    num_classes: int = 1000, *, in_channels: int = 3, label_smoothing: float = 0.0
) -> ResNet:
    """Return ResNet-18 in the ImageNet layout: 11,689,512 parameters with 1,000 classes."""
    return ResNet(
        (2, 2, 2, 2),
        (64, 128, 256, 512),
        num_classes=num_classes,
        in_channels=in_channels,
        label_smoothing=label_smoothing,
    )


def resnet20(
    num_classes: int = 10, *, in_channels: int = 3, width: int = 16, label_smoothing: float = 0.0
) -> ResNet:
    """Return ResNet-20 in the CIFAR layout: 269,722 parameters with 10 classes and width 16.

    Shortcuts have no parameters (option A). `width` is the channels of the first stage.
    """
    return ResNet(
        (3, 3, 3),
        (width, 2 * width, 4 * width),
        num_classes=num_classes,
        in_channels=in_channels,
        stem="small",
        shortcut="pad",
        label_smoothing=label_smoothing,
    )
