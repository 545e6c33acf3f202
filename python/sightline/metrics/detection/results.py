"""The results of a detection evaluation, and their text forms."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sightline._text import shortened
from sightline.metrics.detection._tables import class_table
from sightline.metrics.detection.confusion import (
    SCORE_THRESHOLD,
    check_threshold,
    confusion_of_pairs,
)
from sightline.metrics.detection.numbers import DetectionNumbers

if TYPE_CHECKING:
    # Modules that analyse a result are loaded when first used: a process that needs only the twelve
    # numbers starts in 162 ms instead of 185.
    from sightline.metrics.detection.calibration import Calibration
    from sightline.metrics.detection.confidence import ConfidenceIntervals
    from sightline.metrics.detection.curves import (
        BestF1,
        PrecisionRecallCurve,
        ScoreCurve,
        ScoreCurves,
    )
    from sightline.metrics.detection.error_breakdown import ErrorBreakdown


@dataclass(frozen=True, repr=False)
class DetectionResults(DetectionNumbers):
    """Results of `DetectionEvaluator.compute` and `evaluate_coco`.

    T IoU thresholds, R recalls, K classes, A areas, M caps on detections per image. The arrays
    are laid out as in pycocotools, with -1 where a class has no ground truth; the properties and
    `result["AP50"]` give NaN there. The VOC protocols have one area and no cap, so A = M = 1.

    A result keeps the evaluated rows and the outcome of matching, 116 bytes per detection, because
    score curves, error breakdown, calibration and confidence intervals are computed from them on
    demand. `numbers_only()` is the result without them.
    """

    def __repr__(self) -> str:
        """One line; `summary()` is the table."""
        numbers = ", ".join(f"{name} {self.named[name]:.4f}" for name in ("AP", "AP50", "AP75"))
        return (
            f"DetectionResults({self.protocol} {self.iou_type}: {numbers}; {len(self.class_ids):,} "
            f"classes, {self.gt_count.sum():,} objects, {self.dt_count.sum():,} detections)"
        )

    def numbers_only(self) -> "DetectionResults":
        """The result without the evaluated rows: arrays and numbers remain."""
        return replace(self, _evidence=None)

    def per_class_summary(self) -> str:
        """A table of the classes, as text; "-" where a number is undefined.

        F1 is the best one at IoU .5, and "at score" its threshold; both need the evaluated rows.
        """
        columns = ["objects", "detections", "AP", "AP50", "AP75", "AR"]
        rows: list[list[float]] = [
            [row.gt_count, row.dt_count, row.ap, row.ap50, row.ap75, row.ar]
            for row in self.per_class
        ]
        if self._evidence is not None:
            columns += ["F1", "at score"]
            points = self.best_f1().per_class
            rows = [[*row, point.f1, point.threshold] for row, point in zip(rows, points)]
        return class_table(self.class_names, columns, rows)

    def curve(
        self, class_index: int | None, *, iou_threshold: float = 0.5
    ) -> "PrecisionRecallCurve":
        """The precision-recall curve of one class, or the mean over classes, for plots.

        Args:
            class_index: index of the class; None for the mean precision at each recall over the
                classes that have ground truth. The mean of that curve is AP at the threshold, and
                its scores are NaN.
            iou_threshold: one of `iou_thresholds`.

        Raises:
            ValueError: a threshold that was not evaluated, an index out of range, or no ground
                truth.
            TypeError: a class that is not given by its index, such as by its name.
        """
        from sightline.metrics.detection.curves import PrecisionRecallCurve

        rows = np.flatnonzero(self.iou_thresholds == iou_threshold)
        if not len(rows):
            raise ValueError(
                f"`iou_threshold` must be one of {self.iou_thresholds.tolist()}, "
                f"got {iou_threshold}"
            )
        precision, scores = (x[rows[0], :, :, 0, -1] for x in (self.precision, self.scores))
        if class_index is None:
            present = self.gt_count > 0
            if not present.any():
                raise ValueError("no class has ground truth")
            mean = precision[:, present].mean(axis=1)
            return PrecisionRecallCurve(self.recall_thresholds, mean, np.full(len(mean), np.nan))
        self._check_class(class_index)
        if self.gt_count[class_index] == 0:
            raise ValueError(f"class {self.class_names[class_index]!r} has no ground truth")
        at = (slice(None), class_index)
        return PrecisionRecallCurve(self.recall_thresholds, precision[at], scores[at])

    def score_curve(
        self, class_index: int | None = None, *, iou_threshold: float = 0.5
    ) -> "ScoreCurve":
        """Precision, recall and F1 with every occurring score as the threshold.

        Args:
            class_index: index of the class; None counts the detections of all classes together.
            iou_threshold: any value in (0, 1].

        Raises:
            ValueError: an index out of range.
            TypeError: a class that is not given by its index, such as by its name.
        """
        if class_index is not None:
            self._check_class(class_index)
        curves = self.score_curves(iou_threshold=iou_threshold)
        return curves.pooled() if class_index is None else curves.of_class(class_index)

    def _check_class(self, row: int) -> None:
        if not isinstance(row, int | np.integer) or isinstance(row, bool):
            raise TypeError(
                f"`class_index` must be the index of a class in `class_names` or None, "
                f"got {row!r}; for a name pass class_names.index(name)"
            )
        if not 0 <= row < len(self.class_names):
            raise ValueError(
                f"`class_index` must be in 0 ... {len(self.class_names) - 1}, got {row}"
            )

    def score_curves(self, *, iou_threshold: float = 0.5) -> "ScoreCurves":
        """The data of `score_curve` for all classes, from one matching."""
        from sightline.metrics.detection.curves import ScoreCurves

        check_threshold(iou_threshold)
        return ScoreCurves(self.evidence(), iou_threshold)

    def best_f1(self, *, iou_threshold: float = 0.5) -> "BestF1":
        """The score threshold with the largest F1, per class and for all classes together.

        It is exact: every score that occurs is tried, not only those at the sampled recalls.
        Matching is that of the protocol, so detections on crowds are ignored.

        Example:
            >>> from sightline.metrics import DetectionEvaluator
            >>> evaluator = DetectionEvaluator(class_names=["cat"])
            >>> evaluator.update(
            ...     1,
            ...     {"boxes": [[0, 0, 9, 9], [8, 0, 9, 9]], "scores": [0.8, 0.3], "labels": [0, 0]},
            ...     {"boxes": [[0, 0, 9, 9]], "labels": [0]},
            ... )
            >>> evaluator.compute().best_f1().per_class[0]
            OperatingPoint(threshold=0.8, precision=1.0, recall=1.0, f1=1.0)
        """
        from sightline.metrics.detection.curves import BestF1

        curves = self.score_curves(iou_threshold=iou_threshold)
        return BestF1(iou_threshold, curves.pooled().best(), curves.best_of_classes())

    def threshold_for(
        self,
        class_index: int | None = None,
        *,
        recall: float | None = None,
        precision: float | None = None,
        iou_threshold: float = 0.5,
    ) -> float:
        """The score threshold that reaches a given recall or precision.

        `score_curve(class_index).at(recall=...)` also gives the precision, recall and F1 there.

        Args:
            class_index: index of the class; None counts the detections of all classes together.
            recall: in (0, 1]; returns the highest threshold that reaches it, so the fewest boxes.
            precision: in (0, 1]; returns the lowest threshold that reaches it, so that the most
                objects are found; a higher threshold may reach less.
            iou_threshold: any value in (0, 1].

        Raises:
            ValueError: both or neither are given, there are no objects, or no threshold reaches
                it; the message says what can be reached.

        Example:
            >>> from sightline.metrics import DetectionEvaluator
            >>> evaluator = DetectionEvaluator(class_names=["cat"])
            >>> boxes = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]
            >>> evaluator.update(
            ...     1,
            ...     {"boxes": boxes, "scores": [0.9, 0.8, 0.3], "labels": [0, 0, 0]},
            ...     {"boxes": [boxes[0], boxes[2]], "labels": [0, 0]},
            ... )
            >>> result = evaluator.compute()
            >>> result.threshold_for(recall=0.9), result.threshold_for(precision=0.9)
            (0.3, 0.9)
        """
        curve = self.score_curve(class_index, iou_threshold=iou_threshold)
        try:
            return curve.at(recall=recall, precision=precision).threshold
        except ValueError as error:
            if class_index is None:
                raise
            name = shortened(self.class_names[class_index])
            raise ValueError(f"class {name!r}: {error}") from None

    def confusion_matrix(
        self, *, iou_threshold: float = 0.5, score_threshold: float = SCORE_THRESHOLD
    ) -> np.ndarray:
        """Counts int64 [K + 1, K + 1] of (true class, detected class), with background last.

        The rule is that of `detection_confusion_matrix`: objects and detections with a score of at
        least `score_threshold` are paired one to one regardless of class, largest overlap first.
        """
        evidence = self.evidence()
        check_threshold(iou_threshold)
        pairs = evidence.pairs(iou_threshold)
        kept = evidence.dt.scores >= score_threshold
        rows = np.cumsum(kept) - 1
        pairs = pairs.where(np.flatnonzero(kept[pairs.dt_row]))
        return confusion_of_pairs(
            replace(pairs, dt_row=rows[pairs.dt_row]),
            dt_scores=evidence.dt.scores[kept],
            dt_labels=evidence.dt_class[kept],
            gt_labels=evidence.gt_class,
            gt_counts=~(evidence.gt.crowd | evidence.gt.ignore),
            num_classes=evidence.num_classes,
        )

    def error_breakdown(
        self, *, iou_threshold: float = 0.5, background_threshold: float = 0.1
    ) -> "ErrorBreakdown":
        """Errors by kind, and the AP that each kind costs.

        A false positive is of the first kind that fits:

        - localisation: its largest overlap with an object of its class is at least
          `background_threshold` and less than `iou_threshold`;
        - classification: it overlaps an object of another class by at least `iou_threshold`;
        - duplicate: it overlaps an object of its class by at least `iou_threshold`, but a better
          detection has matched that object;
        - background: it overlaps no object by more than `background_threshold`;
        - both: another class, and too little overlap.

        A localisation error is aimed at the object of its class with the largest overlap, a
        classification error at that of the other classes. An object that is not found counts as
        missed, unless such an error is aimed at it.

        The cost of a kind is the AP at `iou_threshold` with the kind corrected, minus the AP. Among
        the localisation (classification) errors that are aimed at an object that is not found, the
        best one becomes a true positive (of the object's class). All others of the kind are
        removed, as are all errors of the kinds duplicate, background and both. Missed objects are
        subtracted from the count of objects. "false positives" is the cost of all false positives
        together, "false negatives" that of all objects not found. A class that is left without
        objects is left out of the mean.

        These are the rules of TIDE (Bolya et al., ECCV 2020) applied to COCO's matching;
        docs/metrics/analysis.md says where the two differ.

        Raises:
            ValueError: not 0 < `background_threshold` < `iou_threshold` <= 1.
        """
        from sightline.metrics.detection.error_breakdown import break_down_errors

        return break_down_errors(
            self.evidence(),
            self.class_names,
            iou_threshold=iou_threshold,
            background_threshold=background_threshold,
        )

    def calibration(
        self, *, iou_threshold: float = 0.5, score_threshold: float = 0.0, num_bins: int = 10
    ) -> "Calibration":
        """Compare scores with the share of true positives among the detections that have them.

        Detections that count (not those on crowds) are put into bins of equal width by their score.
        The detection expected calibration error (Kueppers et al., CVPR workshops 2020, by score
        alone) is the mean over detections of the gap between the mean score of a bin and its share
        of true positives; the maximum calibration error is the largest gap. In LaECE (Oksuz et
        al., CVPR 2023), a true positive counts by its overlap with the object, and the error is
        the mean over classes.

        Args:
            iou_threshold: overlap of a true positive, in (0, 1].
            score_threshold: detections with a lower score are left out; most detections of a
                detector have scores near 0 and would dominate the mean.
            num_bins: bins between 0 and 1.

        Raises:
            ValueError: a score outside 0 ... 1.

        Example:
            >>> from sightline.metrics import DetectionEvaluator
            >>> evaluator = DetectionEvaluator(class_names=["cat"])
            >>> boxes = [[0, 0, 9, 9], [20, 0, 29, 9]]
            >>> evaluator.update(
            ...     1,
            ...     {"boxes": boxes, "scores": [0.75, 0.75], "labels": [0, 0]},
            ...     {"boxes": boxes[:1], "labels": [0]},
            ... )
            >>> evaluator.compute().calibration().expected_error  # half of them are right
            0.25
        """
        from sightline.metrics.detection.calibration import calibrate

        check_threshold(iou_threshold)
        return calibrate(
            self.evidence(),
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            num_bins=num_bins,
        )

    def confidence_interval(
        self, *, level: float = 0.95, replicates: int = 1000, seed: int = 0
    ) -> "ConfidenceIntervals":
        """Confidence intervals of every number of `named` and of each class's AP, by bootstrap.

        Images are drawn with replacement, as many as there are, and the detections are evaluated on
        each draw as if it were the data set (an image drawn twice is in it twice). The replicates
        are shifted so that their mean is the number itself, and the interval contains the middle
        `level` of them. The shift is needed because the AP of classes with few objects grows when
        images repeat, by a quarter of the interval's width with 40 such classes.

        The interval refers to the mean of the number over other test sets of as many images of the
        same kind, for this detector. Training again changes the number too, which an interval from
        one result cannot show. In simulations of 50 to 400 images and 1 to 40 classes, 93 to 95 %
        of the 95 % intervals contained that mean (84 to 94 % without the shift). Draws in which a
        number is undefined are left out of its interval.

        To compare two detectors use `compare`: their own intervals may overlap widely even where
        one is better on nearly every draw.

        Args:
            level: share of the replicates inside the interval, between 0 and 1.
            replicates: number of draws.
            seed: seed of the draws; the same seed gives the same intervals.

        Raises:
            ValueError: no images, an argument outside its range, or a result without its rows or
                with more than 16 IoU thresholds.
        """
        from sightline.metrics.detection.confidence import confidence_intervals

        return confidence_intervals(self, level=level, replicates=replicates, seed=seed)
