"""Writes data sets in any format, and reads all splits of one to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sightline.data.read import EMBEDDED, open_source, read_dataset, read_splits
from sightline.formats.coco import write_coco
from sightline.formats.csv_table import write_csv
from sightline.formats.folders import write_folders
from sightline.formats.kitti import write_kitti
from sightline.formats.labelme import write_labelme
from sightline.formats.records import Annotations, DataError
from sightline.formats.table import RecordTable
from sightline.formats.voc import write_voc
from sightline.formats.writing import Writer
from sightline.formats.yolo import write_yolo

__all__ = ["WRITERS", "all_images", "all_splits", "write_dataset"]

WRITERS: dict[str, Writer] = {
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
    "kitti": write_kitti,
    "csv": write_csv,
    "labelme": write_labelme,
    "folder": write_folders,
}
_EMBEDDED_SPLITS = {"digits": ("train", "val"), "digit-scenes": ("train", "val", "test")}


def write_dataset(
    annotations: Annotations | Mapping[str | None, Annotations],
    folder: str | Path,
    *,
    format: str,
    images: str = "copy",
) -> list[str]:
    """Write a data set in a format; return what is lost, one sentence per kind.

    The folder appears once everything in it is written. Images in memory become PNG files, others
    keep their bytes, and their names where these differ in one folder. Images with one class each
    get a box around all of it where the format has boxes.

    Args:
        annotations: a set, which is written as its own split, or split -> set; None stands for
            images of no split. All have the same classes.
        folder: the new data set; it must not exist, or be empty.
        format: "voc", "coco", "yolo", "kitti", "csv", "labelme" or "folder" (one folder of images
            per class).
        images: "copy"; "link" makes hard links, or symbolic ones to another file system, and takes
            no space, but whoever changes an image in place changes both; "none" writes the label
            files alone.

    Raises:
        DataError: the folder is in use, an image cannot be read, or the format cannot hold the set;
            the message says what to do.
        ValueError: an unknown format, or sets of different classes.
    """
    if format not in WRITERS:
        raise ValueError(f"`format` must be one of {', '.join(WRITERS)}, got {format!r}")
    sets = annotations
    if isinstance(sets, Annotations):
        sets = {sets.split: sets}
    return WRITERS[format](sets, Path(folder), images=images)


def all_splits(
    source: str | Path,
    *,
    splits: Sequence[str] = (),
    format: str | None = None,
    on_bad_label: str = "error",
    seed: int = 0,
    test_share: float | None = None,
    scene_count: int | None = None,
) -> dict[str | None, Annotations]:
    """Return the splits of a data set, as `write_dataset` takes them.

    Args:
        source: a path as for `read_dataset`, or "digits" or "digit-scenes".
        splits: those to read, drawn with `seed` and `test_share` where they are not official; by
            default all official ones. None of the result has the images of no split.
        format, on_bad_label, seed, test_share: as for `read_dataset`.
        scene_count: number of scenes per split of "digit-scenes".

    Raises:
        DataError: the data cannot be used, or there is no such split.
    """
    if source not in EMBEDDED and not splits:
        if test_share is not None:
            raise DataError("test_share needs splits=train,val,test: official splits are kept")
        return read_splits(source, format=format, on_bad_label=on_bad_label)
    return {
        split: open_source(
            source,
            split=split,
            format=format,
            on_bad_label=on_bad_label,
            seed=seed,
            test_share=test_share,
            scene_count=scene_count,
        )
        for split in splits or _EMBEDDED_SPLITS[str(source)]
    }


def all_images(
    source: str | Path, *, format: str | None = None, on_bad_label: str = "error"
) -> Annotations:
    """Return the images of all splits of a data set as one set; the arguments are as above."""
    if source not in EMBEDDED:
        return read_dataset(source, format=format, on_bad_label=on_bad_label)
    parts = [*all_splits(source).values()]
    records = RecordTable.joined([RecordTable.of(part.records) for part in parts])
    return replace(parts[0], records=records, split=None, split_rule="every image")
