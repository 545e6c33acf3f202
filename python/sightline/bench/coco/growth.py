"""How time and memory grow with the number of images: benchmarks and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import plot
from ..outcome import Outcome
from .benchmark import VAL, CocoBenchmark

_IMAGES = (500, 1_500, 5_000, 15_000, 50_000)


def benchmarks(*, quick: bool = False) -> tuple[CocoBenchmark, ...]:
    """Whole processes on data sets with the same numbers of objects and detections per image."""
    return tuple(
        CocoBenchmark(
            f"growth, {images:,} images",
            "process",
            VAL.times(images / VAL.images),
            contenders=("ultrafast", "hotcoco"),
            slow=(),
        )
        for images in (_IMAGES[:2] if quick else _IMAGES)
    )


def draw(outcomes: Sequence[Outcome[CocoBenchmark]], path: Path) -> None:
    """Lowest time and peak memory over the number of images, and a straight line through ours."""

    def line(ours: Mapping[int, float]) -> dict[int, float]:
        """Through both ends: a constant, and a cost per image."""
        first, last = min(ours), max(ours)
        slope = (ours[last] - ours[first]) / max(1, last - first)
        return {n: ours[first] + slope * (n - first) for n in ours}

    plot.draw(
        path,
        {o.benchmark.recipe.images: o for o in outcomes},
        {
            "seconds": lambda o: {name: times.lowest for name, times in o.times.items()},
            "peak MB": lambda o: {name: peak / 1e6 for name, peak in o.peaks.items()},
        },
        line,
        guide_name="linear from first to last",
        xlabel="images",
        title="COCO boxes, two json files to twelve numbers, whole processes",
    )
