"""What a detection evaluation found, and how it reads."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline._text import shortened
from sightline.metrics.detection._evidence import Evidence
from sightline.metrics.detection._results_text import class_table, voc_table
from sightline.metrics.detection.kernels import mean_of_cells
from sightline.metrics.detection.weighted_ap import threshold_weighted_ap

if TYPE_CHECKING:
    # What looks into a result is loaded when it is asked for: a process that wants twelve numbers
    # starts in 162 ms instead of 185.
    from sightline.metrics.detection.calibration import Calibration
    from sightline.metrics.detection.confidence import ConfidenceIntervals
    from sightline.metrics.detection.curves import (
        BestF1,
        PrecisionRecallCurve,
        ScoreCurve,
        ScoreCurves,
    )
    from sightline.metrics.detection.error_breakdown import ErrorBreakdown

# What a number is the mean of: AP or AR, IoU (None: all), places in areas and caps.
Line = tuple[str, float | None, int, int]
# Of a line of the summary: AP or AR, IoU (None: all), area, place in max_detections.
_Line = tuple[str, float | None, str, int]
_LAST = 2
_AP = 3  # the last, too, but for pycocotools' fault
_BOX_LINES: tuple[_Line, ...] = (
    ("AP", None, "all", _AP),
    ("AP", 0.5, "all", _LAST),
    ("AP", 0.75, "all", _LAST),
    ("AP", None, "small", _LAST),
    ("AP", None, "medium", _LAST),
    ("AP", None, "large", _LAST),
    ("AR", None, "all", 0),
    ("AR", None, "all", 1),
    ("AR", None, "all", _LAST),
    ("AR", None, "small", _LAST),
    ("AR", None, "medium", _LAST),
    ("AR", None, "large", _LAST),
)
_KEYPOINT_LINES: tuple[_Line, ...] = tuple(
    (kind, iou, area, _LAST)
    for kind in ("AP", "AR")
    for iou, area in (
        (None, "all"),
        (0.5, "all"),
        (0.75, "all"),
        (None, "medium"),
        (None, "large"),
    )
)
STAT_NAMES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


@dataclass(frozen=True)
class ClassResult:
    """One class's numbers; NaN where it has no ground truth or the threshold was not evaluated."""

    class_id: int
    name: str
    ap: float  # mean over the IoU thresholds
    ap50: float
    ap75: float
    ar: float  # mean final recall over the IoU thresholds
    gt_count: int
    dt_count: int


