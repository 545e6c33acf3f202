"""Checks the labels of a data set, without looking at its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.data.check.boxes import TINY_PIXELS, duplicate_boxes, partly_outside, tiny_boxes
from sightline.data.check.findings import Finding, found
from sightline.data.check.gather import Gathered, Part
from sightline.data.check.messages import finding_of_error, finding_of_issue, finding_of_note
from sightline.data.check.places import line_of
from sightline.formats.record import Record
from sightline.formats.table import RecordTable

__all__ = ["check_boxes", "check_classes", "check_messages"]

_MOST_LINES = 1000  # objects whose line is looked up, which reads their file again
_RARE = 5  # labels in train
_OFTEN = 100  # times as many labels of the median class
_OWN_NOTES = (
    "without a label file",
    "without a row",
    "that no label file lists",
)  # which other findings say one by one


def check_messages(data: Gathered) -> Iterator[Finding]:
    """Yield what the reader dropped, refused or assumed."""
    yield from map(finding_of_error, {str(error): error for error in data.errors}.values())
    for part in data.parts.values():
        yield from map(finding_of_issue, part.labelled.issues)
    for note in data.notes:
        if not any(words in note.what for words in _OWN_NOTES):
            yield finding_of_note(note)


def _place_of(part: Part, row: int) -> Path:
    """Return the label file of an image, or the image where it has none."""
    file = part.label_files[row]
    return file if file is not None else Path(str(part.labelled.table[row].image))


def check_boxes(data: Gathered, size: tuple[int, int] | None) -> Iterator[Finding]:
    """Yield the boxes that are duplicate, tiny, or partly outside their image."""
    looked_up = 0
    for part in data.parts.values():
        table = part.labelled.table
        for kind, box, rule in _suspicious(table, size):
            row = int(np.searchsorted(table.boxes.offsets, box, side="right")) - 1
            index = box - int(table.boxes.offsets[row])
            record = table[row]
            file = part.label_files[row]
            line = None
            if looked_up < _MOST_LINES:
                line, looked_up = line_of(data.source, file, record, index), looked_up + 1
            what = f"box {_said(record, index)} ({shortened(_name(data, record, index))})"
            if line is None:
                what += f" of image {shortened(record.image_id)}"
            yield found(kind, _place_of(part, row), line, what, rule)


def _suspicious(table: RecordTable, size: tuple[int, int] | None) -> Iterator[tuple[str, int, str]]:
    """Kind, number of the box, and rule."""
    repeated = set()
    for first, second, iou in duplicate_boxes(table):
        repeated.add(second)
        other = _corners(table.boxes.values[first])
        if iou == 1:
            yield "duplicate box", second, "an object of the same class has the same box"
        else:
            rule = f"an object of the same class has the box {other}, IoU {iou:.3f}"
            yield "nearly the same box", second, rule
    for box in partly_outside(table).tolist():
        row = int(np.searchsorted(table.boxes.offsets, box, side="right")) - 1
        width, height = table.sizes[row].tolist()
        yield "box partly outside its image", box, f"the image has {width} x {height} pixels"
    where = "" if size is None else f" in an image resized to {size[0]}x{size[1]}"
    for box in tiny_boxes(table, size).tolist():
        if box not in repeated:
            yield "tiny box", box, f"its shorter side is less than {TINY_PIXELS} pixels{where}"


def _said(record: Record, index: int) -> str:
    return _corners(record.boxes[index])


def _corners(box: np.ndarray) -> str:
    return f"({', '.join(f'{value:g}' for value in box.tolist())})"


def _name(data: Gathered, record: Record, index: int) -> str:
    return data.source.class_names[record.labels[index]]


def check_classes(data: Gathered) -> Iterator[Finding]:
    """Yield classes that cannot be learned, have no labels, or are spelled in two ways."""
    names = data.source.class_names
    counts = {
        split: np.bincount(part.labelled.table.labels.values, minlength=len(names))
        for split, part in data.parts.items()
    }
    total = sum(counts.values(), np.zeros(len(names), np.int64))
    trained = [counts[name] for name in ("train", "trainval") if name in counts]
    train = sum(trained, np.zeros(len(names), np.int64)) if trained else total
    for label, name in enumerate(names):
        shown = f"class {quoted(name)}"
        if not total[label]:
            yield found("class without labels", data.root, None, shown, "no object has it")
        elif not train[label] and any(counts[split][label] for split in counts if split):
            where = listed([split for split in counts if split and counts[split][label]])
            rule = f"train has no label of it, but {where} has"
            yield found("class not in training", data.root, None, shown, rule)
        elif train[label] < _RARE and np.median(train[train > 0]) >= _OFTEN * train[label]:
            rule = f"train has {train[label]} labels of it, and {train.sum():,} in all"
            yield found("rare class", data.root, None, shown, rule)
    spelled = Counter(map(_plain, names))
    for key, count in spelled.items():
        if count > 1:
            same = [quoted(name) for name in names if _plain(name) == key]
            rule = "they differ only in case, blanks, - and _"
            yield found("similar class names", data.root, None, f"classes {listed(same)}", rule)


def _plain(name: str) -> str:
    return "".join(name.casefold().replace("-", " ").replace("_", " ").split())
