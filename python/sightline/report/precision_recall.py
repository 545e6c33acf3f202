"""Precision over recall, one line a class."""

from collections.abc import Sequence
from typing import Any

from sightline.report.figure import COLORS, label, legend, new_figure

__all__ = ["draw_precision_recall"]

_MOST_NAMED = 24


def draw_precision_recall(curves: Sequence[dict[str, Any]]) -> Any:
    """Curves at IoU .5 as a matplotlib figure; each has "name", "recall", "precision", "AP50"."""
    figure, (ax,) = new_figure(6.6, 4.4)
    styles = ("-", "--", ":")
    for i, curve in enumerate(curves):
        ax.plot(
            curve["recall"],
            curve["precision"],
            styles[i // len(COLORS) % len(styles)],
            color=COLORS[i % len(COLORS)],
            linewidth=1.6,
            label=f"{curve['name']}  {curve['AP50']:.3f}",
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.03)
    label(ax, "Precision and recall at IoU .5", "recall", "precision")
    if curves and len(curves) <= _MOST_NAMED:
        columns = 1 if len(curves) <= 14 else 2
        legend(
            ax, title="class  AP50", loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns
        )
    return figure
