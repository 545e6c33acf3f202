"""Records the images that a run was trained on, to recognise changes on resume."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline.data import Annotations, Record
from sightline.tasks import default_task

__all__ = ["data_changes", "data_digest", "data_record", "files_not_compared"]

# About two seconds of hashing. The contents of a larger data set are not hashed: its images are
# compared by size and date.
_MOST_HASHED_BYTES = 1 << 30
_DIGITS = 16  # of a hash in hexadecimal; enough against accidents, not against forgery
_NAMED = 3


def data_record(annotations: Annotations) -> dict[str, Any]:
    """Everything in a split that affects training, as plain values for JSON.

    "task", "classes", "category_ids", and in order "pictures": each with its "name" (the path
    within the data set), "labels" (a hash of id, size, classes, boxes, areas and flags), "bytes",
    "modified" (ns) and "content" (a hash of the file). "modified" is None for images that are not
    files, "content" for data sets of more than 1 GiB, and all three for a missing file.
    """
    source = Path(annotations.source)
    root = source if source.is_dir() else source.parent
    pictures = [
        {"name": _name(record, root), "labels": _label_hash(record), **_file(record)}
        for record in annotations.records
    ]
    small = sum(picture["bytes"] or 0 for picture in pictures) <= _MOST_HASHED_BYTES
    for picture, record in zip(pictures, annotations.records, strict=True):
        picture["content"] = _content_hash(record) if small else None
    return {
        "task": default_task(annotations).name,
        "classes": list(annotations.class_names),
        "category_ids": [int(number) for number in annotations.category_ids],
        "pictures": pictures,
    }


def data_digest(record: dict[str, Any]) -> str:
    """A SHA-256 of a `data_record` without the dates of files."""
    digest = hashlib.sha256(repr([record[k] for k in ("task", "classes", "category_ids")]).encode())
    for picture in record["pictures"]:
        digest.update(repr([v for k, v in picture.items() if k != "modified"]).encode())
    return digest.hexdigest()


def data_changes(before: dict[str, Any], annotations: Annotations) -> list[str]:
    """The differences between a `data_record` and the current data, in words; empty without any.

    A file that differs only in its date is read: a copy of the data set is the same data set.
    """
    if before["classes"] != list(annotations.class_names):
        return [f"the classes are {_listed(annotations.class_names)}, not {before['classes']}"]
    source = Path(annotations.source)
    root = source if source.is_dir() else source.parent
    records, pictures = annotations.records, before["pictures"]
    names = [_name(record, root) for record in records]
    names_before = [picture["name"] for picture in pictures]
    if names != names_before:
        return _other_names(names_before, names)
    changes = []
    labels, files = [], []
    for name, picture, record in zip(names, pictures, records, strict=True):
        if picture["labels"] != _label_hash(record):
            labels.append(name)
        if _is_other_file(picture, record):
            files.append(name)
    if labels:
        changes.append(f"other labels of {_listed(labels)}")
    if files:
        changes.append(f"another picture in {_listed(files)}")
    if (before["task"], before["category_ids"]) != (
        default_task(annotations).name,
        [int(number) for number in annotations.category_ids],
    ):
        changes.append("another task, or other ids of the classes")
    return changes


def files_not_compared(before: dict[str, Any], annotations: Annotations) -> int:
    """The number of files with another date, the same size, and no recorded content."""
    return sum(
        picture["content"] is None and picture["modified"] != _file(record)["modified"]
        for picture, record in zip(before["pictures"], annotations.records, strict=True)
    )


def _name(record: Record, root: Path) -> str:
    if not isinstance(record.image, Path):
        return str(record.image_id)
    try:
        return record.image.relative_to(root).as_posix()
    except ValueError:
        return record.image.name


def _label_hash(record: Record) -> str:
    digest = hashlib.sha256(repr((record.image_id, record.width, record.height)).encode())
    for name in ("labels", "boxes", "iscrowd", "difficult", "area", "boxes_xywh"):
        values = getattr(record, name)
        digest.update(b"none" if values is None else values.tobytes())
    return digest.hexdigest()[:_DIGITS]


def _file(record: Record) -> dict[str, Any]:
    if not isinstance(record.image, Path):
        return {"bytes": record.image.nbytes, "modified": None}
    try:
        status = record.image.stat()
    except FileNotFoundError:  # the loader reports it
        return {"bytes": None, "modified": None}
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _content_hash(record: Record) -> str | None:
    if isinstance(record.image, Path):
        if not record.image.exists():
            return None
        with open(record.image, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    return hashlib.sha256(record.image.tobytes()).hexdigest()[:_DIGITS]


def _is_other_file(picture: dict[str, Any], record: Record) -> bool:
    now = _file(record)
    if picture["bytes"] != now["bytes"]:
        return True
    if picture["content"] is None or (
        picture["modified"] is not None and picture["modified"] == now["modified"]
    ):
        return False
    return picture["content"] != _content_hash(record)


def _other_names(before: list[str], now: list[str]) -> list[str]:
    had, have = set(before), set(now)
    gone, new = [name for name in before if name not in have], [n for n in now if n not in had]
    changes = []
    if gone:
        changes.append(f"{_listed(gone)} {'is' if len(gone) == 1 else 'are'} missing")
    if new:
        changes.append(f"{_listed(new)} {'is' if len(new) == 1 else 'are'} new")
    if not changes and len(before) != len(now):
        changes.append(f"another number of pictures: {len(now)}, not {len(before)}")
    elif not changes:
        place = next(i for i, pair in enumerate(zip(before, now, strict=True)) if len({*pair}) > 1)
        changes.append(f"another order of the pictures, from number {place + 1} ({now[place]}) on")
    return changes


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
