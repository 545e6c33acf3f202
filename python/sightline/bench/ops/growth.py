"""How the time of `nms` grows with the number of boxes: benchmarks at one density, and a plot."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import log10, sqrt
from pathlib import Path

from .. import plot
from ..outcome import Outcome
from .benchmark import OpBenchmark
from .inputs import IMAGE, sparse

_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_DENSITY = 1_000 / IMAGE**2  # boxes per pixel
_QUADRATIC_UP_TO = 30_000  # with more, peers would take minutes


def _nms_of(n: int) -> OpBenchmark:
    return OpBenchmark(
        f"nms {n:,} at one density",
        "nms",
        partial(sparse, n, image=sqrt(n / _DENSITY)),
        limit="sort",
        without=("torch",) if n <= _QUADRATIC_UP_TO else ("torch", "torchvision"),
        long=n > 100_000,
    )


_BOXES = {_nms_of(n): n for n in _SIZES}
BENCHMARKS = tuple(_BOXES)


def check_drawn(benchmarks: Sequence[OpBenchmark]) -> None:
    """Raise ValueError if fewer than two of them belong to the plot."""
    if len(set(benchmarks) & set(BENCHMARKS)) < 2:
        raise ValueError("--plot needs the suite growth: add `growth` and leave out --only")


def draw(outcomes: Sequence[Outcome[OpBenchmark]], path: Path) -> None:
    """Time over the number of boxes, and N log N through the first point.

    Raises ValueError if fewer than two of the benchmarks were run.
    """
    check_drawn([outcome.benchmark for outcome in outcomes])

    def n_log_n(ours: Mapping[int, float]) -> dict[int, float]:
        first = min(ours)
        each = ours[first] / (first * log10(first))
        return {n: each * n * log10(n) for n in ours}

    plot.draw(
        path,
        {_BOXES[o.benchmark]: o for o in outcomes if o.benchmark in _BOXES},
        {"seconds": lambda o: {name: times.median for name, times in o.times.items()}},
        n_log_n,
        guide_name="N log N",
        xlabel="boxes",
        title="nms of sparse boxes, one density",
    )
