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
) -> Any:
    """Counts [R, C] beside the share of each row, as a matplotlib figure.

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
    side = min(9.0, 2.4 + 0.42 * len(rows))
    figure, axes = new_figure(2 * side + 0.6, side + 0.5, columns=2)
    slanted = max(map(len, columns), default=0) > 3
    panels = (("Counts", counts, "{:.0f}"), ("Share of the true class", shares, "{:.2f}"))
    for ax, (title, values, form) in zip(axes, panels, strict=True):
        # Counts are coloured by share too, or a common class would hide the rest.
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        ax.set_xticks(range(len(columns)), columns, **turned)
        ax.set_yticks(range(len(rows)), rows)
        label(ax, title, "predicted", "true")
        if len(rows) <= _MOST_NUMBERED:
            size = 9 if len(rows) <= 12 else 6.5
            for i, j in np.argwhere(counts > 0):
                color = "white" if shares[i, j] > 0.55 else INK
                text = form.format(values[i, j])
                text = "<.01" if text == "0.00" else text
                ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
    return figure
