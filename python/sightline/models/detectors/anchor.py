"""A one-stage anchor detector: trunk, feature pyramid, a head a level, focal and box-IoU losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
# A new head says "object" with this probability, so that the many empty anchors do not drown the
# first steps (Lin et al. 2017, section 3.3).
_PRIOR_PROBABILITY = 0.01
# Candidates an image that enter suppression; below this many nothing is cut.
_PRE_NMS_TOP_K = 1000


class AnchorHead(nn.Module):
    """Convolutions, then class logits and box deltas of every anchor of one map.

    `[B, channels, H, W]` -> logits `[B, H * W * K, num_classes]`, deltas `[B, H * W * K, 4]`, in
    the order of `grid_anchors`. Levels do not share a head: batch norm that saw every level in turn
    would keep running statistics that fit none.
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
    """One-stage detector on anchors.

    Args:
        trunk: a module with `feature_channels` and `features(images)`, both by stride.
        num_classes: classes, at least 1.
        anchors: for each stride a list of `(width, height)` in network pixels (see `fit_anchors`);
            nine a map when None.
        strides: strides of the maps that predict.
        fpn_channels, head_convs: width of pyramid and heads, convolutions before the predictors.
        high_threshold, low_threshold: an anchor whose IoU with an object reaches the first is
            positive, below the second negative, between them left out; each object also gets its
            best anchors.
        box_loss: "giou", "diou" or "ciou"; `box_weight` multiplies it.
        focal_alpha, focal_gamma: see `sigmoid_focal_loss`. The defaults are for short training
            from scratch: the paper's 0.25 and 2 leave so little of a positive's gradient that it
            took several times as many steps to tell classes apart.
        score_threshold, iou_threshold, max_detections: what predictions keep. The score threshold
            is low so that average precision sees the whole curve; raise it to show pictures.

    `model(images [B, C, H, W], targets)` returns `{"class_loss", "box_loss"}`, each summed over the
    batch and divided by the number of positive anchors; targets are a list of dicts with `boxes`
    `[N, 4]` xyxy in network pixels and `labels` `[N]`; N may be 0. `model(images)` returns a list
    of dicts with `boxes` `[n, 4]`, cut at the image's border, `scores` `[n]`, best first, and
    `labels` `[n]`. Both work the same in train and eval mode.
    """

    anchor_sizes: Tensor

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
        high_threshold: float = 0.5,
        low_threshold: float = 0.4,
        box_loss: str = "giou",
        box_weight: float = 0.7,
        focal_alpha: float = 0.5,
        focal_gamma: float = 0.5,
        score_threshold: float = 0.02,
        iou_threshold: float = 0.5,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
        if box_loss not in _BOX_LOSSES:
            raise ValueError(f"`box_loss` must be one of {sorted(_BOX_LOSSES)}, got {box_loss!r}")
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
        self.high_threshold = high_threshold
        self.low_threshold = low_threshold
        self.box_loss = box_loss
        self.box_weight = box_weight
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.max_detections = max_detections

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

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return class logits `[B, A, num_classes]`, box deltas `[B, A, 4]`, anchors `[A, 4]`."""
        check_images(images, self.in_channels)
        # Channels-last convolutions are the faster ones on CPU and on tensor cores.
        images = images.contiguous(memory_format=torch.channels_last)
        maps = self.fpn(self.trunk.features(images))
        logits, deltas, anchors = [], [], []
        for stride, sizes in zip(self.strides, self.anchors, strict=True):
            level_logits, level_deltas = self.heads[str(stride)](maps[stride])
            logits.append(level_logits)
            deltas.append(level_deltas)
            height, width = maps[stride].shape[-2:]
            anchors.append(grid_anchors(sizes.to(images.device), stride, height, width))
        return torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors)

    def forward(
        self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        logits, deltas, anchors = self.raw(images)
        if targets is not None:
            return self.losses(logits, deltas, anchors, targets)
        return self.predictions(logits, deltas, anchors, images.shape[-2:])

    def losses(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        targets: Sequence[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return the loss terms of what `raw` gave, against `targets`."""
        boxes, labels = object_targets(targets, len(logits), self.num_classes, logits.device)
        matched = match_anchors(
            anchors,
            boxes,
            high_threshold=self.high_threshold,
            low_threshold=self.low_threshold,
            allow_low_quality=True,
        )
        positive = matched >= 0
        # Objects of all images in one list; an image's matches start at its first object.
        counts = torch.tensor([0, *[len(b) for b in boxes[:-1]]], device=logits.device)
        objects = (matched + counts.cumsum(0)[:, None])[positive]
        # With a row behind the last object: torch.compile indexes nothing that may be empty.
        all_labels = torch.cat([*labels, labels[0].new_zeros(1)])
        all_boxes = torch.cat([*boxes, boxes[0].new_zeros(1, 4)])
        wanted = torch.zeros_like(logits)
        wanted[positive] = nn.functional.one_hot(all_labels[objects], self.num_classes).to(
            wanted.dtype
        )
        class_loss = sigmoid_focal_loss(
            logits, wanted, alpha=self.focal_alpha, gamma=self.focal_gamma
        )
        class_loss = (class_loss * (matched != -2)[..., None]).sum()
        predicted = decode_boxes(deltas[positive], anchors.expand(len(logits), -1, -1)[positive])
        box_loss = _BOX_LOSSES[self.box_loss](predicted, all_boxes[objects], reduction="sum")
        count = positive.sum().clamp(min=1)
        return {"class_loss": class_loss / count, "box_loss": self.box_weight * box_loss / count}

    def predictions(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, image_size: Sequence[int]
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image from what `raw` gave."""
        height, width = image_size
        border = torch.tensor([width, height, width, height], device=deltas.device)
        boxes = decode_boxes(deltas, anchors).clamp(min=0).minimum(border)
        boxes, scores, labels, count = multiclass_nms(
            boxes,
            logits.sigmoid(),
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            pre_top_k=_PRE_NMS_TOP_K,
        )
        return [
            {"boxes": boxes[i, :n], "scores": scores[i, :n], "labels": labels[i, :n]}
            for i, n in enumerate(count.tolist())
        ]
