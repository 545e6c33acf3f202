"""Files read as columns, so that no dict is made of a record until a program asks for one."""

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.metrics._native import native
from sightline.metrics.coco.reader import FIELD_BITS, lvis_marks

# What evaluation of boxes needs of every record; a file that lacks some of it is read as dicts.
_TRUTH_FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
# Bytes in which the first record, which says what all of them are, surely names its fields.
_FIRST_RECORD = 1 << 16
_RESULT_FIELDS = ("image_id", "category_id", "bbox", "score")


@dataclass(frozen=True)
class TruthFile:
    """A data set's file, and the columns of its annotations in their order."""

    text: bytes
    image_ids: np.ndarray  # [I] int64, in the order of the file
    category_ids: np.ndarray  # [K] int64, in the order of the file
    columns: dict[str, np.ndarray]  # [N], bbox [N, 4]
    lvis_marks: str  # what is LVIS's alone; empty where nothing is

    @classmethod
    def read(cls, text: bytes) -> "TruthFile | None":
        """None for a file that is not as COCO's are, for whatever reason."""
        try:
            sections = native.read_coco_ground_truth(-1, 0, text, "", True, _TRUTH_FIELDS)
        except ValueError:
            return None
        if not {"images", "categories", "annotations"} <= set(sections):
            return None
        images, image_names = sections["images"]["id"]
        columns = _integers(sections["annotations"], _TRUTH_FIELDS, ("id", "image_id"))
        if columns is None or image_names is not None:
            return None
        if len(np.unique(columns["id"])) != len(columns["id"]):
            return None
        category_ids = sections["categories"]["id"]
        return cls(text, images, category_ids, columns, lvis_marks(sections))


@dataclass(frozen=True)
class ResultsFile:
    """A file of boxes with scores, and its columns; boxes are numbered from 1."""

    text: bytes
    columns: dict[str, np.ndarray]

    @classmethod
    def read(cls, text: bytes) -> "ResultsFile | None":
        """None for a file that is not a list of boxes with scores, and for an empty one."""
        if text.find(b'"caption"', 0, _FIRST_RECORD) >= 0:
            return None
        try:
            rows = native.read_coco_results(-1, 0, text, "", True, _RESULT_FIELDS)
        except ValueError:
            return None
        columns = _integers(rows, _RESULT_FIELDS, ("image_id",))
        return cls(text, columns) if columns is not None and len(columns["score"]) else None


def read_text(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def load_json(text: bytes) -> Any:
    with paused_collector():
        return json.loads(text)


@contextmanager
def paused_collector() -> Iterator[None]:
    """Hold off the search for cycles: it would go through many new objects again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _integers(
    rows: dict[str, Any], fields: tuple[str, ...], ids: tuple[str, ...]
) -> dict[str, np.ndarray] | None:
    """Columns by field; None where a record lacks a field, or an id is a string."""
    need = sum(FIELD_BITS[field] for field in fields)
    if (rows["present"] & need != need).any():
        return None
    columns = dict(rows)
    for field in ids:
        columns[field], names = rows[field]
        if names is not None:
            return None
    return {field: columns[field] for field in fields}
