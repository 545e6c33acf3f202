"""The records of a data set as columns of arrays, which processes that load images share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.formats.columns import Ids, Ragged, Texts, decoded, encoded, joined, offsets_of
from sightline.formats.record import Record
from sightline.formats.shape_table import Shapes

__all__ = ["RecordTable", "labels_of"]

_BATCH = 1024  # records that are held at once while a table is made of them
# One row per object, and whether every record has the column.
_OBJECT_COLUMNS = {
    **dict.fromkeys(("labels", "boxes", "iscrowd", "difficult", "area"), True),
    **dict.fromkeys(("boxes_xywh", "points", "boxes_rotated"), False),
}


@dataclass(frozen=True, eq=False, repr=False)
class RecordTable(Sequence[Record]):
    """Records in columns; a `Record` is built at each access, with arrays of its own.

    Columns of objects are `Ragged`: `boxes.values` [T, 4] has the boxes of all records, and those
    of record i are `boxes[i]`. A column that is None is so in every record; one that some record
    lacks is empty there.
    """

    paths: Texts  # [M] image files; empty where the image is an array
    ids: Ids  # [M]
    sizes: NDArray[np.int64]  # [M, 2] width and height
    labels: Ragged
    boxes: Ragged
    iscrowd: Ragged
    difficult: Ragged
    area: Ragged
    boxes_xywh: Ragged | None = None
    points: Ragged | None = None
    boxes_rotated: Ragged | None = None
    shapes: Ragged | None = None
    ignored: Ragged | None = None
    extra: Mapping[str, Ragged] = field(default_factory=dict)
    arrays: tuple[NDArray[np.uint8] | None, ...] | None = None  # [M] images in memory

    @classmethod
    def of(cls, records: Iterable[Record]) -> RecordTable:
        """Return records as a table; each is dropped once its batch is in.

        Raises:
            ValueError: an id that is no text and no integer of 64 bits.
        """
        if isinstance(records, RecordTable):
            return records
        stream = iter(records)
        batches = iter(lambda: [*islice(stream, _BATCH)], [])
        return cls.joined([_table_of(batch) for batch in batches])

    @classmethod
    def joined(cls, tables: Sequence[RecordTable]) -> RecordTable:
        """Return the records of several tables as one table."""
        if not tables:
            return _table_of([])
        return tables[0] if len(tables) == 1 else _joined(tables)

    def __repr__(self) -> str:
        return f"RecordTable({len(self):,} records, {len(self.boxes.values):,} boxes)"

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Record]:
        return map(self._record, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> RecordTable: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]  # as of a tuple: negative ones, and IndexError
        return self._record(row)

    def take(self, rows: ArrayLike) -> RecordTable:
        """Return a table of only the records at `rows`, in that order.

        Args:
            rows: integers in [-M, M).
        """
        rows = np.asarray(rows, np.int64).reshape(-1)
        rows = np.where(rows < 0, rows + len(self), rows)
        taken = {name: getattr(self, name) for name in _ROW_COLUMNS}
        columns: dict[str, Any] = {
            name: column[rows] if isinstance(column, np.ndarray) else column.take(rows)
            for name, column in taken.items()
            if column is not None
        }
        if self.arrays is not None:
            columns["arrays"] = tuple(self.arrays[row] for row in rows.tolist())
        extra = {name: column.take(rows) for name, column in self.extra.items()}
        return replace(self, **columns, extra=extra)

    def with_labels(self, labels: NDArray[np.int64]) -> RecordTable:
        """Return the same records with other labels, one for each of `labels.values`."""
        return replace(self, labels=Ragged(labels, self.labels.offsets))

    def image(self, row: int) -> Path | NDArray[np.uint8]:
        """Return the path of an image, or the array that it is."""
        array = None if self.arrays is None else self.arrays[row]
        return Path(os.fsdecode(self.paths[row])) if array is None else array

    def _record(self, row: int) -> Record:
        count = self.boxes.offsets[row + 1] - self.boxes.offsets[row]
        columns: dict[str, Any] = {}
        for name, in_all in _OBJECT_COLUMNS.items():
            column: Ragged | None = getattr(self, name)
            if column is None:
                continue
            values = column[row]
            if in_all or len(values) == count:
                columns[name] = values
        shapes: Shapes | None = None if self.shapes is None else self.shapes[row]
        if shapes is not None and (shapes.source < 0).all():
            shapes = None
        extra = {name: column[row] for name, column in self.extra.items()}
        width, height = self.sizes[row].tolist()
        return Record(
            *(self.image(row), self.ids[row], width, height),
            **columns,
            shapes=shapes,
            extra={name: _unpacked(values) for name, values in extra.items() if len(values)},
            ignored=None if self.ignored is None else self.ignored[row],
        )


_ROW_COLUMNS = tuple(
    column.name for column in fields(RecordTable) if column.name not in ("extra", "arrays")
)


def labels_of(records: Sequence[Record]) -> Ragged:
    """Return the labels of all records, without making a table of what else they hold."""
    if isinstance(records, RecordTable):
        return records.labels
    labels = [record.labels for record in records]
    return Ragged(np.concatenate([np.zeros(0, np.int64), *labels]), offsets_of(map(len, labels)))


def _table_of(records: Sequence[Record]) -> RecordTable:
    """A table of records, whose columns are joined at once."""
    columns: dict[str, Any] = {}
    for name, in_all in _OBJECT_COLUMNS.items():
        columns[name] = _column([getattr(record, name) for record in records], _fill(name))
        if columns[name] is None and in_all:
            columns[name] = Ragged(getattr(_NOTHING, name), np.zeros(1, np.int64))
    images = [record.image for record in records]
    arrays = [image if isinstance(image, np.ndarray) else None for image in images]
    files = [b"" if isinstance(image, np.ndarray) else os.fsencode(image) for image in images]
    return RecordTable(
        paths=Texts.of(files),
        ids=Ids.of([record.image_id for record in records]),
        sizes=np.array([(r.width, r.height) for r in records], np.int64).reshape(-1, 2),
        **columns,
        shapes=_column(_shapes_of(records)),
        ignored=_column([record.ignored for record in records]),
        extra=_extra_of([record.extra or {} for record in records]),
        arrays=None if all(array is None for array in arrays) else tuple(arrays),
    )


def _shapes_of(records: Sequence[Record]) -> list[Shapes | None]:
    """The outlines of each record; those that are not kept yet in the same arrays."""
    plain = [r.shapes for r in records if r.shapes is not None and not isinstance(r.shapes, Shapes)]
    stored = Shapes.of([shape for shapes in plain for shape in shapes])
    bounds = pairwise(offsets_of(map(len, plain)).tolist())
    return [
        r.shapes
        if r.shapes is None or isinstance(r.shapes, Shapes)
        else stored.take(slice(*next(bounds)))
        for r in records
    ]


_NOTHING = Record(Path(), 0, 1, 1, labels=np.zeros(0, np.int64))


def _column(values: Sequence[Any], fill: float = np.nan) -> Ragged | None:
    """One row per entry, empty for None."""
    rows = [None if v is None else Ragged(v, np.array([0, len(v)])) for v in values]
    return joined(rows, [1] * len(rows), fill)


def _fill(name: str) -> float:
    return 0.0 if name == "points" else np.nan  # a point of no visibility is not labelled


def _extra_of(records: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Ragged]:
    columns = {}
    for name in dict.fromkeys(name for extra in records for name in extra):
        values = [extra.get(name) for extra in records]
        text = any(v is not None and len(v) and v.dtype.kind == "U" for v in values)
        column = _column([_packed(v) if text else v for v in values])
        if column is not None:
            columns[name] = column
    return columns


def _packed(values: NDArray[Any] | None) -> Texts | None:
    return None if values is None else Texts.of([encoded(str(v)) for v in values.tolist()])


def _unpacked(values: NDArray[Any] | Texts) -> NDArray[Any]:
    if isinstance(values, Texts):
        return np.array([decoded(text) for text in values.tolist()], np.str_)
    return values


def _joined(tables: Sequence[RecordTable]) -> RecordTable:
    lengths = [len(table) for table in tables]
    columns: dict[str, Any] = {}
    for name in (*_OBJECT_COLUMNS, "shapes", "ignored"):
        columns[name] = joined([getattr(table, name) for table in tables], lengths, _fill(name))
    arrays: list[NDArray[np.uint8] | None] = []
    for table in tables:
        arrays += table.arrays or [None] * len(table)
    extra: dict[str, Any] = {}
    for name in dict.fromkeys(name for table in tables for name in table.extra):
        parts = [table.extra.get(name) for table in tables]
        if any(part is not None and isinstance(part.values, Texts) for part in parts):
            parts = [_as_text(part) for part in parts]
        extra[name] = joined(parts, lengths)
    return RecordTable(
        paths=Texts.joined([table.paths for table in tables]),
        ids=Ids.joined([table.ids for table in tables]),
        sizes=np.concatenate([table.sizes for table in tables]),
        **columns,
        extra=extra,
        arrays=tuple(arrays) if any(table.arrays for table in tables) else None,
    )


def _as_text(column: Ragged | None) -> Ragged | None:
    if column is None or isinstance(column.values, Texts):
        return column
    return Ragged(_packed(column.values), column.offsets)
