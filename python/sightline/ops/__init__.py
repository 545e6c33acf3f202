"""Ops on tensors and arrays; `sightline.reference` has the same names and is their specification.

Importing this imports torch where it is installed; without torch the ops work on arrays only.
"""

from .assign_atss import assign_atss
from .assign_fcos import assign_fcos
from .assign_sim_ota import assign_sim_ota
from .assign_ssd import assign_ssd
from .assign_task_aligned import assign_task_aligned
from .assign_yolo import assign_yolo
from .average_precision import accumulate_precision, average_precision, match_detections
from .batch_norm import batch_norm_act
from .boxes import (
    box_area,
    box_convert,
    check_boxes,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
    remove_small_boxes,
)
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
from .iou_max import box_iou_max
from .iou_rotated import box_iou_rotated
from .iou_topk import box_iou_topk
from .linear_assignment import linear_assignment
from .matching import match_anchors
from .matrix_nms import matrix_nms
from .nms import batched_nms, multiclass_nms, nms
from .nms_padded import nms_padded
from .nms_rotated import nms_rotated
from .soft_nms import soft_nms
from .warp import warp
from .weighted_boxes_fusion import weighted_boxes_fusion

__all__ = [
    "accumulate_precision",
    "assign_atss",
    "assign_fcos",
    "assign_sim_ota",
    "assign_ssd",
    "assign_task_aligned",
    "assign_yolo",
    "average_precision",
    "batch_norm_act",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_ioa",
    "box_iou",
    "box_iou_max",
    "box_iou_rotated",
    "box_iou_topk",
    "check_boxes",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_loss",
    "decode_boxes",
    "distance_box_iou",
    "distance_box_iou_loss",
    "encode_boxes",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "linear_assignment",
    "match_anchors",
    "match_detections",
    "matrix_nms",
    "multiclass_nms",
    "nms",
    "nms_padded",
    "nms_rotated",
    "remove_small_boxes",
    "soft_nms",
    "warp",
    "weighted_boxes_fusion",
]
