"""Confusion matrices as counts and as shares of each true class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.report.figure import INK, label, new_figure, short_name

__all__ = ["draw_confusion"]

# Above this many classes the numbers in the cells would be too small to read.
_MOST_NUMBERED = 25
_MOST_NAMED = 190
_LEAST_CELLS = 2.2  # inches, so that one class can be read
_CHARACTER = 0.085  # inches, at 9 points


def draw_confusion(
    counts: Sequence[Sequence[float]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    note: str | None = None,
) -> Any:
    """Draw counts [R, C] and, beside them, the shares of each row, as a matplotlib figure.

    With more than 25 rows only the shares are drawn, large. `note` is written below.

    Rows are the truth, columns the prediction. A row without objects has no shares. For detection
    the last row and column are the background: false alarms and missed objects.
    """
    counts = np.asarray(counts, np.float64)
    if counts.shape != (len(rows), len(columns)):
        raise ValueError(
            f"`counts` must have shape [{len(rows)}, {len(columns)}], got {list(counts.shape)}"
        )
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    many = len(rows) > _MOST_NUMBERED
    rows, columns = [short_name(name) for name in rows], [short_name(name) for name in columns]
    slanted = many or max(map(len, columns), default=0) > 3
    panels = 1 if many else 2
    cells = 11.5 if many else max(_LEAST_CELLS, min(9.0, 0.42 * len(rows)))
    beside = _CHARACTER * max(map(len, rows), default=0) + 0.8
    below = _CHARACTER * max(map(len, columns), default=0) * (0.75 if slanted else 0) + 1.1
    figure, axes = new_figure(panels * (cells + beside), cells + below, columns=panels)
    shown = [("Counts", counts, "{:.0f}"), ("Share of the true class", shares, "{:.2f}")]
    for ax, (title, values, form) in zip(axes, shown[-panels:], strict=True):
        # Counts are coloured by share too; otherwise a frequent class would hide the others.
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        ax.grid(False)
        ax.spines[:].set_visible(False)
        # at 45 degrees there is too little space for the labels of many classes
        turned = {"rotation": 90 if many else 45, "ha": "right", "rotation_mode": "anchor"}
        turned |= {"va": "center"} if many else {}
        small = {"fontsize": max(4.0, min(9.0, 640 / len(rows)))} if many else {}
        every = -(-len(rows) // _MOST_NAMED)  # with more, names would overlap
        for set_ticks, names, style in (
            (ax.set_xticks, columns, turned if slanted else {}),
            (ax.set_yticks, rows, {}),
        ):
            set_ticks(range(0, len(names), every), names[::every], **style, **small)
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
