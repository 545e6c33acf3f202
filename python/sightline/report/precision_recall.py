"""Precision over recall, one line per class."""

from collections.abc import Sequence
from typing import Any

from sightline.report.class_lines import ClassLine, draw_class_lines
from sightline.report.figure import label, new_figure

__all__ = ["draw_precision_recall"]


def draw_precision_recall(
    curves: Sequence[dict[str, Any]],
    *,
    mean: dict[str, Any] | None = None,
    iou_threshold: float = 0.5,
) -> Any:
    """Curves as a matplotlib figure; each has "name", "recall", "precision" and its area, "AP50".

    Args:
        curves: one per class.
        mean: the curve of all classes, drawn thick, with the area below it filled.
        iou_threshold: for the title.
    """
    figure, (ax,) = new_figure(7.4, 4.4)
    if mean is not None:
        ax.fill_between(mean["recall"], mean["precision"], color="#000000", alpha=0.06, linewidth=0)
    title = f"class  AP{100 * iou_threshold:g}"
    together = None if mean is None else _line(mean)
    draw_class_lines(ax, [_line(curve) for curve in curves], title, together=together)
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.03)
    text = f"{iou_threshold:.2f}".strip("0")
    label(ax, f"Precision and recall at IoU {text}", "recall", "precision")
    return figure


def _line(curve: dict[str, Any]) -> ClassLine:
    return ClassLine(curve["name"], curve["recall"], curve["precision"], curve["AP50"])
