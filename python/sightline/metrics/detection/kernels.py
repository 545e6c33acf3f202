"""The kernels of the metrics, for rows that are already laid out in order.

`sightline.ops` would import torch where it is installed; metrics call the array binding itself.
Arrays are contiguous float64, int64 and bool, as the evaluator creates them.
"""

from collections.abc import Sequence

import numpy as np

from sightline.metrics._native import native
from sightline.metrics.detection.rows import (
    MAX_MASK_THRESHOLDS,
    FlatDetections,
    FlatTargets,
    Layout,
    Matched,
    Rules,
)

NO_CAP = 2**63 - 1
RULES = ("coco", "voc")
_METHODS = ("101point", "11point", "all")
MAX_MASK_AREAS = 16  # area ranges that one call of the matching takes


def lay_out_detections(
    dt_image: np.ndarray,  # [D]
    dt_class: np.ndarray,  # [D]
    dt_label: np.ndarray | None,  # [D] rows of a group go by it
    dt_scores: np.ndarray,  # [D]
    gt_image: np.ndarray,  # [G]
    gt_class: np.ndarray,  # [G]
    gt_label: np.ndarray | None,  # [G] rows of a group go by it
    *,
    num_images: int,
    num_classes: int,
    max_detections: int | None,
) -> tuple[np.ndarray, ...]:
    """The columns of `Layout`."""
    return native.lay_out_detections(
        dt_image,
        dt_class,
        dt_label,
        dt_scores,
        gt_image,
        gt_class,
        gt_label,
        num_images,
        num_classes,
        NO_CAP if max_detections is None else max_detections,
    )


def match_masks(
    dt: FlatDetections,
    gt: FlatTargets,
    layout: Layout,
    rules: Rules,
    iou_thresholds: np.ndarray,  # [T], up to 16
    overlaps: np.ndarray | None,
) -> np.ndarray:
    """Bits of true positives and of ignored detections, uint16 [C, A, 2] in class order."""
    return native.match_masks(
        dt,
        gt,
        layout,
        np.ascontiguousarray(iou_thresholds),
        rules.area_ranges,
        RULES.index(rules.matching),
        rules.inclusive,
        overlaps,
    )


def accumulate_masks(
    outcome: np.ndarray,  # [C, A, 2]
    layout: Layout,
    gt_count: np.ndarray,  # [A, K]
    max_detections: tuple[int, ...],
    recall_thresholds: np.ndarray,  # [R]
    num_thresholds: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """precision [K, A, M, T, R], recall [K, A, M, T], scores [K, A, M, T, R]."""
    return native.accumulate_masks(
        outcome,
        layout,
        gt_count,
        np.array(max_detections, np.int64),
        recall_thresholds,
        num_thresholds,
    )


def resample(
    matched: Matched,
    weights: np.ndarray,  # [B, I] how often each replicate drew each image
    stats: Sequence[tuple[int, int, int, int, int]],
) -> tuple[np.ndarray, np.ndarray]:
    """Means of replicates in which images count as often as they were drawn.

    The same as evaluating data sets in which the copies of an image, and among equal scores in an
    image the copies of a detection, follow each other. A row of `stats` holds the first and last
    (excluded) IoU threshold, the area range, the cap, and 1 for final recall or 0 for average
    precision.

    Returns:
        stats [B, N] over the classes that have objects, and the AP per class [B, K] over all IoU
        thresholds in the first area range with the last cap; NaN where there are no objects.
    """
    if len(matched.outcome) != 1:
        raise ValueError(f"resampling takes at most {MAX_MASK_THRESHOLDS} IoU thresholds")
    layout, rules = matched.layout, matched.rules
    areas = np.arange(len(rules.area_ranges), dtype=np.uint16)[:, None]
    counted = np.bitwise_or.reduce(matched.gt_counted.astype(np.uint16) << areas, axis=0)
    return native.resample_stats(
        matched.outcome[0],
        layout,
        matched.gt.image[layout.gt_rows].astype(np.int32),
        counted[layout.gt_rows],
        layout.gt_class_offsets,
        np.ascontiguousarray(weights, np.uint16),
        np.array(matched.caps, np.int64),
        rules.recall_thresholds,
        len(rules.iou_thresholds),
        np.array(stats, np.int64),
    )


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
    dt_area: np.ndarray | None = None,  # [D], None for w * h
    overlaps: np.ndarray | None = None,  # by group, in place of the IoU of boxes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """outcome [A, T, D], gt_count [A, S], gt_index [A, T, D] (empty unless asked for)."""
    return native.match_detections(
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
        NO_CAP if max_detections is None else max_detections,
        RULES.index(rule),
        inclusive,
        return_index,
        dt_area,
        overlaps,
    )


def taken_objects(
    dt: FlatDetections,
    gt: FlatTargets,
    layout: Layout,
    rules: Rules,
    iou_thresholds: np.ndarray,  # [T]
    overlaps: np.ndarray | None,
) -> np.ndarray:
    """Place in `layout.gt_rows` of the object that each of `dt_rows` matched, or -1, [A, T, D]."""
    _, _, index = match_sorted(
        dt.boxes_xywh[layout.dt_rows],
        layout.dt_offsets,
        gt.boxes_xywh[layout.gt_rows],
        gt.area[layout.gt_rows],
        gt.crowd[layout.gt_rows],
        gt.ignore[layout.gt_rows],
        layout.gt_offsets,
        iou_thresholds=iou_thresholds,
        area_ranges=rules.area_ranges,
        max_detections=None,  # the layout has left out detections beyond the cap
        rule=rules.matching,
        inclusive=rules.inclusive,
        return_index=True,
        dt_area=None if dt.area is None else dt.area[layout.dt_rows],
        overlaps=overlaps,
    )
    return index


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
    return native.accumulate_precision(
        outcome,
        dt_scores,
        dt_class_order,
        dt_rank,
        class_rows,
        gt_count,
        np.array(max_detections, np.int64),
        recall_thresholds,
    )


def mean_of_cells(values: np.ndarray, thresholds: slice, area: int, cap: int) -> float:
    """Mean of the values other than -1 in `values[thresholds, ..., area, cap]`; -1 without any.

    `values` is precision [T, R, K, A, M] or recall [T, K, A, M]. NumPy's mean adds the values in
    the order of [T, R, K], so that the result equals pycocotools to the last bit.
    """
    cells = np.moveaxis(values, (-3, -2, -1), (0, 1, 2))
    if cells.flags.c_contiguous:
        first, last, _ = thresholds.indices(len(values))
        present = native.gather_cells(cells, first, max(first, last), area, cap)
    else:
        present = values[thresholds, ..., area, cap]
        present = present[present > -1]
    return float(np.mean(present)) if len(present) else -1.0


def average_curves(recall: np.ndarray, precision: np.ndarray, method: str) -> np.ndarray:
    """Average precision [B] of curves [B, N]."""
    contiguous = (np.ascontiguousarray(x, np.float64) for x in (recall, precision))
    return native.average_precision(*contiguous, _METHODS.index(method))
