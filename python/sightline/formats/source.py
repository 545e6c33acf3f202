"""A data set that a reader has opened, what it assumed, and the names of splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline._text import counted
from sightline.formats.columns import offsets_of
from sightline.formats.record import DataError, Issue, LabelType, Record, UnreadableImageError
from sightline.formats.table import RecordTable

__all__ = ["Labelled", "Notes", "Pair", "Source", "split_name"]

Pair = tuple[Record, list[Issue]]  # a record without bad boxes, and the issues found in it

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "trainval": "trainval",
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Records without bad boxes, and the issues found in them."""

    table: RecordTable
    issues: tuple[Issue, ...] = ()
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # of the issues

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Labelled:
        """Return what a reader loads one by one; each record is dropped once it is in the table."""
        issues: list[Issue] = []
        rows: list[int] = []

        def records() -> Iterator[Record]:
            for row, (record, found) in enumerate(pairs):
                issues.extend(found)
                rows.extend([row] * len(found))
                yield record

        table = RecordTable.of(records())
        return cls(table, tuple(issues), np.array(rows, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Labelled]) -> Labelled:
        """Return several of them as one."""
        starts = offsets_of(len(part.table) for part in parts)
        return cls(
            RecordTable.joined([part.table for part in parts]),
            tuple(issue for part in parts for issue in part.issues),
            np.concatenate([np.zeros(0, np.int64), *(p.rows + s for p, s in zip(parts, starts))]),
        )

    def pairs(self) -> Iterator[Pair]:
        """Yield each record and its issues."""
        found: dict[int, list[Issue]] = {}
        for row, issue in zip(self.rows.tolist(), self.issues, strict=True):
            found.setdefault(row, []).append(issue)
        for row, record in enumerate(self.table):
            yield record, found.get(row, [])

    @classmethod
    def collected(cls, loaded: Iterable[Pair | Labelled]) -> Labelled:
        """Return what a reader loads, of single images and of files of many."""
        parts: list[Labelled] = []
        for many, group in groupby(loaded, lambda it: isinstance(it, Labelled)):
            if many:
                parts += cast(Iterator[Labelled], group)
            else:
                parts.append(cls.of(cast(Iterator[Pair], group)))
        return cls.joined(parts)

    def take(self, rows: NDArray[np.int64]) -> Labelled:
        """Return only some records, in this order, and their issues."""
        place = np.full(len(self.table), -1)
        place[rows] = np.arange(len(rows))
        moved = place[self.rows]
        kept = np.flatnonzero(moved >= 0)
        order = kept[np.argsort(moved[kept], kind="stable")]
        issues = tuple(self.issues[index] for index in order.tolist())
        return Labelled(self.table.take(rows), issues, moved[order])


class Notes:
    """What a reader assumed or left out besides bad labels; those of one kind give one issue.

    `errors` is None where a reader raises what it cannot read, as usual. A check of the data set
    passes a list, to which the reader adds these errors, and goes on without what they are about.
    """

    def __init__(self, errors: list[DataError] | None = None) -> None:
        self.errors = errors
        self._first: dict[tuple[str, str, str], Issue] = {}
        self._places: dict[tuple[str, str, str], set[tuple[Path, int | None]]] = {}

    def add(self, file: Path, line: int | None, what: str, rule: str, action: str) -> None:
        """Note what was found at a place; a place that was noted before is not counted again."""
        kind = (what, rule, action)
        self._first.setdefault(kind, Issue(file, line, what, rule, action))
        self._places.setdefault(kind, set()).add((file, line))

    def refuse(self, error: DataError) -> None:
        """Raise an error, or keep it where errors are collected."""
        if self.errors is None:
            raise error
        self.errors.append(error)

    def issues(self) -> list[Issue]:
        """Return one issue for each kind: the first, and the number of the others."""
        found = []
        for kind, first in self._first.items():
            places = self._places[kind]
            others, files = len(places) - 1, len({file for file, _ in places})
            more = f", and {others:,} more in {counted(files, 'file')}"
            if others == files - 1:
                more = f", and in {counted(others, 'more file')}"
            found.append(replace(first, what=first.what + (more if others else "")))
        return found


@dataclass(frozen=True)
class Source:
    """A data set that a reader has opened, before any split is chosen.

    An item is what the reader loads at once: the labels of one image, or a file with those of many.
    `splits` maps each official split to a function that lists its items; `pool` lists all items.
    `load` turns an item into its record, without bad boxes, and the issues found, or a file of many
    images into a table of both. `notes` grow as items are listed and loaded. `absent` are the
    official splits whose files are missing.
    `label_file` tells the label file of an item, None where labels are the names of folders.
    `keypoint_names`, `keypoint_mirror` and `skeleton` are those of `Annotations`.
    With `skips_unreadable`, an item whose image cannot be opened is noted and left out.
    """

    format: str
    label_type: LabelType
    class_names: tuple[str, ...]
    splits: Mapping[str, Callable[[], list[Any]]]
    pool: Callable[[], list[Any]]
    load: Callable[[Any], Pair | Labelled]
    category_ids: tuple[int, ...] = ()
    notes: Notes = field(default_factory=Notes)
    absent: frozenset[str] = frozenset()
    label_file: Callable[[Any], Path] | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoint_mirror: tuple[int, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    skips_unreadable: bool = False

    def pairs(self, item: Any) -> list[Pair]:
        """Load an item; return the record and the issues of each of its images."""
        loaded = self.load(item)
        return [*loaded.pairs()] if isinstance(loaded, Labelled) else [loaded]

    def table(self, items: Iterable[Any]) -> Labelled:
        """Load items into one table."""
        return Labelled.collected(self._loaded(items))

    def _loaded(self, items: Iterable[Any]) -> Iterator[Pair | Labelled]:
        for item in items:
            try:
                yield self.load(item)
            except UnreadableImageError as error:
                if not self.skips_unreadable:
                    raise
                place = Path(error.file), None
                self.notes.add(*place, "the image", error.rule, "image dropped")


def split_name(name: str) -> str | None:
    """Return train, val, test or trainval for a name such as "valid" or "train2017", or None."""
    return _SPLIT_NAMES.get(name.lower().rstrip("0123456789"))
