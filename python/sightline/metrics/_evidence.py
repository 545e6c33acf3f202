"""What an evaluation was made from, kept for the questions that are asked of its result later."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.metrics._evaluate import (
    FlatDetections,
    FlatTargets,
    Matched,
    Overlaps,
    Rules,
    exact_class_ap,
    lay_out,
)
from sightline.metrics._ops import accumulate_sorted, match_sorted
from sightline.metrics._overlaps import given_overlap_of_pairs, given_pairs
from sightline.metrics._pairs import Pairs, overlap_of_pairs, overlapping_pairs


@dataclass(frozen=True)
class Matches:
    """What became of each row at one IoU threshold, in the first area and under the last cap."""

    outcome: np.ndarray  # [N] int8: 1 true positive, 0 false positive, -1 ignored or above the cap
    gt_row: np.ndarray  # [N] int64: row of the object that was taken, -1 for none
    gt_counts: np.ndarray  # [M] bool: the object is one that a detector has to find


@dataclass(frozen=True)
class Groups:
    """Outcomes of every area and threshold by group, one for each class and image that has any.

    Groups go by class, then by image, and hold their best detection first.
    """

    outcome: np.ndarray  # [A, T, D] int8, as in `Matches`
    scores: np.ndarray  # [D]
    dt_offsets: np.ndarray  # [S + 1]
    class_offsets: np.ndarray  # [K + 1] at which group each class begins
    image: np.ndarray  # [S]
    gt_count: np.ndarray  # [A, S]


@dataclass(frozen=True)
class Evidence:
    """The rows of an evaluation and its rules: 56 bytes a detection, 58 an object.

    The arrays are those that were evaluated, not copies; everything else is made when asked for.
    """

    dt: FlatDetections
    gt: FlatTargets
    num_classes: int
    num_images: int
    rules: Rules
    use_classes: bool
    overlaps: Overlaps | None = None  # of masks or keypoints, in place of the IoU of boxes
    matched: Matched | None = None  # 60 bytes a detection with four area ranges

    @property
    def dt_class(self) -> np.ndarray:
        return self.dt.label if self.use_classes else np.zeros_like(self.dt.label)

    @property
    def gt_class(self) -> np.ndarray:
        return self.gt.label if self.use_classes else np.zeros_like(self.gt.label)

    def match(self, iou_threshold: float) -> Matches:
        """Match at any threshold, whether it was evaluated or not."""
        dt, gt, area_range = self.dt, self.gt, self.rules.area_ranges[:1]
        layout, outcome, _, index = self._match(np.array([iou_threshold], np.float64), area_range)
        by_row = np.full(len(dt.scores), -1, np.int8)
        by_row[layout.dt_rows] = outcome[0, 0]
        gt_row = np.full(len(dt.scores), -1, np.int64)
        gt_row[layout.dt_rows] = np.append(layout.gt_rows, -1)[index[0, 0]]
        low, high = area_range[0]
        counts = ~(gt.crowd | gt.ignore) & (gt.area >= low) & (gt.area <= high)
        return Matches(by_row, gt_row, counts)

    def pairs(self, at_least: float) -> Pairs:
        """Detections and objects of one image that overlap so much, of any classes."""
        dt, gt, rules = self.dt, self.gt, self.rules
        crowd = gt.crowd if rules.matching == "coco" else np.zeros_like(gt.crowd)
        if self.overlaps is not None:  # groups are images
            layout = lay_out(dt, gt, 1, num_images=self.num_images, use_classes=False)
            return given_pairs(self.overlaps, layout, at_least=at_least)
        boxes = (dt.image, dt.boxes_xywh, gt.image, gt.boxes_xywh)
        return overlapping_pairs(*boxes, crowd, at_least=at_least, inclusive=rules.inclusive)

    def overlap_of(self, dt_rows: np.ndarray, gt_rows: np.ndarray) -> np.ndarray:
        """Overlap [P] of the detections and objects of each pair."""
        dt, gt, rules = self.dt, self.gt, self.rules
        crowd = gt.crowd if rules.matching == "coco" else np.zeros_like(gt.crowd)
        if self.overlaps is not None:
            return given_overlap_of_pairs(self.overlaps, dt_rows, gt_rows)
        boxes = (dt.boxes_xywh, gt.boxes_xywh, crowd, dt_rows, gt_rows)
        return overlap_of_pairs(*boxes, inclusive=rules.inclusive)

    def groups(self) -> Groups:
        """Match at every threshold and area of the rules."""
        layout, outcome, gt_count, _ = self._match(
            self.rules.iou_thresholds, self.rules.area_ranges
        )
        image = np.zeros(len(layout.dt_offsets) - 1, np.int64)
        for rows, order, offsets in (
            (self.dt.image, layout.dt_rows, layout.dt_offsets),
            (self.gt.image, layout.gt_rows, layout.gt_offsets),
        ):
            filled = offsets[1:] > offsets[:-1]
            image[filled] = rows[order[offsets[:-1][filled]]]
        scores = self.dt.scores[layout.dt_rows]
        return Groups(outcome, scores, layout.dt_offsets, layout.class_groups, image, gt_count)

    def _match(self, iou_thresholds: np.ndarray, area_ranges: np.ndarray) -> tuple[Any, ...]:
        rules, dt, gt = self.rules, self.dt, self.gt
        cap = None if rules.max_detections is None else rules.max_detections[-1]
        layout = lay_out(
            dt,
            gt,
            self.num_classes,
            num_images=self.num_images,
            max_detections=cap,
            use_classes=self.use_classes,
        )
        dt_boxes = dt.boxes_xywh[layout.dt_rows]
        outcome, gt_count, gt_index = match_sorted(
            dt_boxes,
            layout.dt_offsets,
            gt.boxes_xywh[layout.gt_rows],
            gt.area[layout.gt_rows],
            gt.crowd[layout.gt_rows],
            gt.ignore[layout.gt_rows],
            layout.gt_offsets,
            iou_thresholds=iou_thresholds,
            area_ranges=area_ranges,
            max_detections=cap,
            rule=rules.matching,
            inclusive=rules.inclusive,
            return_index=True,
            dt_area=None if dt.area is None else dt.area[layout.dt_rows],
            overlaps=None if self.overlaps is None else self.overlaps(layout),
        )
        if gt.void is not None:
            void = np.append(gt.void[layout.gt_rows], False)[gt_index]
            area = dt_boxes[:, 2] * dt_boxes[:, 3] if dt.area is None else dt.area[layout.dt_rows]
            _unmatch(outcome, void, area, area_ranges)
        return layout, outcome, gt_count, gt_index

    def positives(self, matches: Matches) -> np.ndarray:
        """Objects to find, by class [K]."""
        return np.bincount(self.gt_class[matches.gt_counts], minlength=self.num_classes)

    def rank(self, rows: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Rows of detections by class, best first; equal scores by image, then as given.

        `label` [N] is the class of every detection, which may be another than its own.
        """
        place = (rows,) if self.use_classes else (rows, self.dt.label[rows])
        best_first = (*place, self.dt.image[rows], 0.0 - self.dt.scores[rows])
        return rows[np.lexsort((*best_first, label[rows]))]

    def average_precision(
        self, ranked: np.ndarray, label: np.ndarray, found: np.ndarray, positives: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """AP [K] of detections that `rank` ordered, and its mean over the classes with objects.

        `found` [N] says which detections are true positives. Both equal those of the evaluation bit
        for bit, and are NaN without objects.
        """
        class_rows = np.searchsorted(label[ranked], np.arange(self.num_classes + 1))
        outcome = found[ranked].astype(np.int8)[None, None]
        if self.rules.average is not None:
            class_ap = exact_class_ap(outcome[0], class_rows, positives, self.rules.average)[0]
            return class_ap, _mean(class_ap[~np.isnan(class_ap)])
        precision, _, _ = accumulate_sorted(
            outcome,
            self.dt.scores[ranked],
            np.arange(len(ranked)),
            np.zeros(len(ranked), np.int64),
            class_rows,
            positives[None],
            max_detections=(1,),
            recall_thresholds=self.rules.recall_thresholds,
        )
        sampled = precision[:, :, :, 0, 0]
        class_ap = np.where(sampled[:, 0] < 0, np.nan, sampled.mean(axis=1))[0]
        return class_ap, _mean(sampled[sampled > -1])


def _unmatch(
    outcome: np.ndarray, void: np.ndarray, area: np.ndarray, area_ranges: np.ndarray
) -> None:
    """Count matches with void ground truth as unmatched: false, or ignored outside the range."""
    low, high = area_ranges[:, :1], area_ranges[:, 1:]
    unmatched = np.where((area < low) | (area > high), -1, 0).astype(np.int8)[:, None, :]
    outcome[...] = np.where(void & (outcome == 1), unmatched, outcome)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
