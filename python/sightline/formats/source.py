"""A data set that a reader has opened, and the names of splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline.formats.records import Issue, LabelType, Record

__all__ = ["Pair", "Source", "split_name"]

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


@dataclass(frozen=True)
class Source:
    """A data set that a reader has opened, before any split is chosen.

    `splits` maps each official split to a function that lists its items; `pool` lists all items.
    `load` turns an item into its record, without bad boxes, and the issues found.
    """

    format: str
    label_type: LabelType
    class_names: tuple[str, ...]
    splits: Mapping[str, Callable[[], list[Any]]]
    pool: Callable[[], list[Any]]
    load: Callable[[Any], Pair]
    category_ids: tuple[int, ...] = ()
    notes: list[Issue] = field(default_factory=list)


def split_name(name: str) -> str | None:
    """Return train, val, test or trainval for a name such as "valid" or "train2017", or None."""
    return _SPLIT_NAMES.get(name.lower().rstrip("0123456789"))
