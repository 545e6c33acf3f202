"""Writes a copy of a data set without what a check found wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sightline.data.check.boxes import duplicate_boxes
from sightline.data.check.findings import KINDS, DatasetReport
from sightline.data.check.gather import Gathered
from sightline.data.write import WRITERS, write_dataset
from sightline.formats.record import DataError, Record
from sightline.formats.records import Annotations
from sightline.formats.table import RecordTable

__all__ = ["FIXES", "refuse_unwritable", "write_clean"]

_BOX, _IMAGE = "left out", "left out with all labels of the image"
# What is done about each kind; the others stay as they are.
FIXES = {
    **dict.fromkeys(
        (
            *("inverted box", "empty box", "box outside its image", "unknown class"),
            *("class number out of range", "unreadable label", "duplicate box"),
        ),
        _BOX,
    ),
    **dict.fromkeys(
        (
            *("unreadable label file", "label without image", "missing image"),
            *("unreadable image", "image of another size"),
        ),
        _IMAGE,
    ),
    "missing label file": "the line left out",
    "image without label": "left out",
    "box partly outside its image": "clipped to the image",
    "same image in two splits": "kept in one of them",
    "similar images in two splits": "kept in one of them",
    "same image twice": "kept once",
}


def refuse_unwritable(data: Gathered) -> None:
    """Raise DataError where the format of a data set is read but not written."""
    if data.source.format not in WRITERS:
        raise DataError(
            f"{data.root}: a copy can be written as {', '.join(WRITERS)}, not as "
            f"{data.source.format}; convert it first, or correct the files"
        )


def write_clean(
    data: Gathered, left_out: Mapping[str | None, set[Path]], report: DatasetReport, folder: Path
) -> list[str]:
    """Write the copy without some images of each split; return what was changed, left, and lost."""
    source = data.source
    sets: dict[str | None, Annotations] = {}
    for split, part in data.parts.items():
        records = RecordTable.of(_clean(part.labelled.table, left_out.get(split, set())))
        if len(records):
            sets[split] = Annotations(
                label_type=source.label_type,
                class_names=source.class_names,
                records=records,
                category_ids=source.category_ids,
                source=str(data.root),
                format=source.format,
                split=split,
                keypoint_names=source.keypoint_names,
                keypoint_mirror=source.keypoint_mirror,
                skeleton=source.skeleton,
            )
    if not sets:
        raise DataError(f"{data.root}: no image is left; correct the files")
    lost = write_dataset(sets, folder, format=source.format)
    counts = {kind: len(report.of_kind(kind)) for kind in KINDS}
    done = [f"{kind} ({n:,}): {FIXES[kind]}" for kind, n in counts.items() if n and kind in FIXES]
    left = [f"{kind} ({n:,})" for kind, n in counts.items() if n and kind not in FIXES]
    return [*done, *(f"{kind}: as it was" for kind in left), *lost]


def _clean(table: RecordTable, out: set[Path]) -> Iterator[Record]:
    """The records whose images are not left out, with clipped boxes and none of them twice."""
    again = {second for _, second, iou in duplicate_boxes(table) if iou == 1}
    done: set[Path] = set()
    for row, record in enumerate(table):
        if isinstance(record.image, Path):
            if record.image in out or record.image in done:
                continue
            done.add(record.image)
        begin = int(table.boxes.offsets[row])
        kept = [index for index in range(len(record.boxes)) if begin + index not in again]
        yield _clipped(record if len(kept) == len(record.boxes) else record.take(kept))


def _clipped(record: Record) -> Record:
    limits = np.array([record.width, record.height] * 2, np.float64)
    boxes = np.clip(record.boxes, 0, limits)
    changed = (boxes != record.boxes).any(axis=1)
    if not changed.any():
        return record
    sides = boxes[:, 2:] - boxes[:, :2]
    xywh = record.boxes_xywh
    if xywh is not None:
        xywh = np.where(changed[:, None], np.concatenate([boxes[:, :2], sides], axis=1), xywh)
    area = np.where(changed, np.minimum(record.area, sides.prod(axis=1)), record.area)
    return replace(record, boxes=boxes, boxes_xywh=xywh, area=area)
