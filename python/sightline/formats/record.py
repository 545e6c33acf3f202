"""One image and its labels, and a bad label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline._text import printable, quoted
from sightline.formats.shape_table import Shapes
from sightline.formats.shapes import Shape

__all__ = ["DataError", "Issue", "LabelType", "Record", "UnreadableImageError", "box_rule"]


class DataError(ValueError):
    """A data set, label or image cannot be used; the message names it, the rule and the fix."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))  # names and values in it come from files


class UnreadableImageError(DataError):
    """An image file that is empty, damaged or of an unknown kind."""

    def __init__(self, file: str, rule: str, fix: str) -> None:
        super().__init__(f"{file}: {rule}; {fix}")
        self.file = file
        self.rule = rule
        self.fix = fix

    def __reduce__(self) -> Any:
        return type(self), (self.file, self.rule, self.fix)


class LabelType(StrEnum):
    """The kind of label that an image has; each task says which kinds it accepts."""

    CLASS = "class"  # one class for the whole picture
    BOXES = "boxes"  # any number of boxes, each with a class


@dataclass(frozen=True)
class Issue:
    """One bad label: its place, the rule that it breaks, and what was done about it."""

    file: Path
    line: int | None
    what: str
    rule: str
    action: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        text = f"{where}: {self.what}: {self.rule}"
        return printable(f"{text} ({self.action})" if self.action else text)


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """One image and its labels.

    `boxes` is float64 [N, 4], xyxy in pixels of the image as shown (EXIF orientation applied),
    `labels` int64 [N]. `iscrowd` and `difficult` are bool [N], `area` float64 [N] (by default
    width * height). `boxes_xywh` keeps the numbers of a COCO file unchanged. A classification
    record has no boxes and one label.

    What else a file says about each object, None where it says nothing of any:
    `shapes` has its outline, or None where it has a box alone; `points` float64 [N, K, 3] its
    keypoints, x, y and visibility (0 not labelled, 1 hidden, 2 visible); `boxes_rotated` float64
    [N, 5] its rotated box (centre x and y, width, height, angle in degrees, as `box_iou_rotated`
    takes it), with NaN where an object has none. `boxes` are then the hulls. `extra` has what only
    some formats know, by name: one entry per object, float64 [N] or [N, M] with NaN or text [N]
    with "" where an object has none (KITTI and VOC `truncated` and `occluded`; KITTI `alpha`,
    `dimensions`, `location` and `rotation_y`; VOC `pose`; further columns of a CSV file).

    `ignored` float64 [M, 4] are boxes within which objects may be that are not labelled (KITTI's
    DontCare); they are no objects.
    """

    image: Path | NDArray[np.uint8]
    image_id: str | int
    width: int
    height: int
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    # None means no crowds, no difficult objects, and width * height; __post_init__ fills them in.
    iscrowd: NDArray[np.bool_] = None  # type: ignore[assignment]
    difficult: NDArray[np.bool_] = None  # type: ignore[assignment]
    area: NDArray[np.float64] = None  # type: ignore[assignment]
    boxes_xywh: NDArray[np.float64] | None = None
    shapes: Sequence[Shape | None] | None = None
    points: NDArray[np.float64] | None = None
    boxes_rotated: NDArray[np.float64] | None = None
    extra: Mapping[str, NDArray[Any]] | None = None
    ignored: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        """One line, as `Record('a.jpg', 640 x 480, 12 boxes)`."""
        labels = f"{len(self.boxes)} box{'' if len(self.boxes) == 1 else 'es'}"
        if not len(self.boxes) and len(self.labels):
            labels = f"label {self.labels[0]}"
        name = quoted(self.image_id)
        return f"Record({name}, {self.width} x {self.height}, {labels})"

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4)
        set_field = object.__setattr__  # a frozen dataclass has no other way to fill its defaults
        set_field(self, "boxes", boxes)
        set_field(self, "labels", np.asarray(self.labels, np.int64).reshape(-1))
        for name in ("iscrowd", "difficult"):
            value = getattr(self, name)
            filled = np.zeros(len(boxes), bool) if value is None else np.asarray(value, bool)
            set_field(self, name, filled)
        if self.area is None:
            with np.errstate(over="ignore"):  # of a box that is finite, but not much less
                area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            set_field(self, "area", area)
        else:
            set_field(self, "area", np.asarray(self.area, np.float64))
        if self.extra is not None:
            columns = {name: _extra_column(values) for name, values in self.extra.items()}
            set_field(self, "extra", columns or None)
        if self.ignored is not None:
            ignored = np.asarray(self.ignored, np.float64).reshape(-1, 4)
            set_field(self, "ignored", ignored if len(ignored) else None)

    def take(self, rows: ArrayLike | slice) -> Record:
        """Return the same image with only the objects at `rows`, in that order.

        Args:
            rows: integers, one bool per object, or a slice. The label of a classification record
                belongs to its image, and stays.

        Raises:
            IndexError: a row is out of range, or the bools are not one per object.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.int64) if rows.size == 0 and rows.dtype != bool else rows
        rows = np.arange(len(self.boxes))[rows]
        columns = ["boxes", "iscrowd", "difficult", "area", "boxes_xywh", "points", "boxes_rotated"]
        columns += ["labels"] if len(self.labels) == len(self.boxes) else []
        taken = {name: getattr(self, name) for name in columns}
        chosen = {name: column[rows] for name, column in taken.items() if column is not None}
        shapes = self.shapes
        if isinstance(shapes, Shapes):  # which are not parsed yet
            shapes = shapes.take(rows)
        elif shapes is not None:
            shapes = [shapes[row] for row in rows.tolist()]
        extra = self.extra and {name: column[rows] for name, column in self.extra.items()}
        return replace(self, **chosen, shapes=shapes, extra=extra)


def _extra_column(values: Any) -> NDArray[Any]:
    """Numbers as float64, anything else as text."""
    column = np.asarray(values)
    return column.astype(np.float64 if column.dtype.kind in "biuf" else np.str_)


def box_rule(box: Sequence[float], width: int, height: int) -> str | None:
    """Return the rule that an xyxy box in pixels breaks, or None for a usable box.

    A usable box is finite, has positive width and height, and overlaps the image. A box that
    extends beyond the image is usable: it is kept as written, and clipped only for training.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    if not np.isfinite([x1, y1, x2, y2]).all():
        return f"coordinates must be finite, got ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
    if x2 <= x1 or y2 <= y1:
        side = "xmin < xmax" if x2 <= x1 else "ymin < ymax"
        return f"a box needs {side}, got xmin={x1:g} ymin={y1:g} xmax={x2:g} ymax={y2:g}"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return (
            f"the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) lies outside its image of {width} x {height}"
        )
    return None
