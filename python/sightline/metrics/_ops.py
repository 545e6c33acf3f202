"""The kernels under the metrics, for rows that are already laid out in order.

`sightline.ops` would import torch where it is installed; metrics call the array binding itself.
Arrays are contiguous float64, int64 and bool, as the evaluator makes them.
"""

from typing import Any

import numpy as np

from sightline import _numpy

_native: Any = _numpy  # compiled, without type stubs
_NO_CAP = 2**63 - 1
_RULES = ("coco", "voc")
_METHODS = ("101point", "11point", "all")


def match_sorted(
    dt_boxes: np.ndarray,  # [D, 4] xywh, each group's best first
    dt_offsets: np.ndarray,  # [S + 1]
    gt_boxes: np.ndarray,  # [G, 4]
    gt_area: np.ndarray,  # [G]
    gt_crowd: np.ndarray,  # [G]
    gt_ignore: np.ndarray,  # [G]
    gt_offsets: np.ndarray,  # [S + 1]
    *,
    iou_thresholds: np.ndarray,  # [T]
    area_ranges: np.ndarray,  # [A, 2]
    max_detections: int | None,
    rule: str,
    inclusive: bool,
    return_index: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """outcome [A, T, D], gt_count [A, S], gt_index [A, T, D] (empty unless asked for)."""
    return _native.match_detections(
        dt_boxes,
        np.arange(len(dt_boxes)),
        dt_offsets,
        gt_boxes,
        gt_area,
        gt_crowd,
        gt_ignore,
        gt_offsets,
        iou_thresholds,
        area_ranges,
        _NO_CAP if max_detections is None else max_detections,
        _RULES.index(rule),
        inclusive,
        return_index,
    )


def accumulate_sorted(
    outcome: np.ndarray,  # [A, T, D] int8
    dt_scores: np.ndarray,  # [D]
    dt_class_order: np.ndarray,  # [D] rows by class, best first
    dt_rank: np.ndarray,  # [D] place in the group
    class_rows: np.ndarray,  # [K + 1] where each class begins
    gt_count: np.ndarray,  # [A, K]
    *,
    max_detections: tuple[int, ...],
    recall_thresholds: np.ndarray,  # [R]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """precision [T, R, K, A, M], recall [T, K, A, M], scores [T, R, K, A, M]."""
    return _native.accumulate_precision(
        outcome,
        dt_scores,
        dt_class_order,
        dt_rank,
        class_rows,
        gt_count,
        np.array(max_detections, np.int64),
        recall_thresholds,
    )


def average_curves(recall: np.ndarray, precision: np.ndarray, method: str) -> np.ndarray:
    """Average precision [B] of curves [B, N]."""
    contiguous = (np.ascontiguousarray(x, np.float64) for x in (recall, precision))
    return _native.average_precision(*contiguous, _METHODS.index(method))


def box_overlap(dt_boxes: np.ndarray, gt_boxes: np.ndarray, gt_crowd: np.ndarray) -> np.ndarray:
    """IoU [D, G] of xywh boxes; over a crowd, the intersection as a share of the detection."""
    dt, gt = (np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) for b in (dt_boxes, gt_boxes))
    overlap = _native.box_iou(dt, gt)
    if gt_crowd.any():
        overlap[:, gt_crowd] = _native.box_ioa(dt, np.ascontiguousarray(gt[gt_crowd]))
    return overlap