@dataclass(frozen=True, repr=False)
class DetectionResults:
    """Results of `DetectionEvaluator.compute` and `evaluate_coco`.

    T IoU thresholds, R recalls, K classes, A areas, M caps on detections an image. The arrays
    are laid out as in pycocotools, with -1 where a class has no ground truth; the properties and
    `result["AP50"]` give NaN there. The VOC protocols have one area and no cap, so A = M = 1.

    A result holds on to the rows it was made from and to what matching found, 116 bytes a
    detection, because curves over the score, error breakdown, calibration and confidence intervals
    are made from them when they are asked for. `numbers_only()` is the result without them.
    """

    protocol: str
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    iou_thresholds: np.ndarray  # [T]
    recall_thresholds: np.ndarray  # [R]
    area_names: tuple[str, ...]
    max_detections: tuple[int, ...] | None
    precision: np.ndarray  # [T, R, K, A, M]
    recall: np.ndarray  # [T, K, A, M], final recall
    scores: np.ndarray  # [T, R, K, A, M]
    class_ap: np.ndarray  # [T, K], first area, last cap
    gt_count: np.ndarray  # [K]
    dt_count: np.ndarray  # [K]
    iou_type: str = "bbox"  # or "segm", "keypoints"
    parity: str = "corrected"  # or "pycocotools": its fault in `stats` and `summary`
    _evidence: Evidence | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line; `summary()` is the table."""
        numbers = ", ".join(f"{name} {self.named[name]:.4f}" for name in ("AP", "AP50", "AP75"))
        return (
            f"DetectionResults({self.protocol} {self.iou_type}: {numbers}; {len(self.class_ids):,} "
            f"classes, {self.gt_count.sum():,} objects, {self.dt_count.sum():,} detections)"
        )

    @cached_property
    def stats(self) -> np.ndarray:
        """Twelve numbers in pycocotools' order, ten for keypoints; -1: nothing to average.

        AP takes the last cap, the AR lines the first, second and last. Under pycocotools' parity
        the first number takes the cap 100, all of keypoints the cap 20, and is -1 where that is not
        among the caps. Under VOC only the first three are there: means over classes of AP at all
        thresholds, at .5 and at .75.
        """
        if self.protocol == "coco":
            return np.array([self._coco_stat(*line) for line in self._lines()])
        values = np.full(12, -1.0)
        values[:3] = np.nan_to_num([self.ap, self.ap50, self.ap75], nan=-1.0)
        return values

    @cached_property
    def named(self) -> dict[str, float]:
        """Every number by its name; NaN where there is nothing to average.

        The twelve are `STAT_NAMES`, the ten of keypoints AP AP50 AP75 AP_medium AP_large AR AR50
        AR75 AR_medium AR_large; other areas and caps have names of their own, as AP_tiny and
        AR_300. Under VOC AP, AP50 and AP75. `threshold_weighted_ap` comes last.
        """
        named = {name: self._mean(*line) for name, line in self.lines().items()}
        return {**named, "threshold_weighted_ap": self.threshold_weighted_ap}

    def lines(self) -> dict[str, Line]:
        """What each name but the last of `named` is the mean of."""
        last_cap = len(self.max_detections or (0,)) - 1
        areas = list(enumerate(self.area_names))[1:]
        lines = self._lines_of("AP", last_cap)
        if self.protocol != "coco":
            return lines
        lines |= {f"AP_{name}": ("AP", None, i, last_cap) for i, name in areas}
        if self.iou_type == "keypoints":
            lines |= self._lines_of("AR", last_cap)
        else:
            caps = enumerate(self.max_detections or ())
            lines |= {f"AR_{cap}": ("AR", None, 0, m) for m, cap in caps}
        return {**lines, **{f"AR_{name}": ("AR", None, i, last_cap) for i, name in areas}}

    def _lines_of(self, kind: str, cap: int) -> dict[str, Line]:
        ious = {"": None, "50": 0.5, "75": 0.75}
        return {f"{kind}{name}": (kind, iou, 0, cap) for name, iou in ious.items()}

    def __getitem__(self, name: str) -> float:
        """One number of `named`."""
        if name not in self.named:
            raise KeyError(f"{name!r} is none of {', '.join(self.named)}")
        return self.named[name]

    @property
    def ap(self) -> float:
        """Mean AP over IoU thresholds and the classes that have ground truth."""
        return self._mean("AP")

    @property
    def ap50(self) -> float:
        """Mean AP at IoU .5; NaN if .5 was not evaluated."""
        return self._mean("AP", 0.5)

    @property
    def ap75(self) -> float:
        """Mean AP at IoU .75; NaN if .75 was not evaluated."""
        return self._mean("AP", 0.75)

    @property
    def threshold_weighted_ap(self) -> float:
        """Mean over classes of AP, each IoU threshold weighted by itself."""
        means = np.array([_nan_mean(row) for row in self.class_ap])
        return threshold_weighted_ap(means, self.iou_thresholds)

    @property
    def per_class(self) -> tuple[ClassResult, ...]:
        """A row for each class, in the order of labels."""
        at_50, at_75 = self._at_threshold(0.5), self._at_threshold(0.75)
        final_recall = np.where(self.recall < 0, np.nan, self.recall)[:, :, 0, -1]
        return tuple(
            ClassResult(
                class_id=class_id,
                name=self.class_names[k],
                ap=float(np.mean(self.class_ap[:, k])),
                ap50=_nan_mean(at_50[:, k]),
                ap75=_nan_mean(at_75[:, k]),
                ar=float(np.mean(final_recall[:, k])),
                gt_count=int(self.gt_count[k]),
                dt_count=int(self.dt_count[k]),
            )
            for k, class_id in enumerate(self.class_ids)
        )

    def curve(
        self, class_index: int | None, *, iou_threshold: float = 0.5
    ) -> "PrecisionRecallCurve":
        """The precision-recall curve of one class, or the mean over classes, for plots.

        Args:
            class_index: row of the class; None for the mean precision of the classes that have
                ground truth at each recall. Its mean is AP at that threshold. A mean has no score:
                NaN.
            iou_threshold: one of `iou_thresholds`.

        Raises:
            ValueError: a threshold that was not evaluated, or no ground truth.
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
        if self.gt_count[class_index] == 0:
            raise ValueError(f"class {self.class_names[class_index]!r} has no ground truth")
        at = (slice(None), class_index)
        return PrecisionRecallCurve(self.recall_thresholds, precision[at], scores[at])

    def score_curve(
        self, class_index: int | None = None, *, iou_threshold: float = 0.5
    ) -> "ScoreCurve":
        """Precision, recall and F1 of the detections of at least each score.

        Args:
            class_index: row of the class; None counts the detections of all classes together.
            iou_threshold: any in (0, 1].
        """
        curves = self.score_curves(iou_threshold=iou_threshold)
        return curves.pooled() if class_index is None else curves.of_class(class_index)

    def score_curves(self, *, iou_threshold: float = 0.5) -> "ScoreCurves":
        """What `score_curve` draws on, for the curves of many classes: matched once."""
        from sightline.metrics.detection.confusion import check_threshold
        from sightline.metrics.detection.curves import ScoreCurves

        check_threshold(iou_threshold)
        return ScoreCurves(self.evidence(), iou_threshold)

    def best_f1(self, *, iou_threshold: float = 0.5) -> "BestF1":
        """The score threshold of the largest F1, for each class and for all together.

        Exact: every score that occurs is tried, not only those at the sampled recalls. Matching is
        that of the protocol, so detections on crowds count neither way.

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
        """The score threshold that a wanted recall or precision takes.

        `score_curve(class_index).at(recall=...)` says what else is reached there.

        Args:
            class_index: row of the class; None counts the detections of all classes together.
            recall: at least it, in (0, 1], by the highest threshold that does, so the fewest boxes.
            precision: at least it, by the lowest threshold that does, so the most objects found;
                a threshold above it may reach less.
            iou_threshold: any in (0, 1].

        Raises:
            ValueError: both or neither are given, no objects, or out of reach; says what can be
                reached.

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
        self, *, iou_threshold: float = 0.5, score_threshold: float = 0.25
    ) -> np.ndarray:
        """Counts int64 [K + 1, K + 1] of (true class, detected class), the background last.

        The rule is that of `detection_confusion_matrix`: detections of at least `score_threshold`
        and objects are paired one to one whatever their class, the largest overlap first.
        """
        from sightline.metrics.detection.confusion import check_threshold, confusion_of_pairs

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

        A false positive is, the first that fits:

        - localisation: its largest overlap with an object of its class is at least
          `background_threshold` and less than `iou_threshold`;
        - classification: it overlaps an object of another class by at least `iou_threshold`;
        - duplicate: it overlaps one of its class that much, which a better detection took;
        - background: it overlaps no object by more than `background_threshold`;
        - both: another class, and too little overlap.

        A localisation error aims at the object of its class that it overlaps most, a classification
        error at that of the other classes. An object not found is missed, unless such an error aims
        at it.

        A kind's cost is the AP at `iou_threshold` with the kind mended, less the AP there is. Of
        the localisation (classification) errors that aim at an object not found, the best becomes
        a true positive (of the object's class); all others of the kind are removed, as are all
        duplicates, background detections and boths. Missed objects are taken from the count of
        objects. "false positives" is the cost of all of them together, "false negatives" that of
        all objects not found. A class that is left without objects leaves the mean.

        These are the rules of TIDE (Bolya et al., ECCV 2020) on COCO's matching; docs/metrics/
        analysis.md says where the two differ.

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
        """Scores against the share of true positives among the detections that have them.

        Detections that count (not those on crowds) are put into bins of equal width by their score.
        The detection expected calibration error (Kueppers et al., CVPR workshops 2020, by score
        alone) is the mean over detections of the gap between the mean score of a bin and the share
        of true positives in it, the maximum calibration error the largest gap. LaECE (Oksuz et
        al., CVPR 2023) lets a true positive count as much as it overlaps its object, and is the
        mean over classes.

        Args:
            iou_threshold: what a true positive overlaps, in (0, 1].
            score_threshold: detections below it are left out; most of a detector's detections have
                scores near 0, and rule the mean with them.
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
        from sightline.metrics.detection.confusion import check_threshold

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
        """Intervals of every number of `named` and of each class's AP, by resampling images.

        Images are drawn with replacement, as many as there are, and the detections are evaluated
        on each draw as if the images drawn were the data set (an image drawn twice is there
        twice). The replicates are moved so that their mean is the number itself, and the interval
        holds the middle `level` of them. They have to be moved: AP of classes with few objects
        grows when images repeat, by a quarter of the interval's width with 40 such classes.

        The interval is about the mean of the number over other test sets of as many images of the
        same kind, for this detector. Training again moves the number too, which no interval from
        one result can tell. In simulations of 50 to 400 images and 1 to 40 classes, 93 to 95 % of
        the 95 % intervals held that mean (84 to 94 % without moving). Draws in which a number does
        not exist are left out of its interval.

        To judge two detectors use `compare`: their own intervals may overlap widely where one is
        better on nearly every draw.

        Args:
            level: share of the replicates inside, between 0 and 1.
            replicates: number of draws.
            seed: of the draws; the same seed gives the same intervals.

        Raises:
            ValueError: no images, an argument outside its range, a result without its rows or of
                more than 16 IoU thresholds.
        """
        from sightline.metrics.detection.confidence import confidence_intervals

        return confidence_intervals(self, level=level, replicates=replicates, seed=seed)

    def evidence(self) -> Evidence:
        """The rows the result was made from; for this package's own use."""
        if self._evidence is None:
            raise ValueError("this result holds numbers only; evaluate again and keep the result")
        return self._evidence

    def numbers_only(self) -> "DetectionResults":
        """The result without the rows it was made from: arrays and numbers remain."""
        return replace(self, _evidence=None)

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON, without the arrays; None where a value does not exist."""
        return {
            "protocol": self.protocol,
            "stats": self.stats.tolist(),
            "metrics": {name: _nan_to_none(value) for name, value in self.named.items()},
            "ap": _nan_to_none(self.ap),
            "ap50": _nan_to_none(self.ap50),
            "ap75": _nan_to_none(self.ap75),
            "threshold_weighted_ap": _nan_to_none(self.threshold_weighted_ap),
            "iou_thresholds": self.iou_thresholds.tolist(),
            "per_class": [
                {key: _nan_to_none(value) for key, value in vars(row).items()}
                for row in self.per_class
            ],
        }

    def summary(self) -> str:
        """The table that readers of COCO results know, or VOC's AP by class."""
        if self.protocol == "coco":
            return "\n".join(
                self._coco_line(value, *line) for value, line in zip(self.stats, self._lines())
            )
        return voc_table(self)

    def per_class_summary(self) -> str:
        """A table of the classes, as text; "-" where a number does not exist.

        F1 is the best at IoU .5, "at score" its threshold; without the rows they are not there.
        """
        return class_table(self)

    def _lines(self) -> tuple[_Line, ...]:
        return _KEYPOINT_LINES if self.iou_type == "keypoints" else _BOX_LINES

    def _cap(self, place: int) -> int | None:
        """Index in max_detections: AP and area lines take the last, AR the first and second."""
        assert self.max_detections is not None
        last = len(self.max_detections) - 1
        if self.parity == "pycocotools":
            fixed = self._fixed_cap(place)
            if fixed is not None:
                return self.max_detections.index(fixed) if fixed in self.max_detections else None
            return place if place <= last else None
        return last if place in (_LAST, _AP) else place if place < last else None

    def _fixed_cap(self, place: int) -> int | None:
        """The cap that pycocotools takes whatever the caps are."""
        if self.iou_type == "keypoints":
            return 20
        return 100 if place == _AP else None

    def _coco_stat(self, kind: str, iou: float | None, area: str, place: int) -> float:
        cap = self._cap(place)
        if area not in self.area_names or cap is None:
            return -1.0
        value = self._mean(kind, iou, self.area_names.index(area), cap)
        return -1.0 if np.isnan(value) else value

    def _mean(self, kind: str, iou: float | None = None, area: int = 0, cap: int = -1) -> float:
        if self.protocol != "coco":
            return _nan_mean(self.class_ap if iou is None else self._at_threshold(iou))
        values = self.precision if kind == "AP" else self.recall
        mean = mean_of_cells(values, self.thresholds_of(iou), area, cap % values.shape[-1])
        return float("nan") if mean == -1 else mean

    def thresholds_of(self, iou: float | None) -> slice:
        """Places in `iou_thresholds`: all, or that of one threshold, none if it is not there."""
        if iou is None:
            return slice(0, len(self.iou_thresholds))
        first = int(np.searchsorted(self.iou_thresholds, iou))
        return slice(first, first + int(iou in self.iou_thresholds))

    def _coco_line(self, value: float, kind: str, iou: float | None, area: str, place: int) -> str:
        assert self.max_detections is not None
        title = "Average Precision" if kind == "AP" else "Average Recall"
        first, last = self.iou_thresholds[0], self.iou_thresholds[-1]
        ious = f"{first:.2f}:{last:.2f}" if iou is None else f"{iou:.2f}"
        cap = self._cap(place)
        if cap is not None:
            cap_text = str(self.max_detections[cap])
        else:
            fixed = self._fixed_cap(place) if self.parity == "pycocotools" else None
            cap_text = "-" if fixed is None else str(fixed)
        return (
            f" {title:<18} ({kind}) @[ IoU={ious:<9} | area={area:>6} | "
            f"maxDets={cap_text:>3} ] = {value:0.3f}"
        )

    def _at_threshold(self, iou: float) -> np.ndarray:
        return self.class_ap[self.iou_thresholds == iou]


def _nan_mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
