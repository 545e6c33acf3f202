"""What is lost where a data set is written in a format that cannot hold it, counted and said."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sightline._text import listed, printable, shortened
from sightline.formats.records import Annotations, Record
from sightline.formats.rotated import outline_is_corners
from sightline.formats.shapes import Polygons, RunLengths

__all__ = ["Losses", "Rounding", "cleaned_names", "note_class_list", "note_columns"]

_SAME_AREA = 1e-9  # relative: rounding of width * height
# What tools write where nobody has said otherwise.
_UNKNOWN: dict[str, tuple[float, ...]] = {
    "truncated": (0, -1),
    "occluded": (0, -1),
    "alpha": (-10,),
    "dimensions": (-1,),
    "location": (-1000,),
    "rotation_y": (-10,),
}
_ENDS_LINES = ("Cc", "Cs", "Zl", "Zp")  # controls, bytes that are not text, separators of lines


@dataclass
class _Entry:
    count: int = 0
    example: str = ""


class Losses:
    """Counts what a format cannot hold; each kind gives one sentence.

    >>> losses = Losses("YOLO")
    >>> losses.add("the crowd flags", "object", 12, "YOLO has none")
    >>> losses.sentences()
    ['the crowd flags of 12 objects: YOLO has none']
    """

    def __init__(self, format_name: str) -> None:
        self.format_name = format_name
        self._entries: dict[tuple[str, str, str], _Entry] = {}

    def add(self, what: str, of: str, count: int, why: str, example: str = "") -> None:
        """Count what is lost of some things; the first example of a kind is shown."""
        if count:
            entry = self._entries.setdefault((what, of, why), _Entry())
            entry.count += count
            entry.example = entry.example or example

    def sentences(self) -> list[str]:
        """Return one sentence per kind, in the order in which the kinds were found."""
        said = []
        for (what, of, why), entry in self._entries.items():
            example = f" ({entry.example})" if entry.example else ""
            said.append(printable(f"{what} of {_counted(entry.count, of)}: {why}{example}"))
        return said


def _counted(count: int, noun: str) -> str:
    first, blank, rest = noun.partition(" ")
    plural = "es" if first.endswith(("x", "s")) else "s"
    return f"{count:,} {first}{'' if count == 1 else plural}{blank}{rest}"


class Rounding:
    """Counts objects whose coordinates are read again with other last digits."""

    def __init__(self) -> None:
        self._count, self._largest = 0, 0.0

    def compare(self, read: ArrayLike, meant: ArrayLike) -> None:
        """Compare the coordinates of one object, in pixels."""
        difference = float(np.abs(np.subtract(read, meant)).max(initial=0))
        self._count += difference > 0
        self._largest = max(self._largest, difference)

    def note(self, losses: Losses, why: str) -> None:
        largest = f"at most {self._largest:.0e} pixels"
        losses.add("the last digits", "object", self._count, why, largest)


def note_columns(record: Record, losses: Losses, keeps: Sequence[str] = ()) -> None:
    """Note which columns of a record are lost in a format that holds boxes and the columns `keeps`.

    Those of `extra` are named `extra.<column>` where they are numbers and `extra.<column>:text`
    otherwise; "polygons" and "run lengths" are kinds of `shapes`.
    """
    name, kept = losses.format_name, set(keeps)

    def note(column: str, what: str, which: ArrayLike, why: str = "") -> None:
        if column not in kept:
            count = int(np.count_nonzero(np.asarray(which)))
            losses.add(what, "object", count, why or f"{name} has none")

    boxes = record.boxes
    plain = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    note("iscrowd", "the crowd flags", record.iscrowd)
    note("difficult", "the flag `difficult`", record.difficult)
    other = ~np.isclose(record.area, plain, rtol=_SAME_AREA, atol=0)
    note("area", "areas other than width * height", other)
    shapes = record.shapes or ()
    polygons = np.array([isinstance(shape, Polygons) for shape in shapes], bool)
    if "boxes_rotated" in kept:
        corners = [outline_is_corners(record, row) for row in range(len(shapes))]
        polygons &= ~np.array(corners, bool)
    note("polygons", "the outlines", polygons, f"{name} has boxes alone")
    masks = np.array([isinstance(shape, RunLengths) for shape in shapes], bool)
    note("run lengths", "the masks, given as run lengths,", masks)
    if record.points is not None:
        note("points", "the keypoints", record.points[:, :, 2].any(axis=1))
    if record.boxes_rotated is not None:
        turned = ~np.isnan(record.boxes_rotated).any(axis=1)
        note("boxes_rotated", "the rotation of the boxes", turned)
    for column, values in (record.extra or {}).items():
        shown = f"`{shortened(column)}`"
        if values.dtype.kind == "f":
            numbers = values.reshape(len(values), int(np.prod(values.shape[1:])))
            unknown = np.isnan(numbers) | np.isin(numbers, _UNKNOWN.get(column, ()))
            note(f"extra.{column}", shown, ~unknown.all(axis=1))
        else:
            note(f"extra.{column}:text", shown, values != "")
    if record.ignored is not None and "ignored" not in kept:
        losses.add("the regions without labels", "image", 1, f"{name} has none")


def cleaned_names(
    names: Sequence[str], clean: Callable[[str], str], losses: Losses, why: str
) -> list[str]:
    """Return the names of classes as a format can hold them, all different.

    Args:
        names: of the classes.
        clean: a function that returns a name which the format can hold.
        losses: gets the number of names that change.
        why: what a name must be.
    """
    found: list[str] = []
    for name in names:
        cleaned = _one_line(clean(name))
        number, base = 2, cleaned
        while cleaned in found or (cleaned != name and cleaned in names):
            cleaned, number = f"{base}_{number}", number + 1
        if cleaned != name:
            example = f"{shortened(name)!r} is written as {shortened(cleaned)!r}"
            losses.add("the names", "class", 1, why, example)
        found.append(cleaned)
    return found


def _one_line(name: str) -> str:
    text = "".join(" " if unicodedata.category(char) in _ENDS_LINES else char for char in name)
    return text.strip() or "_"


def note_class_list(
    sets: Mapping[str | None, Annotations], names: Sequence[str], losses: Losses
) -> None:
    """Note what a format loses that has no list of classes: those without objects, and the order.

    `names` are those that the classes have in the format; readers sort them.
    """
    counts = sum(annotations.class_counts() for annotations in sets.values())
    used = [name for name, count in zip(names, np.atleast_1d(counts).tolist()) if count]
    unused = [name for name in names if name not in used]
    why = f"{losses.format_name} has no list of classes"
    losses.add("the names", "class without objects", len(unused), why, listed(unused, 3))
    if used != sorted(used):
        losses.add("the order", "class", len(used), f"{why}; readers sort them by name")
