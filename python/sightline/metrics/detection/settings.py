"""What an evaluator's arguments mean: the protocols' own values, and checks of others."""

from collections.abc import Mapping, Sequence

import numpy as np

from sightline._text import quoted
from sightline.metrics.detection.kernels import MAX_MASK_AREAS
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
                f"`max_detections` is of the coco protocol only: {protocol} counts every "
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
            raise ValueError(f"`area_ranges` is of the coco protocol only, not of {protocol}")
        return {"all": (0.0, np.inf)}
    if ranges is None:
        no_small = iou_type == "keypoints"
        return {k: v for k, v in COCO_AREA_RANGES.items() if k != "small" or not no_small}
    if not 1 <= len(ranges) <= MAX_MASK_AREAS:
        raise ValueError(f"`area_ranges` must name 1 to {MAX_MASK_AREAS}, got {len(ranges)}")
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
            raise ValueError(f"`keypoint_sigmas` is of keypoints only, not of {iou_type!r}")
        return None
    if sigmas is None:
        return tuple(COCO_KEYPOINT_SIGMAS.tolist())
    values = tuple(float(sigma) for sigma in sigmas)
    if not values or not all(0 < value < np.inf for value in values):
        raise ValueError(f"`keypoint_sigmas` must be positive numbers, got {quoted(sigmas)}")
    return values


def resolve_inclusive(protocol: str, inclusive: bool | None) -> bool:
    if protocol == "coco" and inclusive:
        raise ValueError("`inclusive_pixels` is of the VOC protocols: COCO's sides are x2 - x1")
    return protocol != "coco" if inclusive is None else bool(inclusive)
