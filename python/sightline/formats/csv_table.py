"""CSV of one box per row, as of TensorFlow's object detection, Roboflow, VoTT and keras-retinanet.

The columns are recognised by their names, in any order:
`filename,width,height,class,xmin,ymin,xmax,ymax` or other usual names; without a header they are
`path,x1,y1,x2,y2,class`. Corners are in pixels, used as written. A row without class and corners
lists an image without objects. Columns of other names are kept in `Record.extra`, as numbers where
all of a column are.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.formats.finder import ImageFinder, note_unlisted, split_of_file
from sightline.formats.losses import Losses, cleaned_names, note_class_list, note_columns
from sightline.formats.new_folder import new_folder, write_text
from sightline.formats.objects import Objects
from sightline.formats.paths import files_in, folders_in
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size
from sightline.formats.records import DataError, LabelType, Record
from sightline.formats.source import Notes, Pair, Source
from sightline.formats.text import MOST_BYTES_OF_ALL, ends_of, number, read_text, stated_size
from sightline.formats.writing import Sets, checked_sets, known_splits, number_text, records_of
from sightline.formats.written_pictures import Placed, WrittenPictures

__all__ = ["LOOKED_FOR", "csv_files", "open_csv", "write_csv"]

LOOKED_FOR = "CSV: a csv file with columns such as filename, class, xmin, ymin, xmax, ymax"
_NAMES = {
    "filename": ("filename", "file_name", "file", "image", "image_path", "path", "img_path"),
    "class": ("class", "class_name", "label", "name", "category"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NEEDED = ("filename", "class", *_CORNERS)
_PREDICTED = {"score", "confidence", "conf", "probability"}  # columns of what a model has found
_WITHOUT_HEADER = ("filename", *_CORNERS, "class")
_SHARED = ("filename", "class", "width", "height")  # whose values many rows have in common
_HEAD_BYTES = 4096  # of a file, in which its first line must end


@dataclass(frozen=True)
class Item:
    """An image, and its rows with their lines, as a file has them.

    `is_text` says of each column that has none of our names whether any of its values is text.
    """

    path: Path
    image: Path
    image_id: str
    columns: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]
    is_text: Mapping[str, bool]

    def named_rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the line of each row, and its values by the names of their columns."""
        for line, words in self.rows:
            yield line, dict(zip(self.columns, words, strict=True))

    def column(self, name: str) -> list[str]:
        """Return the values of all rows in one column."""
        place = self.columns.index(name)
        return [words[place] for _, words in self.rows]


def csv_files(root: Path) -> list[Path]:
    """Return the csv files of boxes in a folder and those right below, or `root` itself."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".csv" and _lists_boxes(root) else []
    folders = [root, *folders_in(root)]
    return [path for folder in folders for path in files_in(folder, ".csv") if _lists_boxes(path)]


def _lists_boxes(path: Path) -> bool:
    text = ends_of(path, _HEAD_BYTES)
    return _columns(next(_reader(text), [""])) is not None


def _reader(text: str) -> csv._reader:  # type: ignore[name-defined]
    first = text.split("\n", 1)[0]
    delimiter = max((",", ";", "\t"), key=first.count)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)


def _columns(first: Sequence[str]) -> tuple[str, ...] | None:
    """The columns, by our names where they have one; None where the row is not of such a file."""
    names = [word.strip().lower() for word in first]
    columns = tuple(
        next((ours for ours, theirs in _NAMES.items() if name in theirs), word.strip())
        for name, word in zip(names, first, strict=True)
    )
    if not _PREDICTED.isdisjoint(names):
        return None
    if all(columns.count(name) == 1 for name in _NEEDED):
        return columns
    if len(first) != len(_WITHOUT_HEADER):
        return None
    is_image = first[0].strip().lower().endswith(IMAGE_SUFFIXES)
    corners = [word.strip() for word in first[1:5]]
    empty = not any(corners)
    return _WITHOUT_HEADER if is_image and (empty or None not in map(number, corners)) else None


def open_csv(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a data set by its csv files, or one such file.

    The classes are `class_names`, or all names in the files, sorted. The split of a file is taken
    from its name or that of its folder (train_labels.csv, valid/_annotations.csv).
    """
    paths = csv_files(root)
    if not paths:
        raise DataError(f"{root}: no csv file of boxes; looked for {LOOKED_FOR}")
    notes = notes or Notes()
    base = root if root.is_dir() else root.parent
    items = {path: _items(path, base, notes) for path in paths}
    of_split: dict[str, list[Item]] = {}
    for path in paths if root.is_dir() else ():
        split = split_of_file(path)
        if split in of_split or (split is None and len(paths) > 1):
            raise DataError(
                f"{root}: cannot tell the splits of {listed(paths)}; name them train, val, test, "
                "or give one as data.path"
            )
        if split is not None:
            of_split[split] = items[path]
    pool = [item for found in items.values() for item in found]
    for path, found in items.items():
        _refuse_shares(path, found)
    rule = "only a row without class and corners marks an image without objects"
    note_unlisted((item.image for item in pool), root, notes, "without a row", rule)
    used = {name for item in pool for name in item.column("class") if name}
    names = tuple(class_names or sorted(used))
    return Source(
        format="csv",
        label_type=LabelType.BOXES,
        class_names=names,
        splits={split: partial(list, found) for split, found in of_split.items()},
        pool=partial(list, pool),
        load=partial(_load, label_of={name: label for label, name in enumerate(names)}),
        notes=notes,
        label_file=attrgetter("path"),
    )


