"""COCO's evaluation in plain NumPy: overlap, match, accumulate and summarise.

The specification of the COCO protocol of `sightline.metrics`: the shortest code that follows
pycocotools 2.0.11 step by step. It checks next to nothing and is never optimised.

`parity="pycocotools"` repeats pycocotools to the last bit. `parity="corrected"` corrects three of
its faults and is otherwise the same:

- "matched to annotation 0" means "unmatched" there, so a detection of that object counts as false;
- the first number is -1 unless 100 is among `max_detections`, where the last one is meant;
- a NaN score is silently ranked last; corrected, it is a ValueError.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Record = Mapping[str, Any]

# Both ends are included: an area of exactly 1024 is both small and medium.
BOX_AREAS = {"all": (0, 1e10), "small": (0, 1024), "medium": (1024, 9216), "large": (9216, 1e10)}
KEYPOINT_AREAS = {name: BOX_AREAS[name] for name in ("all", "medium", "large")}
# linspace, to the bit: .5 + .05 * i differs at .85 and .9, and i / 100 at ten of the recalls.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
# A perfect overlap passes a threshold of 1.
HIGHEST_THRESHOLD = 1 - 1e-10

# What each number averages: precision or recall, IoU (None: all), area, place in max_detections.
BOX_STATS = (
    ("precision", None, "all", "AP"),
    ("precision", 0.5, "all", 2),
    ("precision", 0.75, "all", 2),
    ("precision", None, "small", 2),
    ("precision", None, "medium", 2),
    ("precision", None, "large", 2),
    ("recall", None, "all", 0),
    ("recall", None, "all", 1),
    ("recall", None, "all", 2),
    ("recall", None, "small", 2),
    ("recall", None, "medium", 2),
    ("recall", None, "large", 2),
)
KEYPOINT_STATS = tuple(
    (kind, iou, area, "keypoints")
    for kind in ("precision", "recall")
    for iou, area in ((None, "all"), (0.5, "all"), (0.75, "all"), (None, "medium"), (None, "large"))
)


@dataclass(frozen=True)
class CocoEvaluation:
    """T IoU thresholds, R recalls, K classes, A areas, M caps; -1 where there are no objects."""

    precision: Floats  # [T, R, K, A, M]
    recall: Floats  # [T, K, A, M], the final one
    scores: Floats  # [T, R, K, A, M]
    stats: Floats  # [12], for keypoints [10]


@dataclass(frozen=True)
class MatchedImage:
    """One image, class and area range; detections best first, objects as in the file."""

    dt_scores: Floats  # [D]
    dt_matched: Bools  # [T, D]
    dt_ignored: Bools  # [T, D]
    gt_ignored: Bools  # [G]


def evaluate_coco(
    truth: Record,
    found: Sequence[Record],
    *,
    iou_type: str = "bbox",
    overlaps: Callable[[list[Record], list[Record]], Floats] | None = None,
    parity: str = "corrected",
    use_classes: bool = True,
    iou_thresholds: Floats = IOU_THRESHOLDS,
    recall_thresholds: Floats = RECALL_THRESHOLDS,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    max_detections: Sequence[int] | None = None,
) -> CocoEvaluation:
    """Evaluate detections against ground truth, both in the format of COCO files.

    Args:
        truth: `images`, `categories`, `annotations` (`id, image_id, category_id, bbox, area,
            iscrowd`, for keypoints `num_keypoints`).
        found: `image_id, category_id, bbox, score`; `area` where it is not w * h, as for masks.
        iou_type: "bbox"; "segm" and "keypoints" need `overlaps`.
        overlaps: returns [D, G] for the detections, best first, and objects of an image and class.
        parity: "corrected" or "pycocotools".
        use_classes: False puts all classes into one, as for proposals.
        area_ranges, max_detections: None for COCO's.
    """
    keypoints = iou_type == "keypoints"
    areas = area_ranges or (KEYPOINT_AREAS if keypoints else BOX_AREAS)
    caps = sorted(max_detections or ((20,) if keypoints else (1, 10, 100)))
    if parity == "corrected" and any(np.isnan(d["score"]) for d in found):
        raise ValueError("a detection has a NaN score")
    images = sorted({image["id"] for image in truth["images"]})
    classes = sorted({category["id"] for category in truth["categories"]})
    groups = [[c] for c in classes] if use_classes else [classes]
    rows_of: dict[tuple[str, Any, Any], list[Record]] = {}
    for name, records in (("dt", found), ("gt", truth["annotations"])):
        for row in records:  # in the order of the file
            rows_of.setdefault((name, row["image_id"], row["category_id"]), []).append(row)

    shape = (len(iou_thresholds), len(recall_thresholds), len(groups), len(areas), len(caps))
    precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full((shape[0], *shape[2:]), -1.0)
    for k, group in enumerate(groups):
        images_of_class = []
        for image in images:
            dt, gt = (
                [r for c in group for r in rows_of.get((name, image, c), [])]
                for name in ("dt", "gt")
            )
            if dt or gt:  # an image with neither is skipped
                dt = [dt[i] for i in best_first(dt)[: caps[-1]]]
                images_of_class.append(
                    (dt, gt, overlaps(dt, gt) if overlaps else box_overlaps_of(dt, gt))
                )
        for a, area_range in enumerate(areas.values()):
            matched = [
                match_image(*rows, area_range, iou_thresholds, keypoints, parity)
                for rows in images_of_class
            ]
            for m, cap in enumerate(caps):
                at = (k, a, m)
                precision[:, :, *at], recall[:, *at], scores[:, :, *at] = accumulate(
                    matched, cap, len(iou_thresholds), recall_thresholds
                )
    stats = summarise(precision, recall, iou_thresholds, list(areas), caps, iou_type, parity)
    return CocoEvaluation(precision, recall, scores, stats)


def best_first(detections: Sequence[Record]) -> NDArray[np.int64]:
    """Order by score; equal scores keep the order of the file, NaN comes last."""
    return np.argsort([-d["score"] for d in detections], kind="stable")


def box_overlaps(dt: Floats, gt: Floats, crowd: Bools) -> Floats:
    """IoU [D, G] of boxes xywh, in float64; edges that touch do not overlap.

    For crowds the area of the detection replaces the union.
    """
    dx, dy, dw, dh = dt.T[:, :, None]
    gx, gy, gw, gh = gt.T[:, None, :]
    width = np.fmin(dw + dx, gw + gx) - np.fmax(dx, gx)
    height = np.fmin(dh + dy, gh + gy) - np.fmax(dy, gy)
    inter = width * height
    union = np.where(crowd, dw * dh, dw * dh + gw * gh - inter)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((width <= 0) | (height <= 0), 0.0, inter / union)


def match_image(
    dt: list[Record],  # best first, no more than the largest cap
    gt: list[Record],
    overlaps: Floats,  # [D, G]
    area_range: tuple[float, float],
    iou_thresholds: Floats,
    keypoints: bool,
    parity: str,
) -> MatchedImage:
    """Match one image and class for one area range."""
    low, high = area_range

    def within(area: float) -> bool:
        return not (area < low or area > high)

    gt_crowd = np.array([bool(g.get("iscrowd", 0)) for g in gt], bool)
    # An `ignore` in the file is not read. Area is the annotation's own field, not w * h.
    gt_ignored = np.array(
        [
            bool(crowd or (keypoints and g["num_keypoints"] == 0) or not within(g["area"]))
            for g, crowd in zip(gt, gt_crowd)
        ],
        bool,
    )
    dt_outside = np.array([not within(area_of(d)) for d in dt], bool)
    # A match is marked by the annotation's id, and 0 means that there is none.
    marked = np.array([g["id"] != 0 or parity == "corrected" for g in gt], bool)

    shape = (len(iou_thresholds), len(dt))
    dt_matched, dt_ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    for t, threshold in enumerate(iou_thresholds):
        for d, g in enumerate(match(overlaps, gt_ignored, gt_crowd, threshold)):
            dt_matched[t, d] = g >= 0 and marked[g]
            # A match with what is ignored is ignored; one that counts is true, whatever the
            # detection's own area. Without a match, that area decides.
            dt_ignored[t, d] = (g >= 0 and gt_ignored[g]) or (
                not dt_matched[t, d] and dt_outside[d]
            )
    scores = np.array([d["score"] for d in dt], np.float64)
    return MatchedImage(scores, dt_matched, dt_ignored, gt_ignored)


def match(
    overlaps: Floats,  # [D, G], best detection first
    gt_ignored: Bools,
    gt_crowd: Bools,
    threshold: float,
    dt_takes: Bools | None = None,
) -> list[int]:
    """Row of the object that each detection matches, -1 for none.

    `dt_takes` [D] is False for a detection whose object may be matched again. In pycocotools, which
    marks matched objects by the detection's id, that is one whose id is not above 0. Result files
    are numbered from 1.
    """
    taken = np.zeros(len(gt_ignored), bool)
    matches = []
    for d, row in enumerate(overlaps):
        best, best_overlap = -1, min(threshold, HIGHEST_THRESHOLD)
        for g in np.argsort(gt_ignored, kind="stable"):  # objects that count before ignored ones
            if taken[g] and not gt_crowd[g]:  # only a crowd may be matched again
                continue
            if best >= 0 and not gt_ignored[best] and gt_ignored[g]:
                break  # what is ignored never displaces what counts
            if row[g] < best_overlap:
                continue
            best, best_overlap = int(g), row[g]  # so the later of two equal overlaps wins
        if best >= 0:
            taken[best] = dt_takes is None or dt_takes[d]
        matches.append(best)
    return matches


def accumulate(
    matched: list[MatchedImage],  # in the order of image ids
    cap: int,
    num_thresholds: int,
    recall_thresholds: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Precision [T, R], final recall [T] and score [T, R] of one class, area range and cap."""
    shape = (num_thresholds, len(recall_thresholds))
    positives = sum(np.count_nonzero(~image.gt_ignored) for image in matched)
    if positives == 0:
        return np.full(shape, -1.0), np.full(num_thresholds, -1.0), np.full(shape, -1.0)
    # Matching is greedy, best first, so a smaller cap is a prefix of the largest one.
    dt_scores = np.concatenate([image.dt_scores[:cap] for image in matched])
    order = np.argsort(-dt_scores, kind="stable")  # equal scores by image, then within the image
    dt_scores = dt_scores[order]
    dt_matched, dt_ignored = (
        np.concatenate([column[:, :cap] for column in columns], axis=1)[:, order]
        for columns in zip(*((image.dt_matched, image.dt_ignored) for image in matched))
    )
    precision, recall, scores = np.zeros(shape), np.zeros(num_thresholds), np.zeros(shape)
    for t in range(num_thresholds):
        tp = np.cumsum(dt_matched[t] & ~dt_ignored[t]).astype(np.float64)
        fp = np.cumsum(~dt_matched[t] & ~dt_ignored[t]).astype(np.float64)
        reached = tp / positives
        # The spacing matters where fp + tp is 0, and where it is 1: precision .9999999999999998.
        envelope = np.maximum.accumulate((tp / (fp + tp + np.spacing(1)))[::-1])[::-1]
        index = np.searchsorted(reached, recall_thresholds, side="left")
        known = index < len(dt_scores)  # a recall that is never reached has precision 0
        precision[t, known], scores[t, known] = envelope[index[known]], dt_scores[index[known]]
        recall[t] = reached[-1] if len(reached) else 0.0
    return precision, recall, scores


