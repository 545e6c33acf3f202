"""From boxes and labels of all images to the arrays of a protocol: lay out, match, accumulate."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from sightline.metrics.detection.kernels import (
    MAX_MASK_THRESHOLDS,
    accumulate_masks,
    average_curves,
    lay_out_detections,
    match_masks,
)


@dataclass(frozen=True)
class FlatDetections:
    """Detections of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64, row of the image in the order that breaks ties between images
    label: np.ndarray  # [N] int64, row of the class
    boxes_xywh: np.ndarray  # [N, 4] float64
    scores: np.ndarray  # [N] float64
    area: np.ndarray | None = None  # [N] float64, None for w * h


@dataclass(frozen=True)
class FlatTargets:
    """Ground truth of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64
    label: np.ndarray  # [N] int64
    boxes_xywh: np.ndarray  # [N, 4] float64
    area: np.ndarray  # [N] float64
    crowd: np.ndarray  # [N] bool
    ignore: np.ndarray  # [N] bool
    void: np.ndarray | None = None  # [N] bool: taken by a match that is then not counted


@dataclass(frozen=True)
class Rules:
    """What distinguishes one protocol from another."""

    matching: str  # "coco" or "voc"
    iou_thresholds: np.ndarray  # [T]
    recall_thresholds: np.ndarray  # [R]
    area_ranges: np.ndarray  # [A, 2]
    max_detections: tuple[int, ...] | None  # None: all
    inclusive: bool
    average: str | None  # method of `average_precision`, None: the mean of the sampled precision


@dataclass(frozen=True)
class Layout:
    """Rows by group, a class and image that has any, and by class.

    Groups go by class, then by image. The class order goes by class, then by score; equal scores
    by image, then as they came. C of the D detections lie within the largest cap.
    """

    dt_rows: np.ndarray  # [C] int64, input rows by group, best first
    dt_places: np.ndarray  # [C] int32, where each of dt_rows stands in the class order
    dt_offsets: np.ndarray  # [S + 1] int64, where each group begins in dt_rows
    gt_rows: np.ndarray  # [G] int64, input rows by group, in input order
    gt_offsets: np.ndarray  # [S + 1] int64
    class_groups: np.ndarray  # [K + 1] int64, at which group each class begins
    class_rows: np.ndarray  # [C] int64, input rows in the class order
    class_offsets: np.ndarray  # [K + 1] int64, where each class begins in it
    class_ranks: np.ndarray  # [C] int32, place within the group, best 0
    class_images: np.ndarray  # [C] int32
    class_scores: np.ndarray  # [C] float64

    @property
    def num_classes(self) -> int:
        return len(self.class_groups) - 1

    @property
    def gt_class_offsets(self) -> np.ndarray:
        """Where each class begins in gt_rows, int64 [K + 1]."""
        return self.gt_offsets[self.class_groups]


class RowGroups(Protocol):
    """What overlaps need of a layout: rows of detections and of objects by group."""

    @property
    def dt_rows(self) -> np.ndarray: ...
    @property
    def dt_offsets(self) -> np.ndarray: ...
    @property
    def gt_rows(self) -> np.ndarray: ...
    @property
    def gt_offsets(self) -> np.ndarray: ...


# overlap of every detection and object of a group, group after group: float64, each [D_s, G_s]
Overlaps = Callable[[RowGroups], np.ndarray]


@dataclass(frozen=True)
class Matched:
    """What matching found, kept for questions that come later."""

    dt: FlatDetections
    gt: FlatTargets
    rules: Rules
    layout: Layout
    num_images: int
    # for 16 IoU thresholds each: uint16 [C, A, 2] in the class order, bits of true positives and
    # of ignored detections; neither bit is a false positive
    outcome: tuple[np.ndarray, ...]

    @property
    def caps(self) -> tuple[int, ...]:
        """Caps on the detections of a class in an image."""
        return self.rules.max_detections or (max(1, len(self.dt.scores)),)

    @cached_property
    def gt_counted(self) -> np.ndarray:
        """Whether an object counts, bool [A, G] by input row."""
        low, high = self.rules.area_ranges[:, :1], self.rules.area_ranges[:, 1:]
        outside = (self.gt.area < low) | (self.gt.area > high)
        return ~(outside | self.gt.ignore | self.gt.crowd)

    def outcome_codes(self, area: int = 0) -> np.ndarray:
        """1 true positive, 0 false positive, -1 ignored: int8 [T, C] in the class order."""
        rows = []
        for t in range(len(self.rules.iou_thresholds)):
            masks = self.outcome[t // MAX_MASK_THRESHOLDS][:, area]
            hit, ignored = ((masks >> (t % MAX_MASK_THRESHOLDS)) & 1).astype(np.int8).T
            rows.append(hit - ignored)
        return np.stack(rows)


@dataclass(frozen=True)
class EvaluatedArrays:
    # views of arrays whose memory goes by class: [K, A, M, T, R]
    precision: np.ndarray  # [T, R, K, A, M], -1 where a class has no ground truth
    recall: np.ndarray  # [T, K, A, M]
    scores: np.ndarray  # [T, R, K, A, M]
    class_ap: np.ndarray  # [T, K], NaN where a class has no ground truth
    gt_count: np.ndarray  # [K], what counts in the first area range
    dt_count: np.ndarray  # [K]
    matched: Matched


def lay_out(
    dt: FlatDetections,
    gt: FlatTargets,
    num_classes: int,
    *,
    num_images: int,
    max_detections: int | None = None,
    use_classes: bool = True,
) -> Layout:
    """Group and sort.

    `use_classes=False` puts all labels in one class, as proposals are scored; rows of an image
    then go by label, before they go as given.
    """
    arrays = lay_out_detections(
        dt.image,
        dt.label if use_classes else np.zeros_like(dt.label),
        None if use_classes else dt.label,
        dt.scores,
        gt.image,
        gt.label if use_classes else np.zeros_like(gt.label),
        None if use_classes else gt.label,
        num_images=num_images,
        num_classes=num_classes if use_classes else 1,
        max_detections=max_detections,
    )
    return Layout(**dict(zip((field.name for field in fields(Layout)), arrays, strict=True)))


def evaluate(
    dt: FlatDetections,
    gt: FlatTargets,
    num_classes: int,
    rules: Rules,
    *,
    num_images: int | None = None,
    use_classes: bool = True,
    overlaps: Overlaps | None = None,
) -> EvaluatedArrays:
    """Evaluate; `overlaps` takes the place of the IoU of boxes.

    Memory: linear in detections and ground truth; 4 bytes a detection and area range for the
    outcomes of up to 16 IoU thresholds.
    """
    if num_images is None:
        num_images = 1 + max((int(x.max()) for x in (dt.image, gt.image) if len(x)), default=-1)
    layout = lay_out(
        dt,
        gt,
        num_classes,
        num_images=num_images,
        max_detections=None if rules.max_detections is None else max(rules.max_detections),
        use_classes=use_classes,
    )
    given = None if overlaps is None else overlaps(layout)
    thresholds = [
        rules.iou_thresholds[first : first + MAX_MASK_THRESHOLDS]
        for first in range(0, len(rules.iou_thresholds), MAX_MASK_THRESHOLDS)
    ]
    outcome = tuple(match_masks(dt, gt, layout, rules, chunk, given) for chunk in thresholds)
    matched = Matched(dt, gt, rules, layout, num_images, outcome)

    gt_class = gt.label if use_classes else np.zeros_like(gt.label)
    gt_count = np.stack(
        [
            np.bincount(gt_class[counted], minlength=layout.num_classes)
            for counted in matched.gt_counted
        ]
    ).astype(np.int64)
    parts = [
        accumulate_masks(masks, layout, gt_count, matched.caps, rules.recall_thresholds, len(chunk))
        for masks, chunk in zip(outcome, thresholds)
    ]
    # one part is by far the usual case, and is not copied
    precision, recall, scores = (
        part[0] if len(part) == 1 else np.concatenate(part, axis=3) for part in zip(*parts)
    )
    positives = gt_count[0]
    if rules.average is None:
        sampled = precision[:, 0, -1]  # [K, T, R]
        class_ap = np.where(positives == 0, np.nan, sampled.mean(axis=2).T)
    else:
        class_ap = exact_class_ap(
            matched.outcome_codes(), layout.class_offsets, positives, rules.average
        )
    return EvaluatedArrays(
        precision.transpose(3, 4, 0, 1, 2),
        recall.transpose(3, 0, 1, 2),
        scores.transpose(3, 4, 0, 1, 2),
        class_ap,
        positives,
        np.bincount(dt.label, minlength=num_classes) if use_classes else np.array([len(dt.label)]),
        matched,
    )


def exact_class_ap(
    ranked: np.ndarray,  # [T, C] outcomes in the class order
    class_offsets: np.ndarray,  # [K + 1]
    positives: np.ndarray,  # [K]
    method: str,
) -> np.ndarray:
    """AP [T, K] from every point of each class's curve, not from sampled recalls."""
    class_ap = np.full((len(ranked), len(positives)), np.nan)
    for k, (begin, end) in enumerate(pairwise(class_offsets)):
        if positives[k] == 0:
            continue
        outcome = ranked[:, begin:end]
        tp, fp = np.cumsum(outcome == 1, axis=1), np.cumsum(outcome == 0, axis=1)
        precision = tp / np.maximum(tp + fp, 1)  # 0 before the first detection that counts
        class_ap[:, k] = average_curves(tp / positives[k], precision, method)
    return class_ap
