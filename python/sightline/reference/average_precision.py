"""Matching detections to ground truth, and average precision, in plain NumPy.

This file is the specification of `sightline.ops.average_precision`: the shortest code that follows
the protocols step by step. It checks nothing and is never optimised.

Layout: detections and ground truth of all (class, image) groups are concatenated; group `s` has
rows `offsets[s]` to `offsets[s + 1]`. Groups are sorted by class, then by image.
"""

from itertools import pairwise

import numpy as np

# COCO compares with min(threshold, this), so that a perfect overlap passes a threshold of 1.
_HIGHEST_COCO_THRESHOLD = 1 - 1e-10
# COCO adds 2 ** -52 to a count of detections, which matters only where the count is 0 or 1.
_COCO_EPS = np.spacing(1.0)


@np.errstate(over="ignore", invalid="ignore")
def match_detections(
    dt_boxes_xywh,
    dt_scores,
    dt_offsets,
    gt_boxes_xywh,
    gt_offsets,
    *,
    gt_area=None,
    gt_crowd=None,
    gt_ignore=None,
    iou_thresholds=None,
    area_ranges=None,
    max_detections=None,
    rule="coco",
    inclusive=False,
    return_index=False,
):
    """See `sightline.ops.match_detections`."""
    dt_boxes = np.asarray(dt_boxes_xywh, np.float64).reshape(-1, 4)
    gt_boxes = np.asarray(gt_boxes_xywh, np.float64).reshape(-1, 4)
    num_dt, num_gt = len(dt_boxes), len(gt_boxes)
    dt_scores = np.asarray(dt_scores, np.float64)
    gt_area = gt_boxes[:, 2] * gt_boxes[:, 3] if gt_area is None else np.asarray(gt_area)
    gt_crowd = np.zeros(num_gt, bool) if gt_crowd is None else np.asarray(gt_crowd, bool)
    gt_ignore = np.zeros(num_gt, bool) if gt_ignore is None else np.asarray(gt_ignore, bool)
    gt_ignore = gt_ignore | gt_crowd
    thresholds = np.linspace(0.5, 0.95, 10) if iou_thresholds is None else iou_thresholds
    area_ranges = [(-np.inf, np.inf)] if area_ranges is None else area_ranges
    match_group = _match_group_coco if rule == "coco" else _match_group_voc

    shape = (len(area_ranges), len(thresholds), num_dt)
    outcome = np.full(shape, -1, np.int8)
    gt_index = np.full(shape, -1, np.int64)
    gt_count = np.zeros((len(area_ranges), len(dt_offsets) - 1), np.int64)
    for s in range(len(dt_offsets) - 1):
        dt = np.arange(dt_offsets[s], dt_offsets[s + 1])
        dt = dt[np.argsort(-dt_scores[dt], kind="stable")][:max_detections]
        gt = np.arange(gt_offsets[s], gt_offsets[s + 1])
        crowd = gt_crowd[gt]
        overlaps = _overlaps(dt_boxes[dt], gt_boxes[gt], crowd & (rule == "coco"), inclusive)
        dt_area = dt_boxes[dt, 2] * dt_boxes[dt, 3]
        for a, (low, high) in enumerate(area_ranges):
            ignored = gt_ignore[gt] | (gt_area[gt] < low) | (gt_area[gt] > high)
            outside = (dt_area < low) | (dt_area > high)
            gt_count[a, s] = np.count_nonzero(~ignored)
            for t, threshold in enumerate(thresholds):
                for d, g in enumerate(match_group(overlaps, ignored, crowd, threshold)):
                    if g < 0:
                        outcome[a, t, dt[d]] = -1 if outside[d] else 0
                    else:
                        outcome[a, t, dt[d]] = -1 if ignored[g] else 1
                        gt_index[a, t, dt[d]] = gt[g]
    return (outcome, gt_count, gt_index) if return_index else (outcome, gt_count)


def _overlaps(dt, gt, crowd, inclusive):
    """IoU [D, G] of xywh boxes; for crowds, the intersection as a share of the detection."""
    one = 1.0 if inclusive else 0.0
    result = np.zeros((len(dt), len(gt)))
    for d, (dx, dy, dw, dh) in enumerate(dt):
        for g, (gx, gy, gw, gh) in enumerate(gt):
            width = np.minimum(dw + dx, gw + gx) - np.maximum(dx, gx) + one
            height = np.minimum(dh + dy, gh + gy) - np.maximum(dy, gy) + one
            if width > 0 and height > 0:
                inter = width * height
                dt_area, gt_area = (dw + one) * (dh + one), (gw + one) * (gh + one)
                union = dt_area if crowd[g] else dt_area + gt_area - inter
                result[d, g] = inter / union if 0 < union < np.inf else 0.0
    return result


