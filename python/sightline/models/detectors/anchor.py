"""A one-stage anchor-based detector: trunk, pyramid, a head per level, focal and box-IoU losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sightline.losses.classification import sigmoid_focal_loss
from sightline.models.anchors import default_anchors, grid_anchors
from sightline.models.necks.fpn import FPN
from sightline.models.targets import check_images, object_targets
from sightline.nn.conv import ConvNormAct
from sightline.ops import (
    complete_box_iou_loss,
    decode_boxes,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    match_anchors,
    multiclass_nms,
)

_BOX_LOSSES = {
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}
# A new head predicts "object" with this probability, so that the many empty anchors do not dominate
# the first steps (Lin et al. 2017, section 3.3).
_PRIOR_PROBABILITY = 0.01
# Largest number of candidates per image for suppression.
_PRE_NMS_TOP_K = 1000


class AnchorOutputs(NamedTuple):
    """The outputs of an `AnchorDetector` for a batch of B images with A anchors each."""

    logits: Tensor  # [B, A, num_classes], of each class
    deltas: Tensor  # [B, A, 4], of each anchor's box
    anchors: Tensor  # [A, 4], xyxy in pixels of the images
    image_size: Tensor  # int64 [2], height and width of the images


@dataclass(frozen=True)
class AnchorMatching:
    """How objects are assigned to anchors.

    An anchor with an IoU of at least `high_threshold` is positive, below `low_threshold` negative,
    and in between ignored; each object also gets its best anchors.
    """

    high_threshold: float = 0.5
    low_threshold: float = 0.4


@dataclass(frozen=True)
class AnchorObjective:
    """The loss terms of an `AnchorDetector`.

    `box_loss` is "giou", "diou" or "ciou", and `box_weight` multiplies it. `focal_alpha` and
    `focal_gamma` are those of `sigmoid_focal_loss`. The defaults are for short training from
    scratch: with the paper's 0.25 and 2 the gradient of positives is so small that learning to
    distinguish classes took several times as many steps.
    """

    box_loss: str = "giou"
    box_weight: float = 0.7
    focal_alpha: float = 0.5
    focal_gamma: float = 0.5

    def __post_init__(self) -> None:
        if self.box_loss not in _BOX_LOSSES:
            raise ValueError(
                f"`box_loss` must be one of {sorted(_BOX_LOSSES)}, got {self.box_loss!r}"
            )


@dataclass(frozen=True)
class Postprocess:
    """Which predictions of an `AnchorDetector` are kept.

    The score threshold is low so that average precision covers the whole curve; raise it for
    showing boxes.
    """

    score_threshold: float = 0.02
    iou_threshold: float = 0.5
    max_detections: int = 100


class AnchorHead(nn.Module):
    """Convolutions, then class logits and box deltas of every anchor of one map.

    `[B, channels, H, W]` -> logits `[B, H * W * K, num_classes]`, deltas `[B, H * W * K, 4]`, in
    the order of `grid_anchors`. Levels do not share a head: the running statistics of a batch norm
    that sees all levels in turn would fit none of them.
    """

    def __init__(self, channels: int, num_anchors: int, num_classes: int, num_convs: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(*[ConvNormAct(channels, channels, 3) for _ in range(num_convs)])
        self.class_logits = nn.Conv2d(channels, num_anchors * num_classes, 1)
        self.box_deltas = nn.Conv2d(channels, num_anchors * 4, 1)
        prior = -math.log(1 / _PRIOR_PROBABILITY - 1)
        for layer, bias in ((self.class_logits, prior), (self.box_deltas, 0.0)):
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tower(x)
        logits = self.class_logits(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.num_classes)
        deltas = self.box_deltas(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
        return logits.float(), deltas.float()


class AnchorDetector(nn.Module):
    """One-stage anchor-based detector.

    Args:
        trunk: a module with `feature_channels` and `features(images)`, both by stride.
        num_classes: classes, at least 1.
        anchors: for each stride a list of `(width, height)` in network pixels (see `fit_anchors`);
            nine per map when None.
        strides: strides of the maps that predict.
        fpn_channels, head_convs: width of pyramid and heads, convolutions before the predictors.
        matching: how objects are assigned to anchors, an `AnchorMatching`.
        objective: the terms of `loss`, an `AnchorObjective`.
        postprocess: which `predictions` are kept, a `Postprocess`.

    `outputs = model(images [B, C, H, W])` is an `AnchorOutputs`, in training and evaluation mode;
    `loss(outputs, targets)` returns the terms to minimise, `predictions(outputs)` the detections.

    Example:
        >>> from sightline.models import create_model
        >>> model = create_model("light_detector", 3).eval()
        >>> detections = model.predictions(model(torch.zeros(1, 3, 64, 64)))
        >>> sorted(detections[0])
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        trunk: Any,
        num_classes: int,
        *,
        anchors: Sequence[Sequence[Sequence[float]]] | None = None,
        strides: Sequence[int] = (8, 16, 32),
        in_channels: int = 3,
        fpn_channels: int = 64,
        head_convs: int = 1,
        matching: AnchorMatching = AnchorMatching(),
        objective: AnchorObjective = AnchorObjective(),
        postprocess: Postprocess = Postprocess(),
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
        anchors = default_anchors(strides) if anchors is None else anchors
        if len(anchors) != len(strides) or not all(len(sizes) for sizes in anchors):
            raise ValueError(
                f"`anchors` must have one list of (width, height) for each of the strides "
                f"{tuple(strides)}, got lists of {[len(sizes) for sizes in anchors]}"
            )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.strides = tuple(strides)
        self.anchors = [torch.tensor(sizes, dtype=torch.float32) for sizes in anchors]
        for sizes in self.anchors:
            if sizes.ndim != 2 or sizes.shape[1] != 2 or not bool((sizes > 0).all()):
                raise ValueError(f"`anchors` must be (width, height) above 0, got {sizes.tolist()}")
        self.matching = matching
        self.objective = objective
        self.postprocess = postprocess

        self.trunk: Any = trunk
        channels: Mapping[int, int] = trunk.feature_channels
        used = {stride: width for stride, width in channels.items() if stride >= min(strides)}
        self.fpn = FPN(used, fpn_channels, out_strides=strides)
        self.heads = nn.ModuleDict(
            {
                str(stride): AnchorHead(fpn_channels, len(sizes), num_classes, head_convs)
                for stride, sizes in zip(strides, anchors, strict=True)
            }
        )

    def forward(self, images: Tensor) -> AnchorOutputs:
        check_images(images, self.in_channels)
        # Channels-last convolutions are faster on CPU and on tensor cores.
        images = images.contiguous(memory_format=torch.channels_last)
        maps = self.fpn(self.trunk.features(images))
        logits, deltas, anchors = [], [], []
        for stride, sizes in zip(self.strides, self.anchors, strict=True):
            level_logits, level_deltas = self.heads[str(stride)](maps[stride])
            logits.append(level_logits)
            deltas.append(level_deltas)
            height, width = maps[stride].shape[-2:]
            anchors.append(grid_anchors(sizes.to(images.device), stride, height, width))
        image_size = torch.tensor(images.shape[-2:], device=images.device)
        return AnchorOutputs(
            torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors), image_size
        )

    def loss(
        self, outputs: AnchorOutputs, targets: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return `{"class_loss", "box_loss"}`, summed over the batch, per positive anchor.

        Args:
            outputs: those of `model(images)`.
            targets: one dict per image with `boxes` `[N, 4]`, xyxy in pixels of the images, and
                `labels` `[N]`, integers in 0..num_classes - 1; N may be 0.

        Raises:
            TypeError: `targets` is not a list.
            ValueError: a wrong number of images or a wrong shape, a label out of range, or a box
                that is inverted or not finite; the message names the image and the row.
        """
        logits, deltas, anchors, _ = _checked(outputs)
        boxes, labels = object_targets(targets, len(logits), self.num_classes, logits.device)
        matched = match_anchors(
            anchors,
            boxes,
            high_threshold=self.matching.high_threshold,
            low_threshold=self.matching.low_threshold,
            allow_low_quality=True,
        )
        positive = matched >= 0
        # Objects of all images in one list; the matches of an image start at its first object.
        counts = torch.tensor([0, *[len(b) for b in boxes[:-1]]], device=logits.device)
        objects = (matched + counts.cumsum(0)[:, None])[positive]
        # One row is added after the last object: torch.compile cannot index what may be empty.
        all_labels = torch.cat([*labels, labels[0].new_zeros(1)])
        all_boxes = torch.cat([*boxes, boxes[0].new_zeros(1, 4)])
        wanted = torch.zeros_like(logits)
        wanted[positive] = nn.functional.one_hot(all_labels[objects], self.num_classes).to(
            wanted.dtype
        )
        class_loss = sigmoid_focal_loss(
            logits, wanted, alpha=self.objective.focal_alpha, gamma=self.objective.focal_gamma
        )
        class_loss = (class_loss * (matched != -2)[..., None]).sum()
        predicted = decode_boxes(deltas[positive], anchors.expand(len(logits), -1, -1)[positive])
        box_loss = _BOX_LOSSES[self.objective.box_loss](
            predicted, all_boxes[objects], reduction="sum"
        )
        count = positive.sum().clamp(min=1)
        return {
            "class_loss": class_loss / count,
            "box_loss": self.objective.box_weight * box_loss / count,
        }

    def predictions(self, outputs: AnchorOutputs) -> list[dict[str, Tensor]]:
        """Return the detections of each image from the outputs of `model(images)`.

        There is one dict per image: `boxes` `[N, 4]`, xyxy in pixels of the images and clipped to
        them, `scores` `[N]`, best first, and `labels` `[N]`.
        """
        logits, deltas, anchors, image_size = _checked(outputs)
        border = image_size.flip(0).repeat(2)  # width, height, width, height
        boxes = decode_boxes(deltas, anchors).clamp(min=0).minimum(border)
        boxes, scores, labels, count = multiclass_nms(
            boxes,
            logits.sigmoid(),
            score_threshold=self.postprocess.score_threshold,
            iou_threshold=self.postprocess.iou_threshold,
            max_detections=self.postprocess.max_detections,
            pre_top_k=_PRE_NMS_TOP_K,
        )
        return [
            {"boxes": boxes[i, :n], "scores": scores[i, :n], "labels": labels[i, :n]}
            for i, n in enumerate(count.tolist())
        ]


def _checked(outputs: AnchorOutputs) -> AnchorOutputs:
    if not isinstance(outputs, tuple) or len(outputs) != len(AnchorOutputs._fields):
        raise TypeError(
            "`outputs` must be the outputs of `model(images)`: call model.loss(model(images), "
            "targets), or model.predictions(model(images)), "
            f"got {type(outputs).__name__} as outputs"
        )
    return outputs
