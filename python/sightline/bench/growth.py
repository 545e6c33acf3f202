"""How `nms` grows with the number of boxes: benchmarks of one density, and their picture."""

from functools import partial
from math import log10, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from .inputs import IMAGE, sparse
from .work import Work

if TYPE_CHECKING:
    from .run import Outcome

_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_DENSITY = 1_000 / IMAGE**2  # boxes a pixel
_QUADRATIC_UP_TO = 30_000  # peers would take minutes beyond


def _work(n: int) -> Work:
    return Work(
        f"nms {n:,} at one density",
        "nms",
        partial(sparse, n, image=sqrt(n / _DENSITY)),
        limit="sort",
        without=("torch",) if n <= _QUADRATIC_UP_TO else ("torch", "torchvision"),
        long=n > 100_000,
    )


_BOXES = {_work(n): n for n in _SIZES}
WORKS = tuple(_BOXES)


def draw(outcomes: list["Outcome"], path: Path) -> None:
    """Time over the number of boxes, both by decades, beside N log N through the first point.

    Raises ValueError where fewer than two of the benchmarks were run.
    """
    found = {n: o for n, o in ((_BOXES.get(o.work), o) for o in outcomes) if n is not None}
    if len(found) < 2:
        raise ValueError("--plot draws the suite growth: add `growth` and leave out --only")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'sightline[plots]'") from error
    sizes = sorted(found)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.loglog(sizes, [found[n].ours.median for n in sizes], "o-", label="sightline")
    for peer in sorted({name for o in found.values() for name in o.peers}):
        own = [n for n in sizes if peer in found[n].peers]
        axes.loglog(own, [found[n].peers[peer].median for n in own], "s-", label=peer)
    first = found[sizes[0]].ours.median / (sizes[0] * log10(sizes[0]))
    axes.loglog(sizes, [first * n * log10(n) for n in sizes], "k:", label="N log N")
    axes.set(xlabel="boxes", ylabel="seconds", title="nms of sparse boxes, one density")
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])  # what was measured
    axes.set_xticks([], minor=True)
    axes.grid(which="both", alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=120)
