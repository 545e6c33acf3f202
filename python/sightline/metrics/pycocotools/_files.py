"""Reads files as columns, so that dicts of records are created only when a program needs them."""

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

# Fields that box evaluation needs in every record; files that lack one are read as dicts.
_TRUTH_FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
# The first record decides the kind of all; its field names lie within so many bytes.
_FIRST_RECORD = 1 << 16
_RESULT_FIELDS = ("image_id", "category_id", "bbox", "score")


@dataclass(frozen=True)
class TruthFile:
    """A ground truth file, and the columns of its annotations in their order."""

    text: bytes
    image_ids: np.ndarray  # [I] int64, in the order of the file
    category_ids: np.ndarray  # [K] int64, in the order of the file
    columns: dict[str, np.ndarray]  # [N], bbox [N, 4]
    lvis_marks: str  # what is specific to LVIS, in words; "" where nothing is

    @classmethod
    def read(cls, text: bytes) -> "TruthFile | None":
        """The file; None where it is not in the usual COCO form, for whatever reason."""
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
        """The file; None where it is not a list of boxes with scores, or is empty."""
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
    """Pause garbage collection, which would traverse many new objects again and again."""
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
