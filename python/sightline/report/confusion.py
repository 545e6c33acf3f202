"""Confusion matrices: counts, and shares of each true class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.report.figure import INK, label, new_figure

__all__ = ["draw_confusion"]

# Above this many classes the numbers in the cells would be too small to read.
_MOST_NUMBERED = 25


def draw_confusion(
    counts: Sequence[Sequence[float]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    note: str | None = None,
) -> Any:
    """Counts [R, C] beside the share of each row, as a matplotlib figure.

    Of more than 25 rows only the shares are drawn, large. `note` stands below.

    Rows are the truth, columns the prediction. A row without objects has no share. For detection
    the last row and column are the background: boxes that found nothing, objects that were missed.
    """
    counts = np.asarray(counts, np.float64)
    if counts.shape != (len(rows), len(columns)):
        raise ValueError(
            f"`counts` must have shape [{len(rows)}, {len(columns)}], got {list(counts.shape)}"
        )
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    many = len(rows) > _MOST_NUMBERED
    side = 13.0 if many else min(9.0, 2.4 + 0.42 * len(rows))
    figure, axes = new_figure((1 if many else 2) * side + 0.6, side + 0.5, columns=1 if many else 2)
    slanted = max(map(len, columns), default=0) > 3
    panels = [("Counts", counts, "{:.0f}"), ("Share of the true class", shares, "{:.2f}")]
    for ax, (title, values, form) in zip(axes, panels[-len(axes) :], strict=True):
        # Counts are coloured by share too, or a common class would hide the rest.
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        ax.grid(False)
        ax.spines[:].set_visible(False)
        # labels of many classes need more room than 45 degrees leave them
        turned = {"rotation": 90 if many else 45, "ha": "right", "rotation_mode": "anchor"}
        turned |= {"va": "center"} if many else {}
        small = {"fontsize": max(4.0, min(9.0, 640 / len(rows)))} if many else {}
        ax.set_xticks(range(len(columns)), columns, **(turned if slanted or many else {}), **small)
        ax.set_yticks(range(len(rows)), rows, **small)
        label(ax, title, "predicted", "true")
        if not many:
            size = 9 if len(rows) <= 12 else 6.5
            for i, j in np.argwhere(counts > 0):
                color = "white" if shares[i, j] > 0.55 else INK
                text = form.format(values[i, j])
                text = "<.01" if text == "0.00" else text
                ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
    if note is not None:
        figure.supxlabel(note, fontsize=9, color=INK)
    return figure
