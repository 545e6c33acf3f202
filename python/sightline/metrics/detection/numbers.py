"""The arrays of a detection evaluation, and the numbers that are means of them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sightline.metrics.detection._evidence import Evidence
from sightline.metrics.detection._tables import voc_table
from sightline.metrics.detection.kernels import mean_of_cells
from sightline.metrics.detection.weighted_ap import threshold_weighted_ap

# What a number is the mean of: AP or AR, IoU (None: all), indices of area range and cap.
Line = tuple[str, float | None, int, int]
# A line of the summary: AP or AR, IoU (None: all), area, index into max_detections.
_Line = tuple[str, float | None, str, int]
_LAST = 2
_AP = 3  # equals _LAST, except under pycocotools' fault
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
# Of keypoints, for AP and again for AR: IoU threshold, or their mean, and area.
KEYPOINT_CUTS = ((None, "all"), (0.5, "all"), (0.75, "all"), (None, "medium"), (None, "large"))
_KEYPOINT_LINES: tuple[_Line, ...] = tuple(
    (kind, iou, area, _LAST) for kind in ("AP", "AR") for iou, area in KEYPOINT_CUTS
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
    """Numbers of one class; NaN where it has no ground truth or the threshold was not evaluated."""

    class_id: int
    name: str
    ap: float  # mean over the IoU thresholds
    ap50: float
    ap75: float
    ar: float  # mean final recall over the IoU thresholds
    gt_count: int
    dt_count: int


@dataclass(frozen=True, repr=False)
class DetectionNumbers:
    """The arrays of `DetectionResults`; everything else is computed from them when needed."""

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
    parity: str = "corrected"  # or "pycocotools": with its fault in `stats` and `summary`
    _evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @cached_property
    def stats(self) -> np.ndarray:
        """The twelve numbers in pycocotools' order, ten for keypoints; -1 if there is no value.

        AP uses the last cap on detections, AR the first, second and last. With pycocotools' parity
        the first number uses the cap 100, and for keypoints all use the cap 20, and are -1 where
        that is not among the caps. VOC has only the first three: means over classes of AP at all
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

        The twelve names are `STAT_NAMES`; those of keypoints are AP AP50 AP75 AP_medium AP_large AR
        AR50 AR75 AR_medium AR_large. Other areas and caps have their own names, such as AP_tiny
        and AR_300. VOC has AP, AP50 and AP75. `threshold_weighted_ap` comes last.
        """
        named = {name: self._mean(*line) for name, line in self.lines().items()}
        return {**named, "threshold_weighted_ap": self.threshold_weighted_ap}

    def lines(self) -> dict[str, Line]:
        """For each name of `named` but the last, what it is the mean of."""
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
            raise KeyError(f"{name!r} is not one of {', '.join(self.named)}")
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
        """Mean over classes of AP, with each IoU threshold as its own weight."""
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

    def evidence(self) -> Evidence:
        """The rows behind the result; for use within this package."""
        if self._evidence is None:
            raise ValueError("this result holds numbers only; evaluate again and keep the result")
        return self._evidence

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
        """The table that COCO's own evaluation prints, or VOC's AP by class."""
        if self.protocol == "coco":
            return "\n".join(
                self._coco_line(value, *line) for value, line in zip(self.stats, self._lines())
            )
        rows = [(row.name, row.ap) for row in self.per_class]
        return voc_table(self.protocol, self.iou_thresholds, rows, self.ap)

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
        """The cap that pycocotools uses regardless of the settings."""
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
        """Slice of `iou_thresholds`: all, or that of one threshold, empty where it is missing."""
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
