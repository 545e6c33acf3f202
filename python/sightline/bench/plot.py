"""Plots of how figures grow with size, on logarithmic axes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from .outcome import OURS, Outcome


def draw(
    path: Path,
    outcomes: Mapping[int, Outcome],
    panels: Mapping[str, Callable[[Outcome], Mapping[str, float]]],
    guide: Callable[[Mapping[int, float]], Mapping[int, float]],
    *,
    guide_name: str,
    xlabel: str,
    title: str,
) -> None:
    """One panel per kind of figure, over the sizes, with a line that `guide` computes from ours."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'sightline[plots]'") from error
    figure = Figure(figsize=(1 + 5.5 * len(panels), 5), layout="constrained")
    for i, (ylabel, figures) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        found = {n: figures(outcome) for n, outcome in sorted(outcomes.items())}
        for name in dict.fromkeys(name for own in found.values() for name in own):
            points = {n: own[name] for n, own in found.items() if name in own}
            axes.loglog(*zip(*points.items()), "o-" if name == OURS else "s-", label=name)
        ours = {n: own[OURS] for n, own in found.items() if OURS in own}
        if ours:
            axes.loglog(*zip(*guide(ours).items()), "k:", label=guide_name)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_xticks(list(found), [f"{n:,}" for n in found])  # the measured sizes
        axes.set_xticks([], minor=True)
        axes.grid(which="both", alpha=0.3)
        axes.legend(loc="upper left")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
