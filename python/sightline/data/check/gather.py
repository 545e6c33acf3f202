"""Reads all that can be read of a data set, and keeps what readers refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from sightline.data.read import open_labels
from sightline.formats.records import DataError, Issue
from sightline.formats.source import Labelled, Notes, Pair, Source

__all__ = ["Gathered", "Part", "gather"]

_SPLITS = ("train", "trainval", "val", "test")  # further lists are choices of their images
_MISSING = re.compile(r": no image (.+?) in ")


@dataclass(frozen=True, eq=False)
class Part:
    """The images of one split, and the label file of each; None where it has none."""

    labelled: Labelled
    label_files: list[Path | None]


@dataclass(frozen=True, eq=False)
class Gathered:
    """A data set as far as it can be read.

    `parts` has the official splits train, val and test (or trainval), and with None as name the
    images of none of them.
    """

    root: Path
    source: Source
    parts: dict[str | None, Part]
    notes: list[Issue]
    errors: list[DataError]
    missing: frozenset[str]  # names of images that label files name, and that are not there


def gather(root: Path, format: str | None, class_names: Sequence[str] | None) -> Gathered:
    """Read every split, and the images of none, without stopping at what is wrong.

    Raises DataError where the data set cannot be opened at all.
    """
    errors: list[DataError] = []
    source, decided = open_labels(root, format, class_names, Notes(errors))
    seen: set[Hashable] = set()
    parts: dict[str | None, Part] = {}
    choices = []
    order = [split for split in _SPLITS if split in source.splits]
    for split in [*order, *sorted(set(source.splits) - set(order))]:
        if split not in _SPLITS or (split == "trainval" and "train" in order):
            choices.append(source.splits[split])
        else:
            parts[split] = _part(source, source.splits[split], seen, errors)
    rest = _part(source, source.pool, seen, errors, unseen=True)
    if len(rest.labelled.table) or not parts:
        parts[None] = rest
    for lister in choices:  # what they list is checked already, but for what is not there
        _part(source, lister, seen, errors, unseen=True)
    missing = frozenset(
        PurePath(name[1]).name for error in errors if (name := _MISSING.search(str(error)))
    )
    # What was missed when labels were listed is missed again when its size is looked for.
    errors = [error for error in errors if _name_of_missing(error) not in missing]
    notes = [*decided, *source.notes.issues()]
    return Gathered(root, source, parts, notes, errors, missing)


def _name_of_missing(error: DataError) -> str:
    path, again, _ = str(error).partition(": no such image")
    return PurePath(path).name if again else ""


def _part(
    source: Source,
    lister: Callable[[], list[Any]],
    seen: set[Hashable],
    errors: list[DataError],
    *,
    unseen: bool = False,
) -> Part:
    files: list[Path | None] = []

    def loaded(items: list[Any]) -> Iterator[Pair | Labelled]:
        for item in items:
            try:
                one = source.load(item)
            except DataError as error:
                errors.append(error)
                continue
            file = None if source.label_file is None else source.label_file(item)
            files.extend([file] * (len(one.table) if isinstance(one, Labelled) else 1))
            yield one

    items = _listed(lister, errors)
    if unseen:
        items = [item for item in items if _key(item) not in seen]
    seen.update(map(_key, items))
    return Part(Labelled.collected(loaded(items)), files)


def _listed(lister: Callable[[], list[Any]], errors: list[DataError]) -> list[Any]:
    try:
        return lister()
    except DataError as error:
        errors.append(error)
        return []


def _key(item: Any) -> Hashable:
    """What an item is known by in every list: its label file, or its image."""
    if isinstance(item, tuple):
        return tuple(part for part in item if isinstance(part, Path))
    if isinstance(item, Path):
        return item
    return getattr(item, "image", None) or getattr(item, "path", id(item))
