"""KITTI text files: one file per image, one object of 15 words per line.

A line is `type truncated occluded alpha xmin ymin xmax ymax`, then height, width, length, x, y, z
and angle of the object in space; what is not the box is kept in `Record.extra`. Corners are in
pixels, used as written. DontCare regions are no objects, with a note in the issues; they are kept
in `Record.ignored`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import shortened
from sightline.formats.lists import read_list
from sightline.formats.losses import Losses, cleaned_names, note_class_list, note_columns
from sightline.formats.new_folder import new_folder, write_lines
from sightline.formats.objects import Objects
from sightline.formats.paths import (
    files_in,
    folders_in,
    lies_inside,
    quoted_line,
    shortened_path,
    subfolder,
)
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size
from sightline.formats.records import DataError, LabelType, Record, box_rule
from sightline.formats.source import Notes, Pair, Source, split_name
from sightline.formats.text import number, read_lines
from sightline.formats.writing import (
    Sets,
    as_shown,
    checked_sets,
    known_splits,
    number_text,
    numbers_of,
    records_of,
)
from sightline.formats.written_pictures import WrittenPictures

__all__ = ["LOOKED_FOR", "kitti_places", "open_kitti", "write_kitti"]

LOOKED_FOR = "KITTI: label_2/*.txt with image_2/, or labels/ with images/, also in training/"
_LABEL_FOLDERS = ("label_2", "labels", "label")
_IMAGE_FOLDERS = ("image_2", "images", "image")
_WORDS = 15
_FILES_TRIED = 20  # to recognise the format, and lines of each: some may be wrong
_NO_CLASS = "dontcare"
# What a line says besides type and box, by the places of its words.
_EXTRA = {
    "truncated": slice(1, 2),
    "occluded": slice(2, 3),
    "alpha": slice(3, 4),
    "dimensions": slice(8, 11),
    "location": slice(11, 14),
    "rotation_y": slice(14, 15),
}
# What the devkit writes where it does not know them.
_UNKNOWN = {
    "truncated": [-1.0],
    "occluded": [-1.0],
    "alpha": [-10.0],
    "dimensions": [-1.0] * 3,
    "location": [-1000.0] * 3,
    "rotation_y": [-10.0],
}

Item = tuple[Path, Path]  # the label file and its image


@dataclass(frozen=True)
class Place:
    """A folder of label files, that of their images, and the split that they are of."""

    labels: Path
    images: Path
    split: str | None


def kitti_places(root: Path) -> list[Place]:
    """Return the folders of KITTI label files at the root or in those of splits."""
    bases = [(root, None), *((path, split_name(path.name)) for path in folders_in(root))]
    found = []
    for base, split in bases:
        labels = [subfolder(base, name) for name in _LABEL_FOLDERS]
        images = [subfolder(base, name) for name in _IMAGE_FOLDERS]
        here = next((folder for folder in labels if _holds_labels(folder)), None)
        beside = next((folder for folder in images if folder.is_dir()), None)
        if here is not None and beside is not None and (split or base == root):
            found.append(Place(here, beside, split))
    return found


def _holds_labels(folder: Path) -> bool:
    """Whether one of the first text files there has a line of the format."""
    for path in files_in(folder, ".txt")[:_FILES_TRIED]:
        try:
            lines = read_lines(path)
        except DataError:
            continue
        if any(_is_object(line.split()) for _, line in lines[:_FILES_TRIED]):
            return True
    return False


def _is_object(words: Sequence[str]) -> bool:
    return (
        len(words) == _WORDS
        and number(words[0]) is None
        and None not in (number(word) for word in words[1:])
    )


def open_kitti(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a KITTI data set.

    The classes are `class_names`, or all types but DontCare, sorted. Official splits are those of
    ImageSets/{train,val,test,trainval}.txt, otherwise the folders training, val and so on. An image
    without a label file is left out, with a note in the issues.
    """
    places = kitti_places(root)
    if not places:
        raise DataError(f"{root}: no KITTI label files; looked for {LOOKED_FOR}")
    notes = notes or Notes()
    items = {place: _items(place, notes) for place in places}
    pool = [item for found in items.values() for item in found]
    names = class_names or sorted({name for label, _ in pool for name in _types_in(label, notes)})
    splits = _listed_splits(root, pool, notes)
    if not splits:
        splits = {place.split: partial(list, items[place]) for place in places if place.split}
    return Source(
        format="kitti",
        label_type=LabelType.BOXES,
        class_names=tuple(names),
        splits=splits,
        pool=partial(list, pool),
        load=partial(
            _load,
            root=root,
            label_of={name: index for index, name in enumerate(names)},
            notes=notes,
        ),
        notes=notes,
        label_file=itemgetter(0),
    )


def _items(place: Place, notes: Notes) -> list[Item]:
    images = {path.stem: path for path in files_in(place.images, *IMAGE_SUFFIXES)}
    labels = files_in(place.labels, ".txt")
    for path in labels:
        if path.stem not in images:
            notes.refuse(
                DataError(
                    f"{path}: no image named {path.stem} in {place.images}; add the image, or "
                    "remove the label file"
                )
            )
    stems = {path.stem for path in labels}
    for stem, image in images.items():
        if stem not in stems:
            rule = "only an empty label file marks an image without objects"
            notes.add(image, None, "an image without a label file", rule, "left out")
    return [(path, images[path.stem]) for path in labels if path.stem in images]


