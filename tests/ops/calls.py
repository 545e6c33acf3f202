"""A small valid call of every public op, for tests of rules that all of them follow."""

from typing import Any

import numpy as np

BOXES = np.array([[0, 0, 5, 5], [1, 1, 6, 6], [20, 20, 30, 30]], np.float32)
ROTATED = np.array([[5, 5, 4, 4, 0], [6, 6, 4, 4, 30]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
POINTS = np.array([[2, 2], [4, 4], [25, 25]], np.float32)
LABELS = np.array([0, 1, 1])
CLASS_SCORES = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
OFFSETS = np.array([0, 3])
_PAIR = {"boxes1": BOXES, "boxes2": BOXES[:2]}
_EQUAL = {"boxes1": BOXES, "boxes2": BOXES[::-1].copy()}
_MATRIX = {**_PAIR, "fmt": "xyxy", "aligned": False, "out": None}
_SCORED = {"boxes": BOXES, "scores": SCORES}
_PREDICTED = {
    "scores": CLASS_SCORES,
    "boxes": BOXES,
    "points": POINTS,
    "gt_boxes": BOXES[:2],
    "gt_labels": LABELS[:2],
}

# Every argument by its name, those with a default included.
CALLS: dict[str, dict[str, Any]] = {
    "accumulate_precision": {
        "outcome": np.ones((1, 2, 3), np.int8),
        "dt_scores": SCORES,
        "dt_offsets": OFFSETS,
        "class_offsets": np.array([0, 1]),
        "gt_count": np.array([[2]]),
        "max_detections": [1, 10],
        "recall_thresholds": [0.0, 0.5],
    },
    "assign_atss": {"anchors": [BOXES, BOXES[:1]], "gt_boxes": BOXES, "top_k": 2, "mask": None},
    "assign_fcos": {
        "points": [POINTS],
        "gt_boxes": BOXES,
        "strides": [8.0],
        "size_ranges": [(0.0, 64.0)],
        "center_radius": 1.5,
        "mask": None,
    },
    "assign_sim_ota": {
        **_PREDICTED,
        "strides": np.full(3, 8, np.float32),
        "center_radius": 2.5,
        "top_k": 2,
        "iou_weight": 3.0,
        "class_weight": 1.0,
        "mask": None,
    },
    "assign_ssd": {
        "anchors": BOXES,
        "gt_boxes": BOXES,
        "threshold": 0.5,
        "rule": "default",
        "mask": None,
    },
    "assign_task_aligned": {
        **_PREDICTED,
        "top_k": 2,
        "alpha": 1.0,
        "beta": 6.0,
        "one_to_one_top_k": 1,
        "overlap": "iou",
        "mask": None,
    },
    "assign_yolo": {
        "gt_boxes": BOXES,
        "anchor_sizes": [np.array([[4, 4], [8, 8]], np.float32)],
        "feature_sizes": [(4, 4)],
        "strides": [8.0],
        "rule": "v3",
        "ratio_threshold": 4.0,
        "mask": None,
    },
    "average_precision": {
        "recall": np.array([0.5, 1.0]),
        "precision": np.array([1.0, 0.5]),
        "method": "101point",
    },
    "batch_norm_act": {
        "x": np.arange(12, dtype=np.float32).reshape(4, 3),
        "weight": np.ones(3, np.float32),
        "bias": np.ones(3, np.float32),
        "running_mean": np.ones(3, np.float32),
        "running_var": np.ones(3, np.float32),
        "residual": np.ones((4, 3), np.float32),
        "activation": "relu",
        "negative_slope": 0.01,
        "training": True,
        "momentum": 0.1,
        "eps": 1e-5,
        "num_batches_tracked": np.array(0),
        "save": "input",
        "allow_single_value": False,
        "ghost_batches": 2,
    },
    "batched_nms": {
        **_SCORED,
        "idxs": LABELS,
        "iou_threshold": 0.5,
        "return_suppressed_by": False,
    },
    "box_area": {"boxes": BOXES, "fmt": "xyxy"},
    "box_convert": {"boxes": BOXES, "in_fmt": "xyxy", "out_fmt": "xywh"},
    "box_ioa": _MATRIX,
    "box_iou": _MATRIX,
    "box_iou_max": _PAIR,
    "box_iou_rotated": {
        "boxes1": ROTATED,
        "boxes2": ROTATED,
        "unit": "degrees",
        "aligned": False,
        "out": None,
    },
    "box_iou_topk": {**_PAIR, "k": 2},
    "check_boxes": {"boxes": BOXES, "size": (64, 64)},
    "clip_boxes_to_image": {"boxes": BOXES, "size": (16, 16)},
    "complete_box_iou": {**_MATRIX, "eps": 1e-7},
    "complete_box_iou_loss": {**_EQUAL, "reduction": "none", "eps": 1e-7},
    "decode_boxes": {
        "deltas": BOXES / 32,
        "anchors": BOXES,
        "weights": (1, 1, 1, 1),
        "size": (64, 64),
    },
    "distance_box_iou": {**_MATRIX, "eps": 1e-7},
    "distance_box_iou_loss": {**_EQUAL, "reduction": "none", "eps": 1e-7},
    "encode_boxes": {"boxes": BOXES, "anchors": BOXES, "weights": (1, 1, 1, 1)},
    "generalized_box_iou": _MATRIX,
    "generalized_box_iou_loss": {**_EQUAL, "reduction": "none", "eps": 1e-7},
    "linear_assignment": {"cost": BOXES, "mask": None, "maximize": False},
    "match_anchors": {
        "anchors": BOXES,
        "gt_boxes": BOXES[:2],
        "high_threshold": 0.7,
        "low_threshold": 0.3,
        "allow_low_quality": True,
        "min_positive_iou": 0.0,
        "first_anchor_only": False,
        "rule": "default",
        "mask": None,
        "ignore_boxes": BOXES[2:],
        "ignore_threshold": 0.5,
        "return_iou": True,
        "return_best_anchor": True,
    },
    "match_detections": {
        "dt_boxes_xywh": BOXES,
        "dt_scores": SCORES,
        "dt_offsets": OFFSETS,
        "gt_boxes_xywh": BOXES,
        "gt_offsets": OFFSETS,
        "gt_area": SCORES,
        "gt_crowd": LABELS == 2,
        "gt_ignore": LABELS == 2,
        "iou_thresholds": [0.5, 0.75],
        "area_ranges": [(0.0, 1e5)],
        "max_detections": 100,
        "rule": "coco",
        "inclusive": False,
        "return_index": True,
    },
    "matrix_nms": {**_SCORED, "idxs": LABELS, "method": "gaussian", "sigma": 2.0},
    "multiclass_nms": {
        "boxes": BOXES[None],
        "scores": CLASS_SCORES[None],
        "score_threshold": 0.1,
        "iou_threshold": 0.5,
        "max_detections": 2,
        "pre_top_k": 5,
        "agnostic": False,
    },
    "nms": {**_SCORED, "iou_threshold": 0.5, "return_suppressed_by": False},
    "nms_padded": {
        **_SCORED,
        "iou_threshold": 0.5,
        "max_detections": 2,
        "idxs": LABELS,
        "score_threshold": 0.1,
    },
    "nms_rotated": {
        "boxes": ROTATED,
        "scores": SCORES[:2],
        "iou_threshold": 0.5,
        "idxs": LABELS[:2],
        "unit": "degrees",
    },
    "remove_small_boxes": {"boxes": BOXES, "min_size": 1.0},
    "soft_nms": {
        **_SCORED,
        "method": "linear",
        "iou_threshold": 0.3,
        "sigma": 0.5,
        "score_threshold": 0.001,
        "idxs": LABELS,
        "max_detections": 2,
    },
    "warp": {
        "images": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        "matrices": np.eye(3),
        "size": (4, 5),
        "displacements": np.zeros((2, 2, 2), np.float32),
        "colors": np.eye(3, 4, dtype=np.float32),
        "fill": 128.0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "interpolation": "bilinear",
        "antialias": True,
    },
    "weighted_boxes_fusion": {
        "boxes": [BOXES, BOXES[:2]],
        "scores": [SCORES, SCORES[:2]],
        "labels": [LABELS, LABELS[:2]],
        "weights": [1.0, 2.0],
        "iou_threshold": 0.55,
        "score_threshold": 0.0,
        "conf_type": "avg",
        "allows_overflow": False,
    },
}


def on_tensors(value: Any) -> Any:
    """The same with tensors for the arrays in it."""
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {name: on_tensors(part) for name, part in value.items()}
    return [on_tensors(part) for part in value] if isinstance(value, list) else value
