"""A data set that a reader has opened, what it assumed, and the names of splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sightline.formats.records import Issue, LabelType, Record

__all__ = ["Notes", "Pair", "Source", "split_name"]

Pair = tuple[Record, list[Issue]]

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


class Notes:
    """What a reader assumed or left out besides bad labels; those of one kind give one issue."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], Issue] = {}
        self._places: dict[tuple[str, str, str], set[tuple[Path, int | None]]] = {}

    def add(self, file: Path, line: int | None, what: str, rule: str, action: str) -> None:
        """Note what was found at a place; a place that was noted before is not counted again."""
        kind = (what, rule, action)
        self._first.setdefault(kind, Issue(file, line, what, rule, action))
        self._places.setdefault(kind, set()).add((file, line))

    def issues(self) -> list[Issue]:
        """Return one issue for each kind: the first, and the number of the others."""
        found = []
        for kind, first in self._first.items():
            places = self._places[kind]
            others, files = len(places) - 1, len({file for file, _ in places})
            more = f", and {others:,} more in {files:,} file{'' if files == 1 else 's'}"
            if others == files - 1:
                more = f", and in {others:,} more file{'' if others == 1 else 's'}"
            found.append(replace(first, what=first.what + (more if others else "")))
        return found


@dataclass(frozen=True)
class Source:
    """A data set that a reader has opened, before any split is chosen.

    `splits` maps each official split to a function that lists its items; `pool` lists all items.
    `load` turns an item into its record, without bad boxes, and the issues found. `notes` grow as
    items are listed and loaded. `absent` are the official splits whose files are missing.
    `keypoint_names` and `keypoint_mirror` are those of `Annotations`.
    """

    format: str
    label_type: LabelType
    class_names: tuple[str, ...]
    splits: Mapping[str, Callable[[], list[Any]]]
    pool: Callable[[], list[Any]]
    load: Callable[[Any], Pair]
    category_ids: tuple[int, ...] = ()
    notes: Notes = field(default_factory=Notes)
    absent: frozenset[str] = frozenset()
    keypoint_names: tuple[str, ...] = ()
    keypoint_mirror: tuple[int, ...] = ()


def split_name(name: str) -> str | None:
    """Return train, val, test or trainval for a name such as "valid" or "train2017", or None."""
    return _SPLIT_NAMES.get(name.lower().rstrip("0123456789"))