def _items(path: Path, base: Path, notes: Notes) -> list[Item]:
    """The images of a file in the order of their first rows, each with its rows."""
    reader = _reader(read_text(path, MOST_BYTES_OF_ALL))
    find = ImageFinder(path, base, notes, "remove its rows", absolute=True).find
    by_name: dict[str, Item] = {}
    columns: tuple[str, ...] | None = None
    is_text: dict[str, bool] = {}
    try:
        for words in reader:
            line, words = reader.line_num, [word.strip() for word in words]
            if not any(words):
                continue
            if columns is None:
                columns = _columns(words)
                if columns is None:
                    raise DataError(
                        f"{path}:{line}: not the header of a csv file of boxes; {LOOKED_FOR}"
                    )
                if words[columns.index("filename")].lower() in _NAMES["filename"]:
                    others = (name for name in columns if name and name not in _NAMES)
                    is_text |= dict.fromkeys(others, False)
                    continue
            if len(words) != len(columns):
                notes.refuse(
                    DataError(
                        f"{path}:{line}: a row must have {len(columns)} columns, got {len(words)}"
                    )
                )
                continue
            row = tuple(
                sys.intern(word) if column in _SHARED else word
                for column, word in zip(columns, words, strict=True)
            )
            name = row[columns.index("filename")]
            if name not in by_name:
                image = find(name, line=line)
                inside = image.is_relative_to(base)
                image_id = image.relative_to(base) if inside else image
                identity = image_id.with_suffix("").as_posix()
                by_name[name] = Item(path, image, identity, columns, [], is_text)
            by_name[name].rows.append((line, row))
            for column, word in zip(columns, row, strict=True):
                if word and is_text.get(column) is False and number(word) is None:
                    is_text[column] = True
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not csv ({error}); correct it") from error
    return list(by_name.values())


def _refuse_shares(path: Path, items: list[Item]) -> None:
    values = [number(it) for item in items for name in _CORNERS for it in item.column(name)]
    known = [value for value in values if value is not None]
    if known and max(known) <= 1:
        raise DataError(
            f"{path}: no corner exceeds 1, so they look like shares of the image's sides; "
            "they must be in pixels"
        )


def _load(item: Item, *, label_of: dict[str, int]) -> Pair:
    _, first = next(item.named_rows())
    stated = stated_size(first.get("width"), first.get("height"))
    width, height = stated or image_size(item.image, max_pixels=None)
    found = Objects(item.path, width, height, label_of)
    for line, row in item.named_rows():
        name = row["class"]
        if not any(row[column] for column in ("class", *_CORNERS)):
            continue
        box, rule = _box(row)
        extra = {
            other: row[other] if is_text else number(row[other])
            for other, is_text in item.is_text.items()
        }
        found.add(name, box, rule, what=f"box ({shortened(name)})", line=line, extra=extra)
    return found.pair(item.image, item.image_id)


def _box(row: Mapping[str, str]) -> tuple[list[float], str | None]:
    box = []
    for name in _CORNERS:
        value = number(row[name])
        if value is None:
            return [], f"{name} must be a number, got {quoted(row[name])}"
        box.append(value)
    return box, None


def write_csv(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as CSV, <split>/_annotations.csv; return what is lost, one sentence each.

    The columns are filename, width, height, class, xmin, ymin, xmax, ymax, and those of
    `Record.extra` that have one value per object. Without splits the folder is called images.
    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("CSV")
    sets = known_splits(checked_sets(sets, losses), losses, rest=False)
    first = next(iter(sets.values()))
    names = cleaned_names(first.class_names, str, losses, "a name has no blanks at its ends")
    note_class_list(sets, names, losses)
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses)
        for split, data in sets.items():
            others = _other_columns(data.records)
            keeps = [f"extra.{name}{kind}" for name in others for kind in ("", ":text")]
            buffer = io.StringIO(newline="")
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(["filename", "width", "height", "class", *_CORNERS, *others])
            for _, record in records_of({split: data}, losses):
                placed = pictures.place(record, new / (split or "images"), split)
                note_columns(record, losses, keeps)
                writer.writerows(_rows(record, placed, names, others))
            write_text(new / (split or "images") / "_annotations.csv", buffer.getvalue())
    return losses.sentences()


def _other_columns(records: Sequence[Record]) -> list[str]:
    """The columns of `Record.extra` that have one value per object, and names of their own."""
    used = {name for names in _NAMES.values() for name in names} | _PREDICTED | {""}
    columns: dict[str, bool] = {}
    for record in records:
        for name, values in (record.extra or {}).items():
            columns[name] = columns.get(name, True) and values.size == len(record.boxes)
    return [
        name
        for name, single in columns.items()
        if single and name.strip().lower() not in used and name == name.strip()
    ]


def _rows(
    record: Record, placed: Placed, names: Sequence[str], others: Sequence[str]
) -> list[list[str]]:
    begin = [placed.name, str(record.width), str(record.height)]
    rows = []
    for row, label in enumerate(record.labels.tolist()):
        extra = [_cell((record.extra or {}).get(name), row) for name in others]
        rows.append([*begin, names[label], *map(number_text, record.boxes[row]), *extra])
    return rows or [[*begin, *[""] * (5 + len(others))]]


def _cell(column: np.ndarray | None, row: int) -> str:
    if column is None:
        return ""
    if column.dtype.kind != "f":
        return str(column[row])
    value = float(np.ravel(column)[row])
    return "" if np.isnan(value) else number_text(value)
