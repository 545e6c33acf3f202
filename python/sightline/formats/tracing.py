"""Polygons along the edges of the pixels of a mask, which draw the same mask again."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.formats.shapes import Polygons, RunLengths, runs_to_mask

__all__ = ["mask_to_polygons", "runs_to_polygons"]

_RIGHT, _DOWN, _LEFT, _UP = range(4)  # so that a turn to the right adds 1
_STEP = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
# From the pixel that an edge belongs to, the place of the pixel on the other side (y, x) and of
# the edge's start (x, y).
_BESIDE = {_RIGHT: (-1, 0), _DOWN: (0, 1), _LEFT: (1, 0), _UP: (0, -1)}
_START = {_RIGHT: (0, 0), _DOWN: (1, 0), _LEFT: (1, 1), _UP: (0, 1)}


def mask_to_polygons(mask: ArrayLike) -> Polygons:
    """Return the outline of a mask [H, W], where values other than 0 are the object.

    There is one ring for each part of the object whose pixels share sides. It runs with the clock
    along the edges of pixels; a hole is joined to it by a seam without area. Drawn by
    `polygons_to_runs`, or by any program with the even-odd rule, it gives the mask again.

    >>> [ring.tolist() for ring in mask_to_polygons([[0, 1, 1], [0, 0, 0]]).rings]
    [[[1.0, 1.0], [1.0, 0.0], [3.0, 0.0], [3.0, 1.0]]]
    """
    pixels = np.asarray(mask) != 0
    if pixels.ndim != 2:
        raise ValueError(f"`mask` must have shape [H, W], got {list(pixels.shape)}")
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Polygons(())
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(pixels[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    corner = np.array([left - 1, top - 1])  # of the part, with its margin
    return Polygons(tuple(ring + corner for ring in _rings(*_edges(part))))


def runs_to_polygons(shape: RunLengths) -> Polygons:
    """Return the outline of run lengths, as `mask_to_polygons` does.

    Raises:
        ValueError: they are broken or do not fill their image.
    """
    return mask_to_polygons(runs_to_mask(shape))


def _edges(pixels: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges of the object, which is on their right: starts [E, 2] (x, y) and directions [E].

    The outermost pixels are background.
    """
    starts, directions = [], []
    for direction, beside in _BESIDE.items():
        y, x = np.nonzero(pixels & ~np.roll(pixels, (-beside[0], -beside[1]), (0, 1)))
        starts.append(np.stack([x, y], axis=1) + _START[direction])
        directions.append(np.full(len(x), direction))
    return np.concatenate(starts), np.concatenate(directions)


def _rings(starts: NDArray[np.int64], directions: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """The corners of each closed walk over the edges, with those of holes spliced in."""
    walk = _Walk(starts, directions)
    outer, holes = [], []
    down, x = (directions == _DOWN).tolist(), starts[:, 0].tolist()
    vertical = (directions % 2 == 1).tolist()
    for edges in walk.loops():
        first = min((edge for edge in edges if vertical[edge]), key=x.__getitem__)
        # The leftmost edge of a part goes up, that of a hole goes down.
        if down[first]:
            holes.append((first, edges))
        else:
            outer.append(first)
    for first, edges in holes:
        walk.splice(first, last=edges[edges.index(first) - 1])
    return [_corners(walk.points_from(first)) for first in outer]


class _Walk:
    """Which edge follows each, at the end of which it starts."""

    def __init__(self, starts: NDArray[np.int64], directions: NDArray[np.int64]) -> None:
        self._points: list[list[int]] = starts.tolist()
        width = int(starts[:, 0].max()) + 2
        number = starts @ [1, width]  # of the point
        leaving = np.full((int(number.max()) + width + 2, 4), -1)
        leaving[number, directions] = np.arange(len(starts))
        ends = (starts + _STEP[directions]) @ [1, width]
        # Where two pixels touch in a corner, a turn to the right stays at the same one.
        right, ahead, left = (leaving[ends, (directions + turn) % 4] for turn in (1, 0, 3))
        following = np.where(right >= 0, right, np.where(ahead >= 0, ahead, left))
        self._following: list[int] = following.tolist()
        up = np.flatnonzero(directions == _UP)
        self._up = up[np.argsort(number[up])]  # by row, and then from left to right
        self._up_numbers = number[self._up]
        self._width = width

    def loops(self) -> list[list[int]]:
        """The edges of each closed walk."""
        found, seen = [], [False] * len(self._following)
        for first, is_seen in enumerate(seen):
            edge, loop = first, []
            while not is_seen and not seen[edge]:
                seen[edge] = True
                loop.append(edge)
                edge = self._following[edge]
            if loop:
                found.append(loop)
        return found

    def splice(self, first: int, last: int) -> None:
        """Join a hole, by its leftmost edge and the one before it, to the walk on its left.

        The pixels between begin at an edge that goes up; two new edges lead from its end to the
        hole and back.
        """
        x, y = self._points[first]
        at = np.searchsorted(self._up_numbers, (y + 1) * self._width + x, side="left") - 1
        edge = int(self._up[at])
        corner = [self._points[edge][0], y]
        there, back = len(self._points), len(self._points) + 1
        self._points += [corner, [x, y]]
        self._following += [first, self._following[edge]]
        self._following[edge], self._following[last] = there, back

    def points_from(self, first: int) -> NDArray[np.float64]:
        """The starts of the edges of the walk from one of them."""
        found, edge = [self._points[first]], self._following[first]
        while edge != first:
            found.append(self._points[edge])
            edge = self._following[edge]
        return np.array(found, np.float64)


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points at which a ring turns."""
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    crossed = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return points[(crossed != 0) | ((before * after).sum(axis=1) < 0)]
