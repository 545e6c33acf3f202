"""What a person sees of a run: pictures of its numbers, and one page that holds them."""

from sightline.report.confusion import draw_confusion
from sightline.report.curves import draw_losses, draw_metrics, draw_rate
from sightline.report.draw import draw_classification, draw_detections
from sightline.report.precision_recall import draw_precision_recall
from sightline.report.write import write_report

__all__ = [
    "draw_classification",
    "draw_confusion",
    "draw_detections",
    "draw_losses",
    "draw_metrics",
    "draw_precision_recall",
    "draw_rate",
    "write_report",
]