def _types_in(path: Path, notes: Notes) -> set[str]:
    try:
        types = {line.split()[0] for _, line in read_lines(path)}
    except DataError as error:
        notes.refuse(error)
        return set()
    return {name for name in types if name.lower() != _NO_CLASS}


def _listed_splits(
    root: Path, pool: list[Item], notes: Notes
) -> dict[str, Callable[[], list[Item]]]:
    by_name = {label.stem: (label, image) for label, image in pool}
    lists = [(split_name(path.stem), path) for path in files_in(root / "ImageSets", ".txt")]
    return {
        split: partial(_listed, path, root, by_name, notes)
        for split, path in lists
        if split is not None and any(line in by_name for _, line in read_lines(path))
    }


def _listed(path: Path, root: Path, by_name: dict[str, Item], notes: Notes) -> list[Item]:
    def find(line: str, line_number: int) -> Item:
        if line not in by_name:
            shown = shortened_path(line, inside=lies_inside(path, root))
            raise DataError(
                f"{path}:{line_number}: lists {shown}, but there is no such label file; remove "
                "the line, or add the label file (an empty one is legal)"
            )
        return by_name[line]

    return [item for _, item in read_list(path, find, notes)]


def _load(item: Item, *, root: Path, label_of: dict[str, int], notes: Notes) -> Pair:
    path, image = item
    width, height = image_size(image, max_pixels=None)
    found = Objects(path, width, height, label_of)
    ignored = []
    for line_number, line in read_lines(path):
        words = line.split()
        box, rule = _box(words)
        if words[0].lower() == _NO_CLASS:
            notes.add(path, line_number, "a DontCare region", "it has no class", "left out")
            if rule is None and box_rule(box, width, height) is None:
                ignored.append(box)
            continue
        if rule is not None and rule.endswith("got "):
            rule += quoted_line(line, inside=lies_inside(path, root))
        extra = _extra(words) if rule is None else {}
        for name in (name for name, value in extra.items() if value is None):
            notes.add(path, line_number, name, "it must be a number", "left out")
        what = f"object ({shortened(words[0])})"
        found.add(words[0], box, rule, what=what, line=line_number, extra=extra)
    return found.pair(image, path.stem, ignored)


def _box(words: Sequence[str]) -> tuple[list[float], str | None]:
    """Return the corners of a line and the rule that it breaks; the line replaces `got `."""
    if len(words) != _WORDS:
        hint = "; a result with a score is no label" if len(words) == _WORDS + 1 else ""
        return [], f"a line is a type and 14 numbers, got {len(words)} words{hint}"
    corners = [number(word) for word in words[4:8]]
    box = [corner for corner in corners if corner is not None]
    return box, None if len(box) == len(corners) else "corners must be numbers, got "


def _extra(words: Sequence[str]) -> dict[str, Any]:
    """What a line says besides type and box, if known; None for what is not a number."""
    values = {name: [number(word) for word in words[place]] for name, place in _EXTRA.items()}
    return {
        name: None if None in numbers else numbers[0] if len(numbers) == 1 else numbers
        for name, numbers in values.items()
    }


def write_kitti(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as KITTI text; return what is lost, one sentence per kind.

    With splits, images and labels are in training/, and ImageSets/<split>.txt lists them; without,
    they are in image_2/ and label_2/.
    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("KITTI")
    sets = known_splits(checked_sets(sets, losses), losses, rest=True)
    why = "a type is one word that is no number and not DontCare"
    first = next(iter(sets.values()))
    types = cleaned_names(first.class_names, _type, losses, why)
    note_class_list(sets, types, losses)
    lists: dict[str | None, list[str]] = {split: [] for split in sets}
    with new_folder(folder) as new:
        base = new if lists.keys() == {None} else new / "training"
        pictures = WrittenPictures(images, losses)
        for split, record in records_of(sets, losses):
            placed = pictures.place(record, base / "image_2", split)
            lists[split].append(placed.stem)
            if placed.new:
                note_columns(record, losses, (*(f"extra.{name}" for name in _EXTRA), "ignored"))
                lines = _lines(as_shown(record, placed, losses), types)
                write_lines(base / "label_2" / f"{placed.stem}.txt", lines)
        for split, stems in lists.items():
            if split is not None:
                write_lines(new / "ImageSets" / f"{split}.txt", stems)
    return losses.sentences()


def _type(name: str) -> str:
    word = "_".join(name.split())
    return f"class_{word}" if number(word) is not None or word.lower() == _NO_CLASS else word


def _lines(record: Record, types: Sequence[str]) -> list[str]:
    """The objects of an image, then its DontCare regions."""
    lines = []
    extra = {name: numbers_of(record, name, len(_UNKNOWN[name])) for name in _EXTRA}
    for row, label in enumerate(record.labels.tolist()):
        words = [types[label], *[""] * (_WORDS - 1)]
        words[4:8] = map(number_text, record.boxes[row])
        for name, place in _EXTRA.items():
            values = extra[name][row]
            words[place] = map(number_text, _UNKNOWN[name] if np.isnan(values).any() else values)
        lines.append(" ".join(words))
    unknown = [number_text(value) for values in _UNKNOWN.values() for value in values]
    for box in record.ignored if record.ignored is not None else ():
        lines.append(" ".join(["DontCare", *unknown[:3], *map(number_text, box), *unknown[3:]]))
    return lines
