"""One figure that shows a data set: classes, objects per image, sizes of boxes and images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.data.stats import DatasetStats
from sightline.formats import LabelType
from sightline.report.figure import COLORS, count_axis, label, legend, new_figure, short_name

__all__ = ["draw_dataset"]

_MOST_CLASSES = 30
_MOST_DOTS = 5000
_WIDTH, _HEIGHT = 3.6, 3.8  # inches of one part


def draw_dataset(stats: Sequence[DatasetStats]) -> Any:
    """A figure of one or several splits, each in its own colour."""
    boxed = stats[0].label_type is LabelType.BOXES
    parts = [_draw_classes, _draw_image_sizes]
    if boxed:
        parts = [_draw_classes, _draw_objects, _draw_box_sizes, _draw_centres, _draw_image_sizes]
    figure, axes = new_figure(_WIDTH * len(parts), _HEIGHT, columns=len(parts))
    for draw, ax in zip(parts, axes, strict=True):
        draw(ax, stats)
    return figure


def _name(split: DatasetStats) -> str:
    return split.split or "all images"


def _draw_classes(ax: Any, stats: Sequence[DatasetStats]) -> None:
    totals = np.sum([[row.objects for row in split.classes] for split in stats], axis=0)
    order = np.argsort(-totals, kind="stable")[:_MOST_CLASSES][::-1]
    begin = np.zeros(len(order))
    for i, split in enumerate(stats):
        width = np.array([split.classes[row].objects for row in order])
        color = COLORS[i % len(COLORS)]
        ax.barh(range(len(order)), width, left=begin, color=color, label=_name(split), height=0.7)
        begin += width
    ax.set_yticks(range(len(order)), [short_name(stats[0].classes[row].name) for row in order])
    ax.grid(False, axis="y")
    count_axis(ax.xaxis)
    ax.tick_params(axis="x", labelrotation=30)
    hidden = len(totals) - len(order)
    title = f"Classes (the {len(order)} largest of {len(totals)})" if hidden else "Classes"
    boxed = stats[0].label_type is LabelType.BOXES
    label(ax, title, "objects" if boxed else "images", "")
    if len(stats) > 1:
        ax.set_ylim(-0.6 - 0.16 * len(order), len(order) - 0.4)  # room below the bars
        legend(ax, loc="lower right", ncols=len(stats), columnspacing=1)


def _draw_objects(ax: Any, stats: Sequence[DatasetStats]) -> None:
    most = max(int(split.objects.max(initial=0)) for split in stats)
    edges = np.unique(np.linspace(0, most + 1, min(40, most + 2)).round()) - 0.5
    counts = [split.objects for split in stats]
    colors = [COLORS[i % len(COLORS)] for i in range(len(stats))]
    ax.hist(counts, bins=edges, stacked=True, color=colors)
    count_axis(ax.yaxis)
    label(ax, "Objects per image", "objects", "images")


def _draw_box_sizes(ax: Any, stats: Sequence[DatasetStats]) -> None:
    for i, split in enumerate(stats):
        sides = (split.boxes[:, 2:] - split.boxes[:, :2])[:: _step(split)]
        ax.plot(*sides.T, ".", color=COLORS[i % len(COLORS)], ms=2.5, alpha=0.4)
    ax.set_xscale("log", subs=())
    ax.set_yscale("log", subs=())
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.set_major_formatter("{x:g}")
    label(ax, "Sizes of boxes", "width in pixels", "height in pixels")


def _draw_centres(ax: Any, stats: Sequence[DatasetStats]) -> None:
    shares = np.concatenate([split.shares for split in stats])
    x, y = (shares[:, 0] + shares[:, 2]) / 2, (shares[:, 1] + shares[:, 3]) / 2
    counts, _, _ = np.histogram2d(y, x, bins=24, range=((0, 1), (0, 1)))
    ax.imshow(counts, extent=(0, 1, 1, 0), cmap="Blues", aspect="auto")
    ax.grid(False)
    label(ax, "Centres of boxes", "share of the width", "share of the height")


def _draw_image_sizes(ax: Any, stats: Sequence[DatasetStats]) -> None:
    for i, split in enumerate(stats):
        sizes, counts = np.unique(split.sizes, axis=0, return_counts=True)
        area = 12 + 160 * counts / max(1, len(split.sizes))
        color = COLORS[i % len(COLORS)]
        ax.scatter(*sizes.T, s=area, color=color, alpha=0.5, linewidths=0, label=_name(split))
    ax.set_xlim(0)
    ax.set_ylim(0)
    label(ax, "Sizes of images", "width in pixels", "height in pixels")


def _step(split: DatasetStats) -> int:
    return max(1, len(split.boxes) // _MOST_DOTS)