def summarise(
    precision: Floats,
    recall: Floats,
    iou_thresholds: Floats,
    areas: list[str],
    caps: list[int],
    iou_type: str,
    parity: str,
) -> Floats:
    """COCO's twelve numbers, ten for keypoints: means over defined values, -1 without any."""
    stats = []
    for kind, iou, area, place in KEYPOINT_STATS if iou_type == "keypoints" else BOX_STATS:
        values = precision if kind == "precision" else recall
        if iou is not None:
            values = values[iou_thresholds == iou]  # to the bit
        a = [i for i, name in enumerate(areas) if name == area]
        m = [i for i, cap in enumerate(caps) if cap == cap_of(place, caps, parity)]
        values = values[..., a, m] if a and m else np.zeros(0)
        values = values[values > -1]
        stats.append(np.mean(values) if values.size else -1.0)  # numpy's pairwise sum
    return np.array(stats)


def cap_of(place: int | str, caps: list[int], parity: str) -> int | None:
    """The cap on detections that a number uses."""
    if parity == "pycocotools":
        named = {"AP": 100, "keypoints": 20}
        return named[place] if isinstance(place, str) else caps[place]
    if isinstance(place, str) or place == 2:
        return caps[-1]
    return caps[place] if place < len(caps) - 1 else None


def box_overlaps_of(dt: list[Record], gt: list[Record]) -> Floats:
    dt_boxes, gt_boxes = (
        np.array([r["bbox"] for r in records], np.float64).reshape(-1, 4) for records in (dt, gt)
    )
    return box_overlaps(dt_boxes, gt_boxes, np.array([bool(g.get("iscrowd", 0)) for g in gt], bool))


def area_of(dt: Record) -> float:
    return dt["area"] if "area" in dt else dt["bbox"][2] * dt["bbox"][3]
