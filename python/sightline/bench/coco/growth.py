"""How time and memory grow with the number of images, and their picture."""

from collections.abc import Sequence
from pathlib import Path

from ..outcome import OURS, Outcome
from ..plot import Panel, Points
from ..plot import draw as draw_panels
from .benchmark import VAL, CocoBenchmark

_IMAGES = (500, 1_500, 5_000, 15_000, 50_000)


def benchmarks(*, quick: bool = False) -> tuple[CocoBenchmark, ...]:
    """Whole processes on sets of one density of objects and detections."""
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
    """Lowest time and peak memory over images, beside a straight line of ours."""
    seconds: dict[str, dict[int, float]] = {}
    peaks: dict[str, dict[int, float]] = {}
    for outcome in outcomes:
        images = outcome.benchmark.recipe.images
        for name, times in outcome.times.items():
            seconds.setdefault(name, {})[images] = times.lowest
            peaks.setdefault(name, {})[images] = outcome.peaks[name] / 1e6
    panels = [
        Panel(label, series, "linear from first to last", _line(series.get(OURS, {})))
        for label, series in (("seconds", seconds), ("peak MB", peaks))
    ]
    title = "COCO boxes, two json files to twelve numbers, whole processes"
    draw_panels(panels, path, sizes="images", title=title, inches=(11, 4.5))


def _line(points: Points) -> Points:
    """Through both ends: what the start takes, and so much per image."""
    if len(points) < 2:
        return {}
    first, last = min(points), max(points)
    slope = (points[last] - points[first]) / (last - first)
    return {n: points[first] + slope * (n - first) for n in points}
