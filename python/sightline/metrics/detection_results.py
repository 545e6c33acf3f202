"""What a detection evaluation found, and how it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

# The twelve numbers: AP or AR, IoU (None: all), area, place in max_detections.
_COCO_STATS: tuple[tuple[str, float | None, str, int], ...] = (
    ("AP", None, "all", 2),
    ("AP", 0.5, "all", 2),
    ("AP", 0.75, "all", 2),
    ("AP", None, "small", 2),
    ("AP", None, "medium", 2),
    ("AP", None, "large", 2),
    ("AR", None, "all", 0),
    ("AR", None, "all", 1),
    ("AR", None, "all", 2),
    ("AR", None, "small", 2),
    ("AR", None, "medium", 2),
    ("AR", None, "large", 2),
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


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and score at recalls 0, .01 ... 1, for one class and IoU threshold."""

    recall: np.ndarray  # [R]
    precision: np.ndarray  # [R], 0 beyond the final recall
    scores: np.ndarray  # [R], threshold of the score at that recall, 0 beyond


@dataclass(frozen=True)
class DetectionResults:
    """Results of `DetectionEvaluator.compute` and `evaluate_coco`.

    T IoU thresholds, R recalls, K classes, A areas, M caps on detections an image. The arrays
    are laid out as in pycocotools, with -1 where a class has no ground truth; the properties give
    NaN there. The VOC protocols have one area and no cap, so A = M = 1.
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

    @cached_property
    def stats(self) -> np.ndarray:
        """Twelve numbers [12] in pycocotools' order, -1 where there is nothing to average.

        AP takes the last cap, the AR lines the first, second and last. Under VOC only the first
        three are there: means over classes of AP at all thresholds, at .5 and at .75.
        """
        if self.protocol == "coco":
            return np.array([self._coco_stat(*stat) for stat in _COCO_STATS])
        values = np.full(12, -1.0)
        values[:3] = np.nan_to_num([self.ap, self.ap50, self.ap75], nan=-1.0)
        return values

    @property
    def ap(self) -> float:
        """Mean AP over IoU thresholds and the classes that have ground truth."""
        return _absent_to_nan(self.stats[0]) if self.protocol == "coco" else self._voc_ap(None)

    @property
    def ap50(self) -> float:
        """Mean AP at IoU .5; NaN if .5 was not evaluated."""
        return _absent_to_nan(self.stats[1]) if self.protocol == "coco" else self._voc_ap(0.5)

    @property
    def ap75(self) -> float:
        """Mean AP at IoU .75; NaN if .75 was not evaluated."""
        return _absent_to_nan(self.stats[2]) if self.protocol == "coco" else self._voc_ap(0.75)

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

    def curve(self, class_index: int, *, iou_threshold: float = 0.5) -> PrecisionRecallCurve:
        """The precision-recall curve of one class, for plots.

        Raises:
            ValueError: a threshold that was not evaluated, or a class without ground truth.
        """
        rows = np.flatnonzero(self.iou_thresholds == iou_threshold)
        if not len(rows):
            raise ValueError(
                f"`iou_threshold` must be one of {self.iou_thresholds.tolist()}, "
                f"got {iou_threshold}"
            )
        if self.gt_count[class_index] == 0:
            raise ValueError(f"class {self.class_names[class_index]!r} has no ground truth")
        at = (rows[0], slice(None), class_index, 0, -1)
        return PrecisionRecallCurve(self.recall_thresholds, self.precision[at], self.scores[at])

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON, without the arrays; None where a value does not exist."""
        return {
            "protocol": self.protocol,
            "stats": self.stats.tolist(),
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
                self._coco_line(value, *stat) for value, stat in zip(self.stats, _COCO_STATS)
            )
        rows = [*((row.name, row.ap) for row in self.per_class), ("mean over classes", self.ap)]
        thresholds = ", ".join(f"{t:.2f}" for t in self.iou_thresholds)
        method = "11-point" if self.protocol == "voc2007" else "all-point"
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {ap:.4f}" for name, ap in rows]
        return "\n".join([f"{self.protocol} AP ({method}), IoU {thresholds}", *lines])

    def _cap(self, place: int) -> int | None:
        """Index in max_detections: AP and area lines take the last, AR the first and second."""
        assert self.max_detections is not None
        last = len(self.max_detections) - 1
        return last if place == 2 else place if place < last else None

    def _coco_stat(self, kind: str, iou: float | None, area: str, place: int) -> float:
        cap = self._cap(place)
        if area not in self.area_names or cap is None:
            return -1.0
        values = self.precision if kind == "AP" else self.recall
        if iou is not None:
            values = values[self.iou_thresholds == iou]
        values = values[..., self.area_names.index(area), cap]
        values = values[values > -1]
        # NumPy's own mean: pairwise summation over these values in this order
        return float(np.mean(values)) if len(values) else -1.0

    def _coco_line(self, value: float, kind: str, iou: float | None, area: str, place: int) -> str:
        assert self.max_detections is not None
        title = "Average Precision" if kind == "AP" else "Average Recall"
        first, last = self.iou_thresholds[0], self.iou_thresholds[-1]
        ious = f"{first:.2f}:{last:.2f}" if iou is None else f"{iou:.2f}"
        cap = self._cap(place)
        cap_text = "-" if cap is None else str(self.max_detections[cap])
        return (
            f" {title:<18} ({kind}) @[ IoU={ious:<9} | area={area:>6} | "
            f"maxDets={cap_text:>3} ] = {value:0.3f}"
        )

    def _voc_ap(self, iou: float | None) -> float:
        return _nan_mean(self.class_ap if iou is None else self._at_threshold(iou))

    def _at_threshold(self, iou: float) -> np.ndarray:
        return self.class_ap[self.iou_thresholds == iou]


def threshold_weighted_ap(
    ap: Sequence[float] | np.ndarray, iou_thresholds: Sequence[float] | np.ndarray | None = None
) -> float:
    """AP averaged over IoU thresholds with the threshold as the weight.

    sum(t * AP_t) / sum(t), a definition of AP[.5:.05:.95] found in course notes; the plain mean is
    `DetectionResults.ap`.

    Args:
        ap: AP at each threshold, [T].
        iou_thresholds: [T], positive; by default .50, .55 ... .95, whose sum is 7.25.

    Returns:
        The weighted mean; NaN if an AP is NaN.

    Example:
        >>> round(threshold_weighted_ap([0.6, 0.3], [0.5, 0.75]), 6)
        0.42
    """
    values = np.asarray(ap, np.float64)
    weights = np.linspace(0.5, 0.95, 10) if iou_thresholds is None else np.asarray(iou_thresholds)
    if values.shape != weights.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"`ap` must have one value for each of {list(weights.shape)} thresholds, "
            f"got shape {list(values.shape)}"
        )
    if not np.all(weights > 0):
        raise ValueError(f"`iou_thresholds` must be positive, got {weights.tolist()}")
    return float((weights * values).sum() / weights.sum())


def _nan_mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _absent_to_nan(value: float) -> float:
    return float("nan") if value == -1 else float(value)


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
