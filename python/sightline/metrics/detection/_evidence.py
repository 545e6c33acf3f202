"""The rows behind an evaluation, kept so that its result can be analysed later."""

from dataclasses import dataclass, replace

import numpy as np

from sightline.metrics.detection.evaluate import exact_class_ap, lay_out
from sightline.metrics.detection.kernels import accumulate_sorted, match_masks, taken_objects
from sightline.metrics.detection.overlaps import given_overlap_of_pairs, given_pairs
from sightline.metrics.detection.pairs import Pairs, overlap_of_pairs, overlapping_pairs
from sightline.metrics.detection.rows import FlatDetections, FlatTargets, Matched, Overlaps, Rules


@dataclass(frozen=True)
class Matches:
    """The outcome of each row at one IoU threshold, in the first area range, with the last cap."""

    outcome: np.ndarray  # [N] int8: 1 true positive, 0 false positive, -1 ignored or above the cap
    gt_row: np.ndarray  # [N] int64: row of the object that was matched, -1 for none
    gt_counts: np.ndarray  # [M] bool: whether a detector has to find the object


@dataclass(frozen=True)
class Evidence:
    """The rows of an evaluation, in the order that breaks ties, and the outcome of matching.

    The rows take 56 bytes per detection and 58 per object; the arrays are those that were
    evaluated, not copies. The outcome of matching takes 60 bytes per detection with four area
    ranges.
    """

    matched: Matched
    num_classes: int
    use_classes: bool
    overlaps: Overlaps | None = None  # of masks or keypoints, instead of the IoU of boxes

    @property
    def dt(self) -> FlatDetections:
        return self.matched.dt

    @property
    def gt(self) -> FlatTargets:
        return self.matched.gt

    @property
    def rules(self) -> Rules:
        return self.matched.rules

    @property
    def num_images(self) -> int:
        return self.matched.num_images

    @property
    def dt_class(self) -> np.ndarray:
        return self.dt.label if self.use_classes else np.zeros_like(self.dt.label)

    @property
    def gt_class(self) -> np.ndarray:
        return self.gt.label if self.use_classes else np.zeros_like(self.gt.label)

    @property
    def gt_counts(self) -> np.ndarray:
        """Whether a detector has to find the object, bool [M]."""
        return self.matched.gt_counted[0]

    @property
    def positives(self) -> np.ndarray:
        """Number of objects to find, per class [K]."""
        return np.bincount(self.gt_class[self.gt_counts], minlength=self.num_classes)

    def outcome(self, iou_threshold: float) -> np.ndarray:
        """`Matches.outcome` at any threshold, evaluated before or not."""
        matched = self.matched
        at = np.flatnonzero(self.rules.iou_thresholds == iou_threshold)
        if len(at):
            codes = matched.outcome_codes()[at[0]]
        else:
            layout = matched.layout
            given = None if self.overlaps is None else self.overlaps(layout)
            rules = replace(self.rules, area_ranges=self.rules.area_ranges[:1])
            threshold = np.array([iou_threshold], np.float64)
            masks = match_masks(self.dt, self.gt, layout, rules, threshold, given)
            codes = replace(
                matched, rules=replace(rules, iou_thresholds=threshold), outcome=(masks,)
            ).outcome_codes()[0]
        by_row = np.full(len(self.dt.scores), -1, np.int8)
        by_row[matched.layout.class_rows] = codes
        return by_row

    def match(self, iou_threshold: float) -> Matches:
        """Match at any threshold, and note which object each detection matched."""
        outcome = self.outcome(iou_threshold)
        layout = self.matched.layout
        index = taken_objects(
            self.dt,
            self.gt,
            layout,
            replace(self.rules, area_ranges=self.rules.area_ranges[:1]),
            np.array([iou_threshold], np.float64),
            None if self.overlaps is None else self.overlaps(layout),
        )
        taken = np.full(len(outcome), -1, np.int64)
        taken[layout.dt_rows] = np.append(layout.gt_rows, -1)[index[0, 0]]
        return Matches(outcome, np.where(outcome == 1, taken, -1), self.gt_counts)

    def pairs(self, at_least: float) -> Pairs:
        """Detections and objects of the same image, of any classes, that overlap `at_least`."""
        dt, gt = self.dt, self.gt
        if self.overlaps is not None:  # groups are images
            layout = lay_out(dt, gt, 1, num_images=self.num_images, use_classes=False)
            return given_pairs(self.overlaps, layout, at_least=at_least)
        boxes = (dt.image, dt.boxes_xywh, gt.image, gt.boxes_xywh, self._region)
        return overlapping_pairs(*boxes, at_least=at_least, inclusive=self.rules.inclusive)

    def overlap_of(self, dt_rows: np.ndarray, gt_rows: np.ndarray) -> np.ndarray:
        """Overlap [P] of the detections and objects of each pair."""
        if self.overlaps is not None:
            return given_overlap_of_pairs(self.overlaps, dt_rows, gt_rows)
        boxes = (self.dt.boxes_xywh, self.gt.boxes_xywh, self._region, dt_rows, gt_rows)
        return overlap_of_pairs(*boxes, inclusive=self.rules.inclusive)

    @property
    def _region(self) -> np.ndarray:
        """Objects over which the share of the detection counts, bool [M]."""
        crowd = self.gt.crowd
        return crowd if self.rules.matching == "coco" else np.zeros_like(crowd)

    def rank(self, rows: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Rows of detections by class, best first; equal scores by image, then as given.

        `label` [N] is the class of every detection, which may differ from its own.
        """
        place = (rows,) if self.use_classes else (rows, self.dt.label[rows])
        best_first = (*place, self.dt.image[rows], 0.0 - self.dt.scores[rows])
        return rows[np.lexsort((*best_first, label[rows]))]

    def average_precision(
        self, ranked: np.ndarray, label: np.ndarray, found: np.ndarray, positives: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """AP [K] of detections ordered by `rank`, and its mean over the classes with objects.

        `found` [N] says which detections are true positives. Both equal those of the evaluation,
        the mean to the last bit, and are NaN without objects.
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
        sampled = precision[0, :, :, 0, 0]
        class_ap = np.where(positives == 0, np.nan, np.ascontiguousarray(sampled.T).mean(axis=1))
        return class_ap, _mean(sampled[sampled > -1])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
