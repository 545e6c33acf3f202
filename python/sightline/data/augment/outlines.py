"""Outlines of objects as points in turn, from which hulls of mapped objects are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.clip import clip_ring
from sightline.data.augment.geometry import Matrix, map_points
from sightline.formats.shapes import Polygons, RunLengths, Shape, corners_of_rotated, runs_to_mask

__all__ = ["Outlines", "outlines_of"]

_EDGE_STEP = 4.0  # network pixels between the points of an edge that is bent
_MOST_STEPS = 128  # along one edge


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons of N objects, at least one each.

    Attributes:
        points: float64 [M, 2], one ring after the other.
        lengths: int64 [R], the points of each ring.
        rings: int64 [N], the rings of each object.
    """

    points: NDArray[np.float64]
    lengths: NDArray[np.int64]
    rings: NDArray[np.int64]

    def split(self) -> list[NDArray[np.float64]]:
        """Return the rings [P, 2] one by one."""
        return np.split(self.points, np.cumsum(self.lengths)[:-1])

    def fine(self, matrix: Matrix) -> Outlines:
        """Add points to edges, so that each edge can follow a bend after it is mapped."""
        ends = np.cumsum(self.lengths)
        following = np.arange(1, len(self.points) + 1)
        following[ends - 1] = ends - self.lengths
        there = map_points(matrix, self.points)
        longest = np.abs(there[following] - there).max(axis=1)
        steps = np.clip(np.ceil(longest / _EDGE_STEP), 1, _MOST_STEPS).astype(np.int64)
        edge = np.repeat(np.arange(len(steps)), steps)
        share = (np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[edge]
        way = (self.points[following] - self.points)[edge]
        points = self.points[edge] + way * share[:, None]
        return Outlines(points, np.add.reduceat(steps, ends - self.lengths), self.rings)

    def hulls(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the boxes [N, 4] around the objects, and around what of each lies in an image.

        Of an outline that leaves the image, the box around what is left may be smaller than what is
        left of the box.
        """
        first = np.cumsum(self.rings) - self.rings
        counts = np.add.reduceat(self.lengths, first)
        starts = np.cumsum(counts) - counts
        low = np.minimum.reduceat(self.points, starts)
        high = np.maximum.reduceat(self.points, starts)
        hulls = np.concatenate([low, high], axis=1)
        edge = np.array([width, height])
        leaves = ((low < 0) | (high > edge)).any(axis=1)
        visible = hulls.copy()
        rows = np.flatnonzero(leaves & ((high > 0) & (low < edge)).all(axis=1)).tolist()
        rings = self.split() if rows else []
        for row in rows:
            own = rings[first[row] : first[row] + self.rings[row]]
            left = np.concatenate([clip_ring(ring, height, width) for ring in own])
            if len(left):
                visible[row] = [*left.min(axis=0), *left.max(axis=0)]
        return hulls, visible


def outlines_of(
    boxes: NDArray[np.float64],
    shapes: Sequence[Shape | None] | None = None,
    rotated: NDArray[np.float64] | None = None,
) -> Outlines:
    """Return the outline of each object: its polygons or mask, its rotated box, or its box."""
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    if rotated is not None:
        turned = corners_of_rotated(rotated)
        known = np.isfinite(turned).all(axis=(1, 2))
        corners[known] = turned[known]
    if shapes is None:
        count = len(boxes)
        return Outlines(corners.reshape(-1, 2), np.full(count, 4), np.ones(count, np.int64))
    objects = [_rings(shape) or [box] for shape, box in zip(shapes, corners, strict=True)]
    rings = [ring for own in objects for ring in own]
    lengths = np.array([len(ring) for ring in rings], np.int64)
    return Outlines(np.concatenate(rings), lengths, np.array([len(own) for own in objects]))


def _rings(shape: Shape | None) -> list[NDArray[np.float64]]:
    if isinstance(shape, Polygons):
        return [ring for ring in shape.rings if len(ring)]
    return [] if shape is None else _around(shape)


def _around(shape: RunLengths) -> list[NDArray[np.float64]]:
    """Return the polygon around a mask, along the first and last pixel of each column."""
    mask = runs_to_mask(shape)
    columns = np.flatnonzero(mask.any(axis=0))
    if len(columns) == 0:
        return []
    top = mask[:, columns].argmax(axis=0)
    bottom = len(mask) - mask[::-1, columns].argmax(axis=0)
    x = np.stack([columns, columns + 1], axis=1).reshape(-1)
    there = np.stack([x, np.repeat(top, 2)], axis=1)
    back = np.stack([x, np.repeat(bottom, 2)], axis=1)[::-1]
    return [np.concatenate([there, back]).astype(np.float64)]
