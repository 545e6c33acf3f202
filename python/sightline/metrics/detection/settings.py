"""The settings of an evaluator: the defaults of the protocols, and checks of other values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline._text import quoted
from sightline.metrics.detection.kernels import MAX_MASK_AREAS
from sightline.metrics.detection.rows import Rules
from sightline.metrics.shapes.keypoints import COCO_KEYPOINT_SIGMAS

# COCO's areas in pixels: sides of 32 and 96 bound "medium", 1e5 stands for no bound.
COCO_AREA_RANGES = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
IOU_TYPES = ("bbox", "segm", "keypoints")
PARITIES = ("corrected", "pycocotools")
# method of `average_precision` by protocol; None takes the mean of COCO's 101 samples
AVERAGES = {"coco": None, "voc2007": "11point", "voc2010": "all"}


@dataclass(frozen=True)
class Settings:
    """Checked settings of an evaluation, with the protocol's defaults filled in."""

    protocol: str
    iou_type: str
    parity: str
    keypoint_sigmas: tuple[float, ...] | None
    class_names: tuple[str, ...] | None
    use_classes: bool
    area_ranges: dict[str, tuple[float, float]]
    rules: Rules

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `resolve_settings`, for JSON."""
        caps, sigmas, names = self.rules.max_detections, self.keypoint_sigmas, self.class_names
        return {
            "protocol": self.protocol,
            "iou_type": self.iou_type,
            "parity": self.parity,
            "keypoint_sigmas": None if sigmas is None else list(sigmas),
            "class_names": None if names is None else list(names),
            "iou_thresholds": self.rules.iou_thresholds.tolist(),
            "max_detections": None if caps is None else list(caps),
            "area_ranges": {name: list(bounds) for name, bounds in self.area_ranges.items()},
            "use_classes": self.use_classes,
            "inclusive_pixels": self.rules.inclusive,
        }


def resolve_settings(
    protocol: str = "coco",
    *,
    iou_type: str = "bbox",
    parity: str = "corrected",
    keypoint_sigmas: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    iou_thresholds: Sequence[float] | None = None,
    max_detections: Sequence[int] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    use_classes: bool = True,
    inclusive_pixels: bool | None = None,
) -> Settings:
    """The settings of an evaluation; the arguments are those of `DetectionEvaluator`.

    Raises:
        ValueError: an argument that does not apply to the protocol, or is outside its range.
    """
    if protocol not in AVERAGES:
        raise ValueError(f"`protocol` must be one of {sorted(AVERAGES)}, got {protocol!r}")
    if iou_type not in IOU_TYPES:
        raise ValueError(f"`iou_type` must be one of {IOU_TYPES}, got {iou_type!r}")
    if protocol != "coco" and iou_type != "bbox":
        raise ValueError(f"`iou_type` {iou_type!r} needs the coco protocol, got {protocol}")
    if parity not in PARITIES:
        raise ValueError(f"`parity` must be one of {PARITIES}, got {parity!r}")
    sigmas = resolve_keypoint_sigmas(iou_type, keypoint_sigmas)
    ranges = resolve_area_ranges(protocol, iou_type, area_ranges)
    return Settings(
        protocol=protocol,
        iou_type=iou_type,
        parity=parity,
        keypoint_sigmas=sigmas,
        class_names=None if class_names is None else tuple(class_names),
        use_classes=use_classes,
        area_ranges=ranges,
        rules=Rules(
            matching="coco" if protocol == "coco" else "voc",
            iou_thresholds=resolve_iou_thresholds(protocol, iou_thresholds),
            recall_thresholds=np.linspace(0.0, 1.0, 101),
            area_ranges=np.array(list(ranges.values()), np.float64),
            max_detections=resolve_max_detections(protocol, iou_type, max_detections),
            inclusive=resolve_inclusive(protocol, inclusive_pixels),
            average=AVERAGES[protocol],
        ),
    )


def resolve_iou_thresholds(protocol: str, thresholds: Sequence[float] | None) -> np.ndarray:
    if thresholds is None:
        # linspace, not .5 + .05 * i: the two differ in the last bit at .85 and .9
        return np.linspace(0.5, 0.95, 10) if protocol == "coco" else np.array([0.5])
    values = np.asarray(thresholds, np.float64)
    if values.ndim != 1 or not len(values) or not np.all((values > 0) & (values <= 1)):
        raise ValueError(
            f"`iou_thresholds` must be one or more numbers in (0, 1], got {quoted(thresholds)}"
        )
    if np.any(np.diff(values) <= 0):
        raise ValueError(f"`iou_thresholds` must ascend without repeats, got {quoted(thresholds)}")
    return values


def resolve_max_detections(
    protocol: str, iou_type: str, max_detections: Sequence[int] | None
) -> tuple[int, ...] | None:
    caps = None if max_detections is None else tuple(max_detections)
    if protocol != "coco":
        if caps is not None:
            raise ValueError(
                f"`max_detections` is for the coco protocol only: {protocol} counts every "
                f"detection, got {quoted(caps)}"
            )
        return None
    if caps is None:
        return (20,) if iou_type == "keypoints" else (1, 10, 100)
    if not caps or any(isinstance(c, bool) or int(c) != c or c < 1 for c in caps):
        raise ValueError(f"`max_detections` must be one or more integers >= 1, got {quoted(caps)}")
    return tuple(sorted(int(c) for c in caps))


def resolve_area_ranges(
    protocol: str, iou_type: str, ranges: Mapping[str, tuple[float, float]] | None
) -> dict[str, tuple[float, float]]:
    if protocol != "coco":
        if ranges is not None:
            raise ValueError(f"`area_ranges` is for the coco protocol only, got {protocol}")
        return {"all": (0.0, np.inf)}
    if ranges is None:
        no_small = iou_type == "keypoints"
        return {k: v for k, v in COCO_AREA_RANGES.items() if k != "small" or not no_small}
    if not 1 <= len(ranges) <= MAX_MASK_AREAS:
        raise ValueError(
            f"`area_ranges` must have 1 to {MAX_MASK_AREAS} entries, got {len(ranges)}"
        )
    for name, (low, high) in ranges.items():
        if not 0 <= low <= high:
            raise ValueError(
                f"`area_ranges` must hold 0 <= low <= high, got {name!r}: ({low}, {high})"
            )
    return dict(ranges)


def resolve_keypoint_sigmas(
    iou_type: str, sigmas: Sequence[float] | None
) -> tuple[float, ...] | None:
    if iou_type != "keypoints":
        if sigmas is not None:
            raise ValueError(f"`keypoint_sigmas` is for keypoints only, got {iou_type!r}")
        return None
    if sigmas is None:
        return tuple(COCO_KEYPOINT_SIGMAS.tolist())
    values = tuple(float(sigma) for sigma in sigmas)
    if not values or not all(0 < value < np.inf for value in values):
        raise ValueError(f"`keypoint_sigmas` must be positive numbers, got {quoted(sigmas)}")
    return values


def resolve_inclusive(protocol: str, inclusive: bool | None) -> bool:
    if protocol == "coco" and inclusive:
        raise ValueError(
            "`inclusive_pixels` is for the VOC protocols: sides of COCO boxes are x2 - x1"
        )
    return protocol != "coco" if inclusive is None else bool(inclusive)
