"""From rows and settings to a result, for the evaluator and the evaluation of files."""

from typing import Any

from sightline.metrics.detection._evidence import Evidence
from sightline.metrics.detection.evaluate import evaluate
from sightline.metrics.detection.overlaps import no_overlaps
from sightline.metrics.detection.results import DetectionResults
from sightline.metrics.detection.rows import FlatDetections, FlatTargets, Overlaps
from sightline.metrics.detection.settings import Settings


def compute_results(
    settings: Settings,
    dt: FlatDetections,
    gt: FlatTargets,
    *,
    num_images: int,
    class_ids: tuple[int, ...],
    class_names: tuple[str, ...],
    overlaps: Overlaps | None = None,
) -> DetectionResults:
    """Evaluate rows; `image` is in 0 ... num_images - 1.

    `overlaps`, of masks or keypoints, replaces the IoU of boxes.
    """
    use_classes = settings.use_classes
    num_classes = len(class_ids) if use_classes else 1
    if settings.iou_type == "keypoints" and not use_classes and settings.parity == "pycocotools":
        overlaps = no_overlaps
    arrays = evaluate(
        dt,
        gt,
        num_classes,
        settings.rules,
        num_images=num_images,
        use_classes=use_classes,
        overlaps=overlaps,
    )
    evidence = Evidence(arrays.matched, num_classes, use_classes, overlaps)
    return results_from(settings, arrays, evidence, class_ids, class_names)


def results_from(
    settings: Settings,
    arrays: Any,  # EvaluatedArrays, or those of tensors
    evidence: Evidence,
    class_ids: tuple[int, ...],
    class_names: tuple[str, ...],
) -> DetectionResults:
    """The result of arrays that were evaluated with these settings."""
    rules, use_classes = settings.rules, settings.use_classes
    return DetectionResults(
        protocol=settings.protocol,
        class_ids=class_ids if use_classes else (-1,),
        class_names=class_names if use_classes else ("all classes",),
        iou_thresholds=rules.iou_thresholds,
        recall_thresholds=rules.recall_thresholds,
        area_names=tuple(settings.area_ranges),
        max_detections=rules.max_detections,
        precision=arrays.precision,
        recall=arrays.recall,
        scores=arrays.scores,
        class_ap=arrays.class_ap,
        gt_count=arrays.gt_count,
        dt_count=arrays.dt_count,
        iou_type=settings.iou_type,
        parity=settings.parity,
        _evidence=evidence,
    )
