"""Figures without global state and their style; the only module that uses matplotlib directly."""

import io
from typing import Any

from sightline._text import shortened
from sightline.data.draw import COLORS

__all__ = ["COLORS", "INK", "new_figure", "png", "short_name"]

INK = "#24292f"
_GRID = "#d8dee4"
_DPI = 130
_NAME_LENGTH = 24  # characters


def new_figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure of `width` x `height` inches, and its axes side by side.

    Raises:
        ImportError: matplotlib is missing; says how to install it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        from sightline.report._plain_figure import PlainFigure
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib, which is not installed: pip install 'sightline[plots]'"
        ) from error
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = PlainFigure(figsize=(width, height), dpi=_DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.grid(True, color=_GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.tick_params(colors=INK, labelsize=9, length=0)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_GRID)
    return figure, axes


def count_axis(axis: Any) -> None:
    """Ticks of an axis of counts: whole numbers, however few there are, with commas."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_major_formatter("{x:,.0f}")


def say(ax: Any, text: str) -> None:
    """Text in the middle of axes that are otherwise empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=INK)


def label(ax: Any, title: str, x: str, y: str) -> None:
    """Title and axis names in the style of all figures."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    ax.set_xlabel(x, fontsize=9, color=INK)
    ax.set_ylabel(y, fontsize=9, color=INK)


def legend(ax: Any, **options: Any) -> None:
    """A legend of the named lines, where there are any."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8.5, title_fontsize=8.5, labelcolor=INK, **options)


def short_name(name: str) -> str:
    """A name from data, shortened to fit a legend or an axis."""
    return shortened(name, _NAME_LENGTH)


def png(figure: Any) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
