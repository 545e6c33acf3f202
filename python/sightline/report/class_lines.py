"""Lines of many classes in one figure: a few are distinguished, of many only the extremes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sightline.report.figure import COLORS, INK, legend, short_name

__all__ = ["ClassLine", "draw_class_lines"]

# As many as colours and dashes can distinguish and as fit into a legend beside the figure.
_MOST_NAMED = 24
_EXTREMES = 6
_LEAST_WIDTH = 5.2  # inches of the curves, beside whatever the legend takes
_CHARACTER = 0.075  # inches, at 8.5 points
_REST = "#b9c1c9"


@dataclass(frozen=True, eq=False)
class ClassLine:
    name: str
    x: Any  # [N]
    y: Any  # [N]
    value: float  # what the legend shows, NaN sorts last
    point: tuple[float, float] | None = None  # marked


def draw_class_lines(
    ax: Any,
    lines: Sequence[ClassLine],
    title: str,
    *,
    together: ClassLine | None = None,
    drawstyle: str = "default",
) -> None:
    """One line per class; above 24, the six best and six worst are named and the others grey.

    `together`, the line of all classes, is drawn thick and named first.
    """
    draw = partial(ax.plot, drawstyle=drawstyle)
    named = list(lines)
    if len(lines) > _MOST_NAMED:
        ranked = sorted(lines, key=lambda line: (line.value != line.value, -line.value))
        named = [*ranked[:_EXTREMES], *ranked[-_EXTREMES:]]
        rest = [line for line in lines if line not in named]
        for i, line in enumerate(rest):
            text = f"{len(rest)} others" if i == 0 else None
            draw(line.x, line.y, color=_REST, linewidth=0.6, alpha=0.8, label=text)
    styles = ("-", "--", ":")
    for i, line in enumerate(named):
        color = COLORS[i % len(COLORS)]
        style = styles[i // len(COLORS) % len(styles)]
        draw(line.x, line.y, style, color=color, linewidth=1.5, label=_text(line))
        if line.point is not None:
            ax.plot(*line.point, "o", color=color, ms=4)
    if together is not None:
        draw(together.x, together.y, color=INK, linewidth=2.8, label=_text(together))
        if together.point is not None:
            ax.plot(*together.point, "o", color=INK, ms=6)
    handles, texts = ax.get_legend_handles_labels()
    if not handles:
        return
    # the line of all classes first, the grey ones last
    order = sorted(range(len(texts)), key=lambda i: handles[i].get_color() == _REST)
    if together is not None:
        order.insert(0, order.pop(order.index(len(texts) - 1)))
    columns = 1 if len(order) <= 16 else 2
    beside = columns * (0.5 + _CHARACTER * max(map(len, texts)))
    figure = ax.get_figure()
    figure.set_figwidth(max(figure.get_figwidth(), _LEAST_WIDTH + beside))
    legend(
        ax,
        handles=[handles[i] for i in order],
        labels=[texts[i] for i in order],
        title=title,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        ncols=columns,
    )


def _text(line: ClassLine) -> str:
    return f"{short_name(line.name)}  {line.value:.3f}"
