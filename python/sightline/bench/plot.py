"""How times grow, both axes by decades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .outcome import OURS

Points = Mapping[int, float]  # by size


@dataclass(frozen=True)
class Panel:
    """Points of each contender, ours among them, and a line to hold them against."""

    label: str
    series: Mapping[str, Points]
    guide_label: str
    guide: Points


def draw(
    panels: Sequence[Panel], path: Path, *, sizes: str, title: str, inches: tuple[float, float]
) -> None:
    """Side by side, over the sizes that were measured; `sizes` is what they count."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'sightline[plots]'") from error
    figure = Figure(figsize=inches, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for name, points in panel.series.items():
            axes.loglog(*zip(*points.items()), "o-" if name == OURS else "s-", label=name)
        if panel.guide:
            axes.loglog(*zip(*panel.guide.items()), "k:", label=panel.guide_label)
        measured = sorted({n for points in panel.series.values() for n in points})
        axes.set(xlabel=sizes, ylabel=panel.label)
        axes.set_xticks(measured, [f"{n:,}" for n in measured])
        axes.set_xticks([], minor=True)
        axes.grid(which="both", alpha=0.3)
        axes.legend(loc="upper left")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
