"""Numbers that describe a data set: its images, classes and boxes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import counted
from sightline.formats.records import Annotations, LabelType
from sightline.formats.table import RecordTable

__all__ = ["ClassStats", "DatasetStats", "dataset_stats"]

# COCO's limits between small, medium and large boxes, in pixels of the image.
_SMALL, _LARGE = 32**2, 96**2


@dataclass(frozen=True)
class ClassStats:
    """One class: its objects (for a set of classes, images), and the median side of its boxes."""

    name: str
    objects: int
    images: int
    side: float  # square root of the area in pixels; NaN without boxes


@dataclass(frozen=True, eq=False)
class DatasetStats:
    """A data set in numbers.

    Attributes:
        split: its name, or None.
        label_type: class or boxes.
        sizes: int64 [M, 2], width and height of each image.
        objects: int64 [M], objects of each image.
        boxes: float64 [N, 4], xyxy in pixels, as written.
        shares: float64 [N, 4], xyxy as shares of the image's sides.
        classes: one entry per class, in the order of the labels.
        crowds, difficult, outlines, keypoints, rotated: number of such objects.
        issues: number of labels that were dropped, and of notes.
    """

    split: str | None
    label_type: LabelType
    sizes: NDArray[np.int64]
    objects: NDArray[np.int64]
    boxes: NDArray[np.float64]
    shares: NDArray[np.float64]
    classes: tuple[ClassStats, ...]
    crowds: int
    difficult: int
    outlines: int
    keypoints: int
    rotated: int
    issues: int

    def lines(self) -> list[str]:
        """The numbers as lines of text."""
        boxed = self.label_type is LabelType.BOXES
        found = [
            f"{self.split or 'all images'}: {counted(len(self.sizes), 'image')}, "
            f"{self._said_sizes()}"
        ]
        if boxed:
            empty = int((self.objects == 0).sum())
            spread = _spread(self.objects)
            found.append(
                f"  {counted(int(self.objects.sum()), 'object')}, {spread} per image"
                + (f"; {counted(empty, 'image')} without objects" if empty else "")
            )
            if len(self.boxes):
                found += self._said_boxes()
            kinds = ("crowds", "difficult", "outlines", "keypoints", "rotated")
            of_kinds = [f"{getattr(self, kind):,} {kind}" for kind in kinds if getattr(self, kind)]
            if of_kinds:
                found.append(f"  among them {', '.join(of_kinds)}")
        width = min(24, max([5, *(len(row.name) for row in self.classes)]))
        columns = f"{'objects':>10} {'images':>8} {'share':>7} {'side':>6}"
        found.append(f"  {'class':<{width}} {columns if boxed else columns[11:27]}".rstrip())
        total = max(1, sum(row.objects for row in self.classes))
        for row in self.classes:
            cells = f" {row.objects:>10,}" if boxed else ""
            cells += f" {row.images:>8,} {100 * row.objects / total:>5.1f} %"
            cells += f" {row.side:>6.0f}" if boxed and row.objects else ""
            found.append(f"  {row.name[:width]:<{width}}{cells}")
        return found

    def _said_sizes(self) -> str:
        if not len(self.sizes):
            return "no sizes"
        found = Counter(map(tuple, self.sizes.tolist())).most_common(3)
        said = ", ".join(f"{w} x {h} ({count:,})" for (w, h), count in found)
        others = len(np.unique(self.sizes, axis=0)) - len(found)
        if others:
            low, high = self.sizes.min(axis=0), self.sizes.max(axis=0)
            said += f" and {counted(others, 'other size')}: from {low[0]} x {low[1]}"
            said += f" to {high[0]} x {high[1]}"
        return said

    def _said_boxes(self) -> list[str]:
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        area = sides.prod(axis=1)
        parts = [(area < _SMALL).sum(), (area >= _LARGE).sum()]
        small, large = (100 * int(part) / len(area) for part in parts)
        ratio = np.median(sides[:, 0] / sides[:, 1])
        return [
            f"  boxes {_spread(sides[:, 0])} pixels wide, {_spread(sides[:, 1])} high; "
            f"median width / height {ratio:.2f}",
            f"  small (under 32 x 32) {small:.1f} %, medium {100 - small - large:.1f} %, "
            f"large (96 x 96 and more) {large:.1f} %",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return {
            "split": self.split,
            "label_type": str(self.label_type),
            "images": len(self.sizes),
            "objects": int(self.objects.sum()),
            "images_without_objects": int((self.objects == 0).sum()),
            "objects_per_image": _quantiles(self.objects),
            "width": _quantiles(self.sizes[:, 0]),
            "height": _quantiles(self.sizes[:, 1]),
            "box_width": _quantiles(sides[:, 0]),
            "box_height": _quantiles(sides[:, 1]),
            "classes": [
                {
                    "name": row.name,
                    "objects": row.objects,
                    "images": row.images,
                    "median_side": None if np.isnan(row.side) else row.side,
                }
                for row in self.classes
            ],
            **{
                name: getattr(self, name)
                for name in ("crowds", "difficult", "outlines", "keypoints", "rotated", "issues")
            },
        }


def _spread(values: NDArray[Any]) -> str:
    low, middle, high = np.quantile(values, [0, 0.5, 1]).tolist() if len(values) else (0, 0, 0)
    return f"{low:.0f} to {high:.0f} (median {middle:.0f})"


def _quantiles(values: NDArray[Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    names = ("min", "quarter", "median", "three_quarters", "max")
    return {**dict(zip(names, found, strict=True)), "mean": float(np.mean(values))}


def dataset_stats(annotations: Annotations) -> DatasetStats:
    """Return the numbers of a data set, without opening an image.

    >>> from sightline.data import load_digits_classification
    >>> stats = dataset_stats(load_digits_classification()[0])
    >>> len(stats.sizes), stats.classes[3].images
    (1438, 147)
    """
    table = RecordTable.of(annotations.records)
    labels, boxes = table.labels, table.boxes
    shares = boxes.values / np.tile(table.sizes, 2)[boxes.rows].clip(1)
    sides = boxes.values[:, 2:] - boxes.values[:, :2]
    root = np.sqrt(np.clip(sides, 0, None).prod(axis=1))
    classes = []
    for label, name in enumerate(annotations.class_names):
        rows = labels.values == label
        side = float(np.median(root[rows])) if len(root) == len(rows) and rows.any() else np.nan
        images = len(np.unique(labels.rows[rows]))
        classes.append(ClassStats(name, int(rows.sum()), images, side))
    rotated = 0 if table.boxes_rotated is None else table.boxes_rotated.values
    points = 0 if table.points is None else table.points.values
    return DatasetStats(
        split=annotations.split,
        label_type=annotations.label_type,
        sizes=table.sizes,
        objects=np.diff(boxes.offsets),
        boxes=boxes.values,
        shares=shares,
        classes=tuple(classes),
        crowds=int(table.iscrowd.values.sum()),
        difficult=int(table.difficult.values.sum()),
        outlines=_outlines(table),
        keypoints=int((np.asarray(points)[..., 2] > 0).any(axis=1).sum()) if np.ndim(points) else 0,
        rotated=int(np.isfinite(rotated).all(axis=1).sum()) if np.ndim(rotated) else 0,
        issues=len(annotations.issues),
    )


def _outlines(table: RecordTable) -> int:
    if table.shapes is None:
        return 0
    return int((table.shapes.values.source >= 0).sum())
