"""Metrics of classification and detection, on arrays; nothing here needs torch."""

from sightline.metrics.coco import evaluate_coco
from sightline.metrics.detection import COCO_AREA_RANGES, DetectionEvaluator
from sightline.metrics.detection_results import (
    STAT_NAMES,
    ClassResult,
    DetectionResults,
    PrecisionRecallCurve,
    threshold_weighted_ap,
)

__all__ = [
    "COCO_AREA_RANGES",
    "STAT_NAMES",
    "ClassResult",
    "DetectionEvaluator",
    "DetectionResults",
    "PrecisionRecallCurve",
    "evaluate_coco",
    "threshold_weighted_ap",
]
