"""Curves over epochs, from the rows of results.csv."""

import math
from collections.abc import Sequence
from typing import Any

from sightline.report.figure import COLORS, INK, count_axis, label, legend, new_figure, say

__all__ = ["draw_losses", "draw_metrics", "draw_rate"]

Row = dict[str, float]

_SPLITS = (("train", COLORS[0], "training"), ("val", COLORS[1], "validation"))


def draw_losses(rows: Sequence[Row], *, best_epoch: int | None = None) -> Any:
    """Training and validation loss, and each of their terms, as a matplotlib figure."""
    names = _names(rows)
    terms = [n.removeprefix("train/") for n in names if n.startswith("train/")]
    panels = [t for t in terms if t == "loss" or len(terms) > 2]
    figure, axes = new_figure(max(6.0, 4.2 * len(panels)), 3.6, columns=len(panels))
    for ax, term in zip(axes, panels, strict=True):
        for split, color, text in _SPLITS:
            _line(ax, rows, f"{split}/{term}", color, text)
        title = "Loss (sum of terms)" if term == "loss" and len(panels) > 1 else _spoken(term)
        label(ax, title, "epoch", "loss")
        _finish(ax, rows, best_epoch)
    return figure


def draw_metrics(rows: Sequence[Row], *, best_epoch: int | None = None) -> Any | None:
    """Validation metrics over epochs; None where the run had none."""
    # With one label per image, all micro averages equal the accuracy: one line is enough.
    skipped = ("loss", "_micro")
    names = [n for n in _names(rows) if n.startswith("val/") and not n.endswith(skipped)]
    if not names:
        return None
    figure, (ax,) = new_figure(7.0, 3.8)
    styles = ("-", "--", ":")
    values = [row[name] for row in rows for name in names if math.isfinite(row.get(name, math.nan))]
    for i, name in enumerate(names):
        style = styles[i // len(COLORS) % len(styles)]
        _line(ax, rows, name, COLORS[i % len(COLORS)], name.removeprefix("val/"), style)
    shares = all(0 <= value <= 1 for value in values)
    if shares:
        ax.set_ylim(-0.02, 1.02)
    if not values:
        say(ax, "no epoch has a value")
    label(ax, "Validation metrics", "epoch", "value (1 is perfect)" if shares else "value")
    _finish(ax, rows, best_epoch, outside=True)
    return figure


def draw_rate(rows: Sequence[Row]) -> Any:
    """The learning rate at the start of each epoch."""
    figure, (ax,) = new_figure(6.0, 3.0)
    _line(ax, rows, "lr", COLORS[2], "learning rate")
    ax.set_ylim(bottom=0)
    label(ax, "Learning rate", "epoch", "rate")
    _whole_epochs(ax, rows)
    return figure


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _spoken(term: str) -> str:
    words = term.removesuffix("loss").replace("_", " ").strip()
    return f"{words.capitalize()} loss" if words else "Loss"


def _line(ax: Any, rows: Sequence[Row], name: str, color: str, text: str, style: str = "-") -> None:
    points = [(row["epoch"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    if points:
        # One epoch is one point, which a line alone would not show.
        marker = {"marker": "o", "ms": 4, "clip_on": False} if len(points) < 12 else {}
        ax.plot(*zip(*points), style, color=color, linewidth=1.8, label=text, **marker)


def _finish(ax: Any, rows: Sequence[Row], best_epoch: int | None, *, outside: bool = False) -> None:
    if best_epoch is not None:
        ax.axvline(best_epoch, color=INK, linewidth=0.9, linestyle=(0, (2, 3)), label="best epoch")
    place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if outside else {}
    legend(ax, **place)
    _whole_epochs(ax, rows)


def _whole_epochs(ax: Any, rows: Sequence[Row]) -> None:
    count_axis(ax.xaxis)
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    margin = 0.03 * (last - first) or 0.5  # one epoch stands in the middle
    ax.set_xlim(first - margin, last + margin)
