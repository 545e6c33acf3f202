"""How time and memory grow with the number of images, and their picture."""

from pathlib import Path

from .run import OURS, Outcome
from .work import VAL, Work

_IMAGES = (500, 1_500, 5_000, 15_000, 50_000)


def works(*, quick: bool = False) -> tuple[Work, ...]:
    """Whole processes on sets of one density of objects and detections."""
    return tuple(
        Work(
            f"growth, {images:,} images",
            "process",
            VAL.times(images / VAL.images),
            contenders=("ultrafast", "hotcoco"),
            slow=(),
        )
        for images in (_IMAGES[:2] if quick else _IMAGES)
    )


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Lowest time and peak memory over images, by decades, beside a straight line of ours."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'sightline[plots]'") from error
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    images = [o.work.recipe.images for o in outcomes]
    names = [OURS, *(name for name in outcomes[0].times if name != OURS)]
    for axes, values, label in (
        (left, [{n: t.lowest for n, t in o.times.items()} for o in outcomes], "seconds"),
        (right, [{n: p / 1e6 for n, p in o.peaks.items()} for o in outcomes], "peak MB"),
    ):
        for name in names:
            own = [(i, v[name]) for i, v in zip(images, values) if name in v]
            axes.loglog(*zip(*own), "o-" if name == OURS else "s-", label=name)
        first, last = values[0].get(OURS), values[-1].get(OURS)
        if first and last:  # a line through both ends: what the start takes, and so much an image
            slope = (last - first) / (images[-1] - images[0])
            line = [first + slope * (i - images[0]) for i in images]
            axes.loglog(images, line, "k:", label="linear from first to last")
        axes.set(xlabel="images", ylabel=label)
        axes.set_xticks(images, [f"{n:,}" for n in images])  # what was measured
        axes.set_xticks([], minor=True)
        axes.grid(which="both", alpha=0.3)
        axes.legend(loc="upper left")
    figure.suptitle("COCO boxes, two json files to twelve numbers, whole processes")
    figure.savefig(path, dpi=120)
