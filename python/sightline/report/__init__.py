"""Figures of a run or an evaluation, and an HTML report of them."""

from typing import TYPE_CHECKING, Any

from sightline.data.draw import draw_classification, draw_detections
from sightline.report.confusion import draw_confusion
from sightline.report.curves import draw_losses, draw_metrics, draw_rate
from sightline.report.error_bars import draw_error_breakdown
from sightline.report.f1 import draw_f1
from sightline.report.plots import write_plots
from sightline.report.precision_recall import draw_precision_recall
from sightline.report.reliability import draw_reliability

if TYPE_CHECKING:
    from sightline.report.write import write_report


def __getattr__(name: str) -> Any:
    # Reports of runs need torch, figures of evaluations do not.
    if name == "write_report":
        from sightline.report.write import write_report

        return write_report
    raise AttributeError(f"module 'sightline.report' has no attribute {name!r}")


__all__ = [
    "draw_classification",
    "draw_confusion",
    "draw_detections",
    "draw_error_breakdown",
    "draw_f1",
    "draw_losses",
    "draw_metrics",
    "draw_precision_recall",
    "draw_rate",
    "draw_reliability",
    "write_plots",
    "write_report",
]
