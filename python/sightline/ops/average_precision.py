"""Average precision: matching detections to objects, accumulating precision, averaging it.

The first two ops take concatenated groups without padding: group `s`, the rows of one class in one
image, consists of rows `offsets[s]` to `offsets[s + 1]`, and groups are sorted by class, then by
image. Memory is linear in detections and objects. Everything is computed in float64.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._average_precision_order import (
    as_float64,
    as_parameter,
    box_areas,
    check_offsets,
    contiguous,
    falses,
    order_by_score,
    ranks,
    sums_of_segments,
)
from ._rules import indices, register_fake
from .arguments import (
    MAX_COUNT,
    as_indices,
    backend,
    check_boxes,
    check_choice,
    check_count,
    check_length,
    check_numbers,
    sequence,
    torch,
)

Array = Any  # a torch.Tensor or a numpy.ndarray

# linspace, not .5 + .05 * i and i / 100: they differ in the last bit at some thresholds.
COCO_IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
COCO_RECALL_THRESHOLDS = tuple(np.linspace(0.0, 1.0, 101).tolist())

_RULES = ("coco", "voc")
_METHODS = ("101point", "11point", "all")


def match_detections(
    dt_boxes_xywh: Array,
    dt_scores: Array,
    dt_offsets: Array,
    gt_boxes_xywh: Array,
    gt_offsets: Array,
    *,
    gt_area: Array | None = None,
    gt_crowd: Array | None = None,
    gt_ignore: Array | None = None,
    iou_thresholds: Sequence[float] | None = None,
    area_ranges: Sequence[Sequence[float]] | None = None,
    max_detections: int | None = None,
    rule: str = "coco",
    inclusive: bool = False,
    return_index: bool = False,
) -> tuple[Array, ...]:
    """Match detections to objects, for every area range and IoU threshold.

    Within a group, detections are matched in the order of their scores, best first; equal scores
    keep their order.

    Args:
        dt_boxes_xywh: [D, 4], detections of all groups, x, y, width, height in pixels.
        dt_scores: [D]. NaN sorts last.
        dt_offsets: [S + 1] integers from 0 to D, not descending.
        gt_boxes_xywh: [G, 4], objects of all groups.
        gt_offsets: [S + 1] integers from 0 to G.
        gt_area: [G], the area that is compared with `area_ranges`; width * height by default. COCO
            uses that of the mask.
        gt_crowd: [G] bool, a region of many objects: it matches any number of detections, which
            are then ignored; the overlap is the intersection over the detection.
        gt_ignore: [G] bool, objects that count neither as found nor as missed ("difficult").
        iou_thresholds: T numbers in [0, 1]; COCO's .5, .55 ... .95 by default.
        area_ranges: A pairs (low, high), both ends included; by default one that contains all.
            Objects outside are ignored, as are unmatched detections outside.
        max_detections: number of best detections per group that are matched; others are ignored.
        rule: "coco": a detection matches the free object with the largest overlap, the last one
            among equals, and prefers objects that count. "voc": only the object with the largest
            overlap is tried, the first one among equals; where it is matched already, the detection
            is false. With "voc" crowds are just ignored.
        inclusive: sides are one pixel longer, as in VOC's devkit.
        return_index: also return the matched objects.

    Returns:
        outcome: int8 [A, T, D], 1 for a true positive, 0 for a false one, -1 for ignored.
        gt_count: int64 [A, S], objects of each group that are not ignored.
        gt_index: int64 [A, T, D], row of the matched object or -1; only with `return_index`.

    Raises:
        ValueError: a wrong shape, device, rule, threshold or range; offsets that do not run from 0
            to the number of rows (checked on the CPU; on CUDA, rows outside are skipped).
        TypeError: a mixture of tensors and arrays, or a wrong dtype.

    A box with a non-finite coordinate overlaps nothing, as does one where an area overflows. Time
    is the sum over groups of detections times objects, times A T. Not differentiable.
    Source: pycocotools 2.0.11; the VOC devkit's VOCevaldet.

    >>> import numpy as np
    >>> match_detections(
    ...     np.array([[0, 0, 9, 9], [0, 0, 9, 8], [50, 0, 9, 9]]), np.array([0.9, 0.8, 0.7]),
    ...     np.array([0, 3]), np.array([[0, 0, 9, 9]]), np.array([0, 1]), iou_thresholds=[0.5],
    ... )
    (array([[[1, 0, 0]]], dtype=int8), array([[1]]))
    """
    native = backend(
        dt_boxes_xywh=dt_boxes_xywh,
        dt_scores=dt_scores,
        dt_offsets=dt_offsets,
        gt_boxes_xywh=gt_boxes_xywh,
        gt_offsets=gt_offsets,
        gt_area=gt_area,
        gt_crowd=gt_crowd,
        gt_ignore=gt_ignore,
        optional=("gt_area", "gt_crowd", "gt_ignore"),
    )
    check_boxes("dt_boxes_xywh", dt_boxes_xywh)
    check_boxes("gt_boxes_xywh", gt_boxes_xywh)
    num_dt, num_gt = dt_boxes_xywh.shape[0], gt_boxes_xywh.shape[0]
    check_length("dt_scores", dt_scores, num_dt, "dt_boxes_xywh")
    dt_offsets, gt_offsets = as_indices(dt_offsets=dt_offsets, gt_offsets=gt_offsets)
    check_offsets("dt_offsets", dt_offsets, num_dt)
    check_offsets("gt_offsets", gt_offsets, num_gt)
    if dt_offsets.shape != gt_offsets.shape:
        raise ValueError(
            "`dt_offsets` and `gt_offsets` must have the same length, the number of groups plus 1, "
            f"got {dt_offsets.shape[0]} and {gt_offsets.shape[0]}"
        )
    check_choice("rule", rule, _RULES)
    thresholds = _checked_thresholds("iou_thresholds", iou_thresholds, COCO_IOU_THRESHOLDS)
    ranges = _checked_ranges(area_ranges)
    cap = MAX_COUNT
    if max_detections is not None:
        cap = check_count("max_detections", max_detections, at_least=1)
    gt_boxes = as_float64("gt_boxes_xywh", gt_boxes_xywh)
    area = box_areas(gt_boxes) if gt_area is None else as_float64("gt_area", gt_area)
    check_length("gt_area", area, num_gt, "gt_boxes_xywh")
    crowd = _flags("gt_crowd", gt_crowd, gt_boxes)
    ignore = _flags("gt_ignore", gt_ignore, gt_boxes)
    outcome, gt_count, gt_index = native.match_detections(
        as_float64("dt_boxes_xywh", dt_boxes_xywh),
        order_by_score(as_float64("dt_scores", dt_scores), dt_offsets),
        dt_offsets,
        gt_boxes,
        area,
        crowd,
        ignore,
        gt_offsets,
        as_parameter(thresholds, gt_boxes),
        as_parameter(ranges, gt_boxes),
        cap,
        _RULES.index(rule),
        bool(inclusive),
        bool(return_index),
    )
    return (outcome, gt_count, gt_index) if return_index else (outcome, gt_count)


def accumulate_precision(
    outcome: Array,
    dt_scores: Array,
    dt_offsets: Array,
    class_offsets: Array,
    gt_count: Array,
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    recall_thresholds: Sequence[float] | None = None,
) -> tuple[Array, Array, Array]:
    """Precision at given recalls, for every class, area range, IoU threshold and cap.

    The detections of a class are ranked by score over all its images; equal scores keep their
    order, which is that of the groups, then that within a group.

    Args:
        outcome: int8 [A, T, D] from `match_detections`, whose cap must be at least the largest of
            `max_detections`.
        dt_scores: [D].
        dt_offsets: [S + 1], the groups of detections.
        class_offsets: [K + 1] integers from 0 to S: the groups of each class.
        gt_count: int64 [A, S], objects that count.
        max_detections: M caps on the detections per group.
        recall_thresholds: R numbers in [0, 1], ascending; COCO's 0, .01 ... 1 by default.

    Returns:
        precision: float64 [T, R, K, A, M], the largest precision at this recall or beyond; 0 where
            the recall is not reached, -1 for a class without objects.
        recall: float64 [T, K, A, M], with all detections; -1 for a class without objects.
        scores: float64 [T, R, K, A, M], score of the detection that reaches the recall; 0 or -1 as
            above.

    Raises:
        ValueError, TypeError: as `match_detections`.

    Time is two passes over the detections of a class for each of A x T x M; memory is that of the
    results. Source: pycocotools 2.0.11, whose arrays these equal bit for bit.

    >>> import numpy as np
    >>> precision, recall, scores = accumulate_precision(
    ...     np.array([[[1, 0, 1]]], np.int8), np.array([0.9, 0.8, 0.7]), np.array([0, 3]),
    ...     np.array([0, 1]), np.array([[2]]), max_detections=[3], recall_thresholds=[0.5, 1],
    ... )
    >>> precision.ravel().round(3), recall.ravel(), scores.ravel()
    (array([1.   , 0.667]), array([1.]), array([0.9, 0.7]))
    """
    native = backend(
        outcome=outcome,
        dt_scores=dt_scores,
        dt_offsets=dt_offsets,
        class_offsets=class_offsets,
        gt_count=gt_count,
    )
    if len(outcome.shape) != 3:
        raise ValueError(f"`outcome` must have shape [A, T, D], got {list(outcome.shape)}")
    if str(outcome.dtype).rpartition(".")[2] != "int8":
        raise TypeError(f"`outcome` must be int8, got {outcome.dtype}")
    check_length("dt_scores", dt_scores, outcome.shape[2], "outcome")
    dt_offsets, class_offsets, gt_count = as_indices(
        dt_offsets=dt_offsets, class_offsets=class_offsets, gt_count=gt_count
    )
    check_offsets("dt_offsets", dt_offsets, outcome.shape[2])
    num_groups = dt_offsets.shape[0] - 1
    check_offsets("class_offsets", class_offsets, num_groups)
    if tuple(gt_count.shape) != (outcome.shape[0], num_groups):
        raise ValueError(
            f"`gt_count` must have shape [{outcome.shape[0]}, {num_groups}], areas by groups, "
            f"got {list(gt_count.shape)}"
        )
    caps = [
        check_count(f"max_detections[{i}]", cap, at_least=1)
        for i, cap in enumerate(sequence("max_detections", max_detections, "integers"))
    ]
    grid = _checked_thresholds("recall_thresholds", recall_thresholds, COCO_RECALL_THRESHOLDS)
    if grid != sorted(grid):
        raise ValueError("`recall_thresholds` must ascend")
    scores = as_float64("dt_scores", dt_scores)
    class_rows = dt_offsets[class_offsets]
    return native.accumulate_precision(
        contiguous(outcome),
        scores,
        order_by_score(scores, class_rows),
        ranks(order_by_score(scores, dt_offsets), dt_offsets),
        class_rows,
        sums_of_segments(gt_count, class_offsets),
        as_parameter(caps, dt_offsets),
        as_parameter(grid, scores),
    )


def average_precision(recall: Array, precision: Array, *, method: str = "101point") -> Array:
    """Average precision of precision-recall curves.

    Precision is made non-increasing first: at each recall, the largest value there or beyond.

    Args:
        recall: [N] or [B, N], ascending along the curve.
        precision: of the same shape.
        method: "101point", mean over recalls 0, .01 ... 1 (COCO); "11point", mean over 0, .1 ... 1
            (VOC 2007); "all", area under the whole curve (VOC 2010). Recalls not reached count 0.

    Returns:
        float64 [] or [B]. A curve without points gives 0.

    Raises:
        ValueError: different or wrong shapes, or an unknown method. TypeError: as `box_iou`.

    The recalls are NumPy's linspace: a recall of exactly 3 / 10 does not reach 0.30000000000000004,
    here as in VOC's Python ports. scikit-learn's average precision has no envelope and differs.

    >>> import numpy as np
    >>> recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.75])
    >>> round(float(average_precision(recall, precision, method="all")), 6)
    0.875
    """
    native = backend(recall=recall, precision=precision)
    check_choice("method", method, _METHODS)
    if tuple(recall.shape) != tuple(precision.shape) or len(recall.shape) not in (1, 2):
        raise ValueError(
            "`recall` and `precision` must have the same shape, [N] or [B, N], "
            f"got {list(recall.shape)} and {list(precision.shape)}"
        )
    recall, precision = as_float64("recall", recall), as_float64("precision", precision)
    single = len(recall.shape) == 1
    if single:
        recall, precision = recall[None], precision[None]
    result = native.average_precision(recall, precision, _METHODS.index(method))
    return result[0] if single else result


def _checked_thresholds(
    name: str, values: Sequence[float] | None, default: tuple[float, ...]
) -> list[float]:
    if values is None:
        return list(default)
    numbers = check_numbers(name, values)
    if not numbers or not all(0 <= value <= 1 for value in numbers):
        raise ValueError(f"`{name}` must be one or more numbers in [0, 1], got {numbers}")
    return numbers


def _checked_ranges(ranges: Sequence[Sequence[float]] | None) -> list[list[float]]:
    if ranges is None:
        return [[-float("inf"), float("inf")]]
    given = enumerate(sequence("area_ranges", ranges, "pairs (low, high)"))
    pairs = [check_numbers(f"area_ranges[{i}]", pair) for i, pair in given]
    if not pairs or not all(len(pair) == 2 and pair[0] <= pair[1] for pair in pairs):
        raise ValueError(f"`area_ranges` must be one or more pairs low <= high, got {pairs}")
    return pairs


def _flags(name: str, flags: Array | None, boxes: Array) -> Array:
    if flags is None:
        return falses(boxes)
    check_length(name, flags, boxes.shape[0], "gt_boxes_xywh")
    return contiguous(flags != 0)


def _match_outputs(dt_boxes, *tensors_and_settings):
    gt_offsets, thresholds, ranges = tensors_and_settings[6:9]
    return_index = tensors_and_settings[-1]
    shape = ranges.shape[0], thresholds.shape[0], dt_boxes.shape[0]
    return (
        dt_boxes.new_empty(shape, dtype=torch.int8),
        indices(dt_boxes, shape[0], gt_offsets.shape[0] - 1),
        indices(dt_boxes, *shape[:2], shape[2] if return_index else 0),
    )


def _accumulate_outputs(
    outcome, scores, order, rank, class_offsets, gt_count, max_detections, recall_thresholds
):
    areas, thresholds, _ = outcome.shape
    cells = (class_offsets.shape[0] - 1, areas, max_detections.shape[0])
    sampled = (thresholds, recall_thresholds.shape[0], *cells)
    return (
        scores.new_empty(sampled),
        scores.new_empty((thresholds, *cells)),
        scores.new_empty(sampled),
    )


register_fake("match_detections", _match_outputs)
register_fake("accumulate_precision", _accumulate_outputs)
register_fake(
    "average_precision", lambda recall, precision, method: recall.new_empty(recall.shape[0])
)
