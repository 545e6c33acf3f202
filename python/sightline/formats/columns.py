"""Columns of a table whose rows have any number of values each, in a few arrays.

Python objects would be copied, page by page, into each process that reads them, since counting
their references writes to them; the pages of arrays stay shared.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids", "Ragged", "Texts", "decoded", "encoded", "joined", "offsets_of", "rows_between"]


def offsets_of(counts: Iterable[int]) -> NDArray[np.int64]:
    """Return where each of the groups with these counts begins, and where the last one ends."""
    counts = counts if isinstance(counts, np.ndarray) else np.fromiter(counts, np.int64)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def rows_between(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[i], first[i] + 1 ... (counts[i] of them) for each i, one after the other.

    >>> rows_between(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - (ends - counts), counts)


def encoded(text: str) -> bytes:
    """The bytes of a text, which may have half a character where json spelt it so."""
    return text.encode("utf-8", "surrogatepass")


def decoded(text: bytes) -> str:
    """The text of `encoded` bytes."""
    return text.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts [N] as their bytes, one after the other."""

    blob: NDArray[np.uint8]
    offsets: NDArray[np.int64]  # [N + 1]

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Texts:
        return cls(np.frombuffer(b"".join(values), np.uint8), offsets_of(map(len, values)))

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(np.concatenate([part.blob for part in parts]), offsets_of(counts))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        return self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def take(self, rows: NDArray[np.int64]) -> Texts:
        counts = self.offsets[rows + 1] - self.offsets[rows]
        return Texts(self.blob[rows_between(self.offsets[rows], counts)], offsets_of(counts))

    def tolist(self) -> list[bytes]:
        """Return all of them."""
        data, offsets = self.blob.tobytes(), self.offsets.tolist()
        return [data[begin:end] for begin, end in pairwise(offsets)]


@dataclass(frozen=True, eq=False)
class Ids:
    """Ids [N], integers or texts."""

    numbers: NDArray[np.int64]  # [N], 0 for a text
    texts: Texts | None = None  # [N], empty for a number; None where all are numbers
    are_texts: NDArray[np.bool_] | None = None  # [N]

    @classmethod
    def of(cls, values: Sequence[str | int]) -> Ids:
        """Return ids in arrays; ValueError for an integer of more than 64 bits."""
        are_texts = np.array([isinstance(value, str) for value in values], bool)
        try:
            numbers = [0 if isinstance(value, str) else operator.index(value) for value in values]
            array = np.array(numbers, np.int64)
        except (TypeError, OverflowError) as error:
            raise ValueError(
                f"`image_id` must be a text or an integer of 64 bits ({error})"
            ) from error
        if not are_texts.any():
            return cls(array)
        texts = [encoded(value) if isinstance(value, str) else b"" for value in values]
        return cls(array, Texts.of(texts), are_texts)

    @classmethod
    def joined(cls, parts: Sequence[Ids]) -> Ids:
        numbers = np.concatenate([part.numbers for part in parts])
        if all(part.texts is None for part in parts):
            return cls(numbers)
        none = [Texts(np.zeros(0, np.uint8), np.zeros(len(part) + 1, np.int64)) for part in parts]
        texts = [part.texts or empty for part, empty in zip(parts, none, strict=True)]
        are_texts = [np.zeros(len(p), bool) if p.are_texts is None else p.are_texts for p in parts]
        return cls(numbers, Texts.joined(texts), np.concatenate(are_texts))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> str | int:
        if self.texts is not None and self.are_texts is not None and self.are_texts[row]:
            return decoded(self.texts[row])
        return int(self.numbers[row])

    def take(self, rows: NDArray[np.int64]) -> Ids:
        if self.texts is None or self.are_texts is None:
            return Ids(self.numbers[rows])
        return Ids(self.numbers[rows], self.texts.take(rows), self.are_texts[rows])

    def tolist(self) -> list[str | int]:
        numbers: list[str | int] = self.numbers.tolist()
        if self.texts is None or self.are_texts is None:
            return numbers
        both = zip(self.are_texts.tolist(), self.texts.tolist(), numbers, strict=True)
        return [decoded(text) if is_text else number for is_text, text, number in both]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row i has `values[offsets[i] : offsets[i + 1]]`.

    `values` [T, ...] are an array, or a sequence with `take` and `joined` as `Texts` has them.
    """

    values: Any
    offsets: NDArray[np.int64]  # [N + 1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of values of each row, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each value, int64 [T]."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    def __getitem__(self, row: int) -> Any:
        """A copy of the values of a row."""
        begin, end = self.offsets[row], self.offsets[row + 1]
        if isinstance(self.values, np.ndarray):
            return self.values[begin:end].copy()
        return self.values.take(np.arange(begin, end))

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        counts = self.offsets[rows + 1] - self.offsets[rows]
        chosen = rows_between(self.offsets[rows], counts)
        values = self.values
        values = values[chosen] if isinstance(values, np.ndarray) else values.take(chosen)
        return Ragged(values, offsets_of(counts))


def joined(
    columns: Sequence[Ragged | None], lengths: Sequence[int], fill: float = math.nan
) -> Ragged | None:
    """Return the rows of several columns as one column, or None where all are None.

    Args:
        columns: those to join; the rows of None are empty.
        lengths: the number of rows of each.
        fill: what arrays of a smaller shape than others are filled up with.
    """
    there = [column for column in columns if column is not None]
    if not there:
        return None
    counts = [
        np.zeros(length, np.int64) if column is None else column.counts
        for column, length in zip(columns, lengths, strict=True)
    ]
    values = [column.values for column in there if len(column.values)] or [there[0].values]
    if len(values) == 1:
        one = values[0]
    elif isinstance(values[0], np.ndarray):
        shape = tuple(np.max([value.shape[1:] for value in values], axis=0).astype(int).tolist())
        one = np.concatenate([_widened(value, shape, fill) for value in values])
    else:
        one = type(values[0]).joined(values)
    return Ragged(one, offsets_of(np.concatenate(counts)))


def _widened(values: NDArray[Any], shape: tuple[int, ...], fill: float) -> NDArray[Any]:
    if values.shape[1:] == shape:
        return values
    wide = np.full((len(values), *shape), fill, values.dtype)
    wide[tuple(map(slice, values.shape))] = values
    return wide
