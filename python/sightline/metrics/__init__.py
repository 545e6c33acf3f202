"""Metrics for classification and detection, on arrays; nothing here needs torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.metrics.accuracy_evaluator import AccuracyEvaluator
    from sightline.metrics.classification import (
        PrecisionRecallF1,
        accuracy,
        confusion_matrix,
        precision_recall_f1,
        top_k_accuracy,
    )
    from sightline.metrics.coco.evaluate import evaluate_coco
    from sightline.metrics.detection.calibration import Calibration, Reliability
    from sightline.metrics.detection.confidence import (
        Comparison,
        ConfidenceIntervals,
        Difference,
        Interval,
        compare,
    )
    from sightline.metrics.detection.confusion import detection_confusion_matrix
    from sightline.metrics.detection.curves import (
        BestF1,
        OperatingPoint,
        PrecisionRecallCurve,
        ScoreCurve,
    )
    from sightline.metrics.detection.error_breakdown import ERROR_KINDS, ErrorBreakdown
    from sightline.metrics.detection.evaluator import DetectionEvaluator
    from sightline.metrics.detection.numbers import STAT_NAMES, ClassResult
    from sightline.metrics.detection.results import DetectionResults
    from sightline.metrics.detection.settings import COCO_AREA_RANGES
    from sightline.metrics.detection.weighted_ap import threshold_weighted_ap
    from sightline.metrics.shapes.keypoints import COCO_KEYPOINT_SIGMAS, keypoint_similarity
    from sightline.metrics.shapes.masks import (
        boxes_to_masks,
        compress_masks,
        decode_masks,
        encode_masks,
        mask_area,
        mask_boxes_xywh,
        mask_counts,
        mask_iou,
        merge_masks,
        polygons_to_masks,
    )

# The module of a name is loaded when the name is first used: a command that prints twelve numbers
# needs only half of the modules.
_NAMES_OF = {
    "detection.settings": ("COCO_AREA_RANGES",),
    "accuracy_evaluator": ("AccuracyEvaluator",),
    "detection.calibration": (
        "Calibration",
        "Reliability",
    ),
    "classification": (
        "PrecisionRecallF1",
        "accuracy",
        "confusion_matrix",
        "precision_recall_f1",
        "top_k_accuracy",
    ),
    "coco.evaluate": ("evaluate_coco",),
    "detection.confidence": (
        "Comparison",
        "ConfidenceIntervals",
        "Difference",
        "Interval",
        "compare",
    ),
    "detection.curves": (
        "BestF1",
        "OperatingPoint",
        "PrecisionRecallCurve",
        "ScoreCurve",
    ),
    "detection.evaluator": ("DetectionEvaluator",),
    "detection.confusion": ("detection_confusion_matrix",),
    "detection.numbers": (
        "STAT_NAMES",
        "ClassResult",
    ),
    "detection.results": ("DetectionResults",),
    "detection.error_breakdown": (
        "ERROR_KINDS",
        "ErrorBreakdown",
    ),
    "shapes.keypoints": (
        "COCO_KEYPOINT_SIGMAS",
        "keypoint_similarity",
    ),
    "shapes.masks": (
        "boxes_to_masks",
        "compress_masks",
        "decode_masks",
        "encode_masks",
        "mask_area",
        "mask_boxes_xywh",
        "mask_counts",
        "mask_iou",
        "merge_masks",
        "polygons_to_masks",
    ),
    "detection.weighted_ap": ("threshold_weighted_ap",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "COCO_AREA_RANGES",
    "COCO_KEYPOINT_SIGMAS",
    "ERROR_KINDS",
    "STAT_NAMES",
    "AccuracyEvaluator",
    "BestF1",
    "Calibration",
    "ClassResult",
    "Comparison",
    "ConfidenceIntervals",
    "DetectionEvaluator",
    "DetectionResults",
    "Difference",
    "ErrorBreakdown",
    "Interval",
    "OperatingPoint",
    "PrecisionRecallCurve",
    "PrecisionRecallF1",
    "Reliability",
    "ScoreCurve",
    "accuracy",
    "boxes_to_masks",
    "compare",
    "compress_masks",
    "confusion_matrix",
    "decode_masks",
    "detection_confusion_matrix",
    "encode_masks",
    "evaluate_coco",
    "keypoint_similarity",
    "mask_area",
    "mask_boxes_xywh",
    "mask_counts",
    "mask_iou",
    "merge_masks",
    "polygons_to_masks",
    "precision_recall_f1",
    "threshold_weighted_ap",
    "top_k_accuracy",
]
