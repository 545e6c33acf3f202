"""Data sets whose label files each describe many images: what their readers have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.formats.finder import note_unlisted, split_of_file
from sightline.formats.objects import Objects
from sightline.formats.outline import Outline
from sightline.formats.pictures import image_size
from sightline.formats.records import DataError, Issue, LabelType, Record
from sightline.formats.source import Notes, Pair, Source

__all__ = ["Entry", "add_object", "chosen_attribute", "open_image_set"]

# In this order: of the attributes that an object has, the one that is its class.
_CLASS_ATTRIBUTES = ("class", "label", "type", "name")


@dataclass
class Entry:
    """An image of a label file.

    `size` is (width, height) where the file states them, `split` the split that it names, and
    `labels` the classes of the whole image. `regions` is what the file has of objects.
    """

    file: Path
    image: Path
    size: tuple[int, int] | None
    regions: list[Any]
    labels: tuple[str, ...] = ()
    split: str | None = None
    line: int | Callable[[], int] | None = None
    state: Any = field(default=None, repr=False)  # what else the reader needs


def open_image_set(
    format: str,
    root: Path,
    entries: Sequence[Entry],
    add: Callable[[Entry, Objects], None],
    names: Sequence[str],
    notes: Notes,
    keypoint_names: Sequence[str] = (),
) -> Source:
    """Return the source of entries whose classes are `names`.

    Where no entry has a region and some have labels, it is a set with one class per image. Splits
    are those that the entries name, otherwise those in the names of their files.

    Args:
        format: the name of the format.
        root: the data set, or its label file.
        entries: the images of all label files.
        add: adds the objects of an entry, whose size is known then.
        names: the classes.
        notes: gets what is left out.
        keypoint_names: those of the points of each object.
    """
    entries = _once(entries, notes)
    boxed = any(entry.regions for entry in entries) or not any(entry.labels for entry in entries)
    if boxed:
        for entry in entries:
            if entry.labels:
                rule = "other images have objects with a class each"
                notes.add(entry.file, None, "the class of a whole image", rule, "left out")
    else:
        for entry in entries:
            if not entry.labels:
                rule = "it has no class, but others have one"
                notes.add(entry.file, None, f"image {entry.image.name}", rule, "left out")
        entries = [entry for entry in entries if entry.labels]
    note_unlisted(
        (entry.image for entry in entries),
        root,
        notes,
        "that no label file lists",
        "only an image that is listed can be one without objects",
    )
    base = root if root.is_dir() else root.parent
    label_of = {name: label for label, name in enumerate(names)}
    splits = _splits(entries, root, notes)
    return Source(
        format=format,
        label_type=LabelType.BOXES if boxed else LabelType.CLASS,
        class_names=tuple(names),
        splits={split: partial(list, found) for split, found in splits.items()},
        pool=partial(list, entries),
        load=partial(_load_boxes if boxed else _load_class, base=base, label_of=label_of, add=add),
        notes=notes,
        keypoint_names=tuple(keypoint_names),
        label_file=attrgetter("file"),
    )


def _once(entries: Sequence[Entry], notes: Notes) -> list[Entry]:
    """Each image once, with the regions of all its entries in one file."""
    found: dict[Path, Entry] = {}
    for entry in entries:
        first = found.setdefault(entry.image, entry)
        if first is entry:
            continue
        if first.file != entry.file:
            raise DataError(
                f"{first.file} and {entry.file} both label {entry.image.name}; give one of them "
                "as data.path"
            )
        rule = "two entries have the same file"
        what = f"image {shortened(entry.image.name)}"
        notes.add(entry.file, None, what, rule, "read once, with the labels of both")
        first.regions += [region for region in entry.regions if region not in first.regions]
        first.labels = tuple(dict.fromkeys((*first.labels, *entry.labels)))
    return [*found.values()]


def _splits(entries: Iterable[Entry], root: Path, notes: Notes) -> dict[str, list[Entry]]:
    splits: dict[str, list[Entry]] = {}
    unsplit = []
    for entry in entries:
        split = entry.split or (split_of_file(entry.file) if root.is_dir() else None)
        if split is None:
            unsplit.append(entry)
        else:
            splits.setdefault(split, []).append(entry)
    for entry in unsplit if splits else ():
        rule = "its label file names no split, but others do"
        notes.add(entry.file, None, f"image {shortened(entry.image.name)}", rule, "in no split")
    return splits


def _image_id(image: Path, base: Path) -> str:
    inside = image.is_relative_to(base)
    return (image.relative_to(base) if inside else image).with_suffix("").as_posix()


def _load_boxes(
    entry: Entry,
    *,
    base: Path,
    label_of: Mapping[str, int],
    add: Callable[[Entry, Objects], None],
) -> Pair:
    width, height = entry.size or image_size(entry.image, max_pixels=None)
    found = Objects(entry.file, width, height, label_of)
    add(entry, found)
    return found.pair(entry.image, _image_id(entry.image, base))


def _load_class(
    entry: Entry,
    *,
    base: Path,
    label_of: Mapping[str, int],
    add: Callable[[Entry, Objects], None],
) -> Pair:
    width, height = entry.size or image_size(entry.image, max_pixels=None)
    name, *others = entry.labels
    rule = None
    if others:
        rule = f"an image must have one class, got {listed(entry.labels, 5)}"
    elif name not in label_of:
        rule = f"unknown class {quoted(name)}; the classes are {listed([*label_of])}"
    line = entry.line() if callable(entry.line) else entry.line
    what = f"image {shortened(entry.image.name)}"
    issues = [Issue(entry.file, line, what, rule)] if rule else []
    labels = np.array([label_of.get(name, 0)], np.int64)
    image_id = _image_id(entry.image, base)
    return Record(entry.image, image_id, width, height, labels=labels), issues


def add_object(
    found: Objects,
    names: Sequence[str],
    outline: Outline | str,
    notes: Notes,
    what: str,
    *,
    line: int | Callable[[], int] | None = None,
    points: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Add one object for each class that a region has.

    Args:
        found: the objects of the image.
        names: the classes.
        outline: that of the object, or the rule that it breaks.
        notes: gets what is assumed.
        what: "region 3", say.
        line: its line in the file.
        points: as in `Objects.add`.
        extra: as in `Objects.add`.
    """
    what = f"{what} ({listed(names, 3)})" if names else what
    if isinstance(outline, str):
        found.bad(what, outline, line)
    elif not names:
        found.bad(what, "it has no class", line)
    else:
        if len(names) > 1:
            rule = "an object has one class"
            notes.add(found.file, None, "a region of several classes", rule, "read as one of each")
        for name in names:
            found.add(
                name,
                outline.box,
                what=what,
                line=line,
                shape=outline.shape,
                points=points,
                rotated=outline.rotated,
                extra=extra,
            )


def chosen_attribute(names: Iterable[str], file: Path, of_what: str) -> str | None:
    """Return the attribute that is the class: the only one, or that of a usual name.

    Raises DataError that lists them where several may be it.
    """
    there = list(dict.fromkeys(names))
    if len(there) < 2:
        return there[0] if there else None
    by_name = {name.strip().lower(): name for name in reversed(there)}
    usual = next((by_name[name] for name in _CLASS_ATTRIBUTES if name in by_name), None)
    if usual is None:
        raise DataError(
            f"{file}: {of_what} have the attributes {listed(there)}; name the one that is the "
            f"class {' or '.join(map(repr, _CLASS_ATTRIBUTES))}"
        )
    return usual
