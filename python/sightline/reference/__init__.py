"""Every op in plain, slow, readable NumPy: the specification that the kernels are held to."""

from .iou import (
    box_ioa,
    box_iou,
    complete_box_iou,
    complete_box_iou_loss,
    distance_box_iou,
    distance_box_iou_loss,
    generalized_box_iou,
    generalized_box_iou_loss,
)
from .matching import match_anchors
from .nms import batched_nms, multiclass_nms, nms

__all__ = [
    "batched_nms",
    "box_ioa",
    "box_iou",
    "complete_box_iou",
    "complete_box_iou_loss",
    "distance_box_iou",
    "distance_box_iou_loss",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "match_anchors",
    "multiclass_nms",
    "nms",
]
