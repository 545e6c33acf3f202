"""The errors of a detector by kind, and their cost."""

from typing import Any

import numpy as np

from sightline.metrics import ErrorBreakdown
from sightline.report.figure import (
    COLORS,
    INK,
    count_axis,
    label,
    legend,
    new_figure,
    say,
    short_name,
)

__all__ = ["draw_error_breakdown"]

_MOST_CLASSES = 12


def draw_error_breakdown(breakdown: ErrorBreakdown) -> Any:
    """The AP that each kind of error costs, and the classes with the most errors by kind."""
    figure, (left, right) = new_figure(12.4, 4.6, columns=2)
    _draw_costs(left, breakdown)
    _draw_classes(right, breakdown)
    return figure


def _draw_costs(ax: Any, breakdown: ErrorBreakdown) -> None:
    names = list(breakdown.costs)[::-1]
    points = [100 * breakdown.costs[name] for name in names]
    colors = [_color(breakdown, name) for name in names]
    ax.barh(range(len(names)), points, color=colors, height=0.7)
    finite = [value for value in points if np.isfinite(value)]
    largest = max([1.0, *finite])
    for place, (name, value) in enumerate(zip(names, points)):
        # Correcting a kind may leave no class with objects, and so no AP.
        text = f" {value:.1f}" if np.isfinite(value) else " not defined"
        if name in breakdown.counts:
            text += f"   ({breakdown.counts[name]:,})"
        ax.text(value if value > 0 else 0, place, text, va="center", fontsize=8.5, color=INK)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlim(min([0, *finite]), 1.25 * largest)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(False, axis="y")
    title = f"Cost of errors: AP{100 * breakdown.iou_threshold:g} is {100 * breakdown.ap:.1f}"
    label(ax, title, "AP points gained if all of them were corrected (number of errors)", "")


def _draw_classes(ax: Any, breakdown: ErrorBreakdown) -> None:
    totals = np.sum(list(breakdown.class_counts.values()), axis=0)
    order = np.argsort(-totals, kind="stable")[:_MOST_CLASSES]
    order = order[totals[order] > 0][::-1]
    begin = np.zeros(len(order))
    for kind, by_class in breakdown.class_counts.items():
        width = by_class[order]
        ax.barh(range(len(order)), width, left=begin, color=_color(breakdown, kind), label=kind)
        begin = begin + width
    ax.set_yticks(range(len(order)), [short_name(breakdown.class_names[k]) for k in order])
    ax.grid(False, axis="y")
    shown = "" if len(order) == np.sum(totals > 0) else f": the {len(order)} with the most"
    label(ax, f"Errors by class{shown}", "number of errors", "")
    count_axis(ax.xaxis)
    ax.set_xlim(0, 1.05 * max(1, totals.max(initial=0)))
    # a few bars do not fill the height
    ax.set_ylim(len(order) - max(8, len(order)) - 0.6, len(order) - 0.4)
    if len(order):
        legend(ax, loc="center left", bbox_to_anchor=(1.01, 0.5))
    else:
        say(ax, "no errors")


def _color(breakdown: ErrorBreakdown, name: str) -> str:
    kinds = list(breakdown.counts)
    return COLORS[kinds.index(name)] if name in kinds else COLORS[-1]
