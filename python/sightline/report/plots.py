"""The figures of one evaluation, as files."""

from pathlib import Path

import numpy as np

from sightline.metrics import DetectionResults
from sightline.report.confusion import draw_confusion
from sightline.report.error_bars import draw_error_breakdown
from sightline.report.f1 import draw_f1
from sightline.report.figure import png
from sightline.report.precision_recall import draw_precision_recall
from sightline.report.reliability import draw_reliability

__all__ = ["write_plots"]


def write_plots(
    result: DetectionResults, folder: str | Path, *, score_threshold: float | None = None
) -> list[Path]:
    """Draw an evaluation: precision and recall, F1, confusion matrix, errors, reliability.

    All are at IoU .5, or at the first evaluated threshold where .5 is not among them. Figures
    without data are left out: curves and errors without objects, and the reliability of scores that
    are not probabilities.

    Args:
        result: a result that still has its evaluated rows.
        folder: created where it does not exist; files of the same names are overwritten.
        score_threshold: detections with a lower score are not in the confusion matrix; None for the
            threshold of the best F1 over all classes.

    Returns:
        The PNG files written.

    Raises:
        ImportError: matplotlib is missing; says how to install it.
    """
    folder = Path(folder)
    thresholds = result.iou_thresholds
    iou_threshold = 0.5 if 0.5 in thresholds else float(thresholds[0])
    figures = {}
    if result.gt_count.any():
        figures["precision_recall.png"] = _precision_recall(result, iou_threshold)
        figures["f1.png"] = draw_f1(result, iou_threshold=iou_threshold)
        if iou_threshold > 0.1:
            breakdown = result.error_breakdown(iou_threshold=iou_threshold)
            figures["errors.png"] = draw_error_breakdown(breakdown)
    if score_threshold is None:
        best = result.best_f1(iou_threshold=iou_threshold).pooled.threshold
        score_threshold = 0.0 if np.isnan(best) else best
    counts = result.confusion_matrix(iou_threshold=iou_threshold, score_threshold=score_threshold)
    names = [*result.class_names, "background"]
    note = f"boxes with a score of at least {score_threshold:.3g}, IoU {iou_threshold:.3g}"
    figures["confusion_matrix.png"] = draw_confusion(counts, names, names, note=note)
    scores = result.evidence().dt.scores
    if len(scores) and scores.min() >= 0 and scores.max() <= 1:
        calibration = result.calibration(iou_threshold=iou_threshold)
        figures["reliability.png"] = draw_reliability(calibration)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / name)
        paths[-1].write_bytes(png(figure))
    return paths


def _precision_recall(result: DetectionResults, iou_threshold: float) -> object:
    at = np.flatnonzero(result.iou_thresholds == iou_threshold)[0]

    def curve(k: int | None, name: str, area: float) -> dict[str, object]:
        found = result.curve(k, iou_threshold=iou_threshold)
        return {"name": name, "recall": found.recall, "precision": found.precision, "AP50": area}

    class_ap = result.class_ap[at]
    classes = [
        curve(k, result.class_names[k], float(class_ap[k]))
        for k in np.flatnonzero(result.gt_count).tolist()
    ]
    mean = curve(None, "all classes", float(np.nanmean(class_ap)))
    return draw_precision_recall(classes, mean=mean, iou_threshold=iou_threshold)
