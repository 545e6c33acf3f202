"""Outlines of many objects, kept in arrays or in a label file, and built when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.formats.columns import Texts, offsets_of
from sightline.formats.shapes import Polygons, RunLengths, Shape

__all__ = ["ShapeSource", "Shapes", "StoredShapes"]

_NONE = -1


class ShapeSource(Protocol):
    """Where outlines are kept."""

    def shape(self, row: int) -> Shape:
        """Return one of them."""


@dataclass(frozen=True, eq=False)
class Shapes(Sequence[Shape | None]):
    """The outlines of N objects, None where an object has none; built at each access.

    Object i has the outline `row[i]` of `sources[source[i]]`.
    """

    sources: tuple[ShapeSource, ...]
    source: NDArray[np.int32]  # [N], -1 where there is none
    row: NDArray[np.int64]  # [N]

    @classmethod
    def of(cls, shapes: Sequence[Shape | None]) -> Shapes:
        """Return outlines in arrays; those that are kept elsewhere already stay there."""
        if isinstance(shapes, Shapes):
            return shapes
        there = np.array([shape is not None for shape in shapes], bool)
        stored = StoredShapes.of([shape for shape in shapes if shape is not None])
        return cls((stored,), np.where(there, 0, _NONE).astype(np.int32), np.cumsum(there) - 1)

    @classmethod
    def joined(cls, parts: Sequence[Shapes]) -> Shapes:
        place: dict[int, int] = {}  # of a source that several parts share
        sources: list[ShapeSource] = []
        numbers = []
        for part in parts:
            for source in part.sources:
                if place.setdefault(id(source), len(sources)) == len(sources):
                    sources.append(source)
            moved = np.array([*(place[id(source)] for source in part.sources), _NONE], np.int32)
            numbers.append(moved[part.source])  # the last is that of -1
        rows = np.concatenate([part.row for part in parts])
        return cls(tuple(sources), np.concatenate(numbers), rows)

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> Shape | None: ...
    @overload
    def __getitem__(self, index: slice) -> Shapes: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(index)
        number = self.source[index]
        return None if number < 0 else self.sources[number].shape(int(self.row[index]))

    def take(self, rows: ArrayLike | slice) -> Shapes:
        """Return the outlines of some objects, without building them."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows, np.int64)
        return Shapes(self.sources, self.source[rows], self.row[rows])


@dataclass(frozen=True, eq=False)
class StoredShapes:
    """Outlines [S] in arrays.

    Outline i is the polygons of `rings` from parts[i] to parts[i + 1], or where it has run lengths,
    that one text of `strings`.
    """

    sizes: NDArray[np.int64]  # [S, 2] height and width of run lengths; -1 for polygons
    parts: NDArray[np.int64]  # [S + 1], into the rings
    ring_offsets: NDArray[np.int64]  # [R + 1], into the points
    points: NDArray[np.float64]  # [P, 2]
    strings: Texts  # [S], empty for polygons

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> StoredShapes:
        rings = [shape.rings if isinstance(shape, Polygons) else () for shape in shapes]
        sizes = [shape.size if isinstance(shape, RunLengths) else (-1, -1) for shape in shapes]
        flat = [ring for some in rings for ring in some]
        return cls(
            np.array(sizes, np.int64).reshape(-1, 2),
            offsets_of(map(len, rings)),
            offsets_of(map(len, flat)),
            np.concatenate([np.zeros((0, 2)), *flat]),
            Texts.of([s.counts if isinstance(s, RunLengths) else b"" for s in shapes]),
        )

    def shape(self, row: int) -> Shape:
        height, width = self.sizes[row].tolist()
        if height >= 0:
            return RunLengths((height, width), self.strings[row])
        bounds = self.ring_offsets[self.parts[row] : self.parts[row + 1] + 1].tolist()
        return Polygons(tuple(self.points[a:b].copy() for a, b in pairwise(bounds)))