def _match_group_coco(overlaps, ignored, crowd, threshold):
    """Row of the ground truth that each detection, best first, matches; -1 for none."""
    taken = np.zeros(len(ignored), bool)
    matches = []
    for row in overlaps:
        best, best_iou = -1, min(threshold, _HIGHEST_COCO_THRESHOLD)
        for g in np.argsort(ignored, kind="stable"):  # objects that count before ignored ones
            if taken[g] and not crowd[g]:
                continue
            if best >= 0 and ignored[g] and not ignored[best]:
                break
            if row[g] >= best_iou:  # so that the later of two equal overlaps wins
                best, best_iou = g, row[g]
        if best >= 0:
            taken[best] = True
        matches.append(best)
    return matches


def _match_group_voc(overlaps, ignored, crowd, threshold):
    """The same by the VOC rule: only the best ground truth is tried, matched already or not."""
    taken = np.zeros(len(ignored), bool)
    matches = []
    for row in overlaps:
        best = int(np.argmax(row)) if len(row) else -1  # the first of equal overlaps
        overlap = row[best] if len(row) else 0.0
        if overlap == 0 or overlap < threshold or (taken[best] and not ignored[best]):
            best = -1
        else:
            taken[best] = True
        matches.append(best)
    return matches


def accumulate_precision(
    outcome,
    dt_scores,
    dt_offsets,
    class_offsets,
    gt_count,
    *,
    max_detections=(1, 10, 100),
    recall_thresholds=None,
):
    """See `sightline.ops.accumulate_precision`."""
    scores = np.asarray(dt_scores, np.float64)
    grid = np.linspace(0.0, 1.0, 101) if recall_thresholds is None else recall_thresholds
    num_areas, num_thresholds, _ = outcome.shape
    num_classes = len(class_offsets) - 1
    shape = (num_thresholds, len(grid), num_classes, num_areas, len(max_detections))
    precision_at, score_at = np.full(shape, -1.0), np.full(shape, -1.0)
    final_recall = np.full((shape[0], *shape[2:]), -1.0)

    rank = rank_in_group(scores, dt_offsets)
    for k, a, m in np.ndindex(shape[2:]):
        first, last = class_offsets[k], class_offsets[k + 1]
        positives = gt_count[a, first:last].sum()
        if positives == 0:
            continue
        dt = np.arange(dt_offsets[first], dt_offsets[last])
        dt = dt[rank[dt] < max_detections[m]]
        dt = dt[np.argsort(-scores[dt], kind="stable")]
        for t in range(num_thresholds):
            precision_at[t, :, k, a, m], final_recall[t, k, a, m], score_at[t, :, k, a, m] = (
                sample_curve(outcome[a, t, dt], scores[dt], positives, grid)
            )
    return precision_at, final_recall, score_at


def rank_in_group(scores, dt_offsets):
    """Rank of each detection within its group, best first."""
    rank = np.zeros(len(scores), np.int64)
    for begin, end in pairwise(dt_offsets):
        rank[begin + np.argsort(-scores[begin:end], kind="stable")] = np.arange(end - begin)
    return rank


def sample_curve(outcome, scores, positives, grid):
    """Precision at the recalls of the grid, final recall, and scores; detections are best first."""
    tp = np.cumsum(outcome == 1).astype(np.float64)
    fp = np.cumsum(outcome == 0).astype(np.float64)
    recall = tp / positives
    precision = tp / (fp + tp + _COCO_EPS)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(recall, grid, side="left")
    reached = index < len(scores)
    precision_at, score_at = np.zeros(len(grid)), np.zeros(len(grid))
    precision_at[reached] = envelope[index[reached]]
    score_at[reached] = scores[index[reached]]
    return precision_at, recall[-1] if len(scores) else 0.0, score_at


def average_precision(recall, precision, *, method="101point"):
    """See `sightline.ops.average_precision`."""
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if recall.ndim == 2:
        rows = zip(recall, precision)
        return np.array([average_precision(r, p, method=method) for r, p in rows], np.float64)
    if method == "all":
        area, envelope = 0.0, 0.0
        for i in reversed(range(len(recall))):
            envelope = max(envelope, precision[i])
            area += (recall[i] - (recall[i - 1] if i else 0.0)) * envelope
        return np.float64(area)
    grid = np.linspace(0.0, 1.0, 11 if method == "11point" else 101)
    samples = np.array([precision[recall >= r].max(initial=0.0) for r in grid])
    if method == "11point":
        total = 0.0
        for sample in samples:
            total += sample / 11  # the devkit's order of operations
        return np.float64(total)
    return np.mean(samples)
