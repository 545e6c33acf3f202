"""The outline of an object, as label files hold it: polygons or run lengths; and rotated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline import _numpy

__all__ = [
    "Polygons",
    "RunLengths",
    "Shape",
    "compress_runs",
    "corners_of_rotated",
    "mask_to_runs",
    "polygon_area",
    "polygons_to_runs",
    "rotated_of_corners",
    "run_lengths",
    "runs_to_mask",
    "shape_area",
    "shape_hull",
    "shape_to_mask",
    "union_of",
]

_native: Any = _numpy  # compiled, without type stubs
# The kinds of masks that the native table knows.
_POLYGONS, _STRING, _RUNS = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Polygons:
    """One object as the union of polygons.

    `rings` are float64 [P, 2] each, x and y in pixels of the image as shown; a ring closes from its
    last point to its first.
    """

    rings: tuple[NDArray[np.float64], ...]

    def __post_init__(self) -> None:
        rings = tuple(np.asarray(ring, np.float64).reshape(-1, 2) for ring in self.rings)
        object.__setattr__(self, "rings", rings)

    def hull(self) -> tuple[float, float, float, float]:
        """Return the xyxy box around all points."""
        points = np.concatenate(self.rings)
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x1, y1, x2, y2


@dataclass(frozen=True)
class RunLengths:
    """One object as COCO's run lengths over an image of `size` (height, width).

    `counts` are the lengths of runs of zeros and ones in turn, down the columns, in COCO's
    compressed form.
    """

    size: tuple[int, int]
    counts: bytes


Shape = Polygons | RunLengths


def shape_hull(shape: Shape) -> tuple[float, float, float, float]:
    """Return the xyxy box around an outline: its points, or its pixels with their far sides.

    Raises:
        ValueError: run lengths that are broken or do not fill their image.

    >>> shape_hull(RunLengths((2, 3), compress_runs([1, 2, 3])))
    (0.0, 0.0, 2.0, 2.0)
    """
    if isinstance(shape, Polygons):
        return shape.hull()
    _, boxes = _native.measure_masks(_table([shape], shape.size))
    x, y, width, height = boxes[0].tolist()
    return x, y, x + width, y + height


def shape_area(shape: Shape) -> float:
    """Return the area of an outline in pixels; where its polygons overlap, pixels count twice.

    Raises:
        ValueError: run lengths that are broken or do not fill their image.
    """
    if isinstance(shape, Polygons):
        return sum(polygon_area(ring) for ring in shape.rings)
    areas, _ = _native.measure_masks(_table([shape], shape.size))
    return float(areas[0])


def polygon_area(points: ArrayLike) -> float:
    """Return the area of a polygon [P, 2] by the shoelace formula, in either direction of turn.

    >>> polygon_area([[0, 0], [4, 0], [4, 3], [0, 3]]), polygon_area([[0, 0], [0, 3], [4, 0]])
    (12.0, 6.0)
    """
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    if len(xy) < 3:
        return 0.0
    x, y = (xy - xy[0]).T  # relative, so that a small polygon far from the origin is exact
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def corners_of_rotated(boxes: ArrayLike) -> NDArray[np.float64]:
    """Return the corners [N, 4, 2] of rotated boxes [N, 5] (cx, cy, w, h, angle in degrees).

    The first is the top left one of the box before its rotation; the second is at the other end of
    a side of length w. A positive angle turns against the clock as seen in the image, as in
    `box_iou_rotated`.

    >>> corners_of_rotated([[10, 20, 4, 2, 0]]).tolist()
    [[[8.0, 19.0], [12.0, 19.0], [12.0, 21.0], [8.0, 21.0]]]
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
    centres, sides, radians = boxes[:, :2], boxes[:, 2:4], np.radians(boxes[:, 4])
    along = np.stack([np.cos(radians), -np.sin(radians)], axis=1) * sides[:, :1] / 2
    across = np.stack([np.sin(radians), np.cos(radians)], axis=1) * sides[:, 1:] / 2
    offsets = [-along - across, along - across, along + across, across - along]
    return centres[:, None] + np.stack(offsets, axis=1)


def rotated_of_corners(corners: ArrayLike) -> NDArray[np.float64]:
    """Return rotated boxes [N, 5] (cx, cy, w, h, angle in degrees) of corners [N, 4, 2] in turn.

    The inverse of `corners_of_rotated`, with angles in -180 to 180: w is the side from the first
    corner to the second. Of four corners that are no rectangle, opposite sides are averaged.

    >>> rotated_of_corners([[[8, 19], [12, 19], [12, 21], [8, 21]]]).tolist()
    [[10.0, 20.0, 4.0, 2.0, 0.0]]
    """
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 2)
    along = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]) / 2
    across = (corners[:, 2] - corners[:, 1] + corners[:, 3] - corners[:, 0]) / 2
    sides = np.stack([np.hypot(*along.T), np.hypot(*across.T)], axis=1)
    angles = np.degrees(np.arctan2(-along[:, 1], along[:, 0])) + 0.0  # no -0
    return np.concatenate([corners.mean(axis=1), sides, angles[:, None]], axis=1)


def compress_runs(runs: ArrayLike, size: tuple[int, int] | None = None) -> bytes:
    """Return COCO's compressed form of run lengths, the first of them background.

    Args:
        runs: whole numbers, not negative.
        size: height and width of the image, which they must fill where it is given.

    Raises:
        ValueError: they are negative, too large, or do not fill the image.

    >>> compress_runs([1, 2, 3]), compress_runs([0, 100, 20])
    (b'123', b'0T3d0')
    """
    counts = np.asarray(runs, np.int64).reshape(-1)
    if counts.size and not (counts.min() >= 0 and counts.max() < 2**32):
        raise ValueError(f"`runs` must lie in 0 ... 2**32 - 1, got {counts.min()} or more")
    size = size or (int(counts.sum()), 1)
    strings, _ = _native.mask_counts(_table([counts.astype(np.uint32)], size), True)
    return strings.tobytes()


def run_lengths(shape: RunLengths) -> NDArray[np.uint32]:
    """Return the lengths of the runs, the first of them background, as uint32.

    Raises:
        ValueError: they are broken or do not fill their image.

    >>> run_lengths(RunLengths((2, 3), b"123")).tolist()
    [1, 2, 3]
    """
    counts, _ = _native.mask_counts(_table([shape], shape.size), False)
    return counts


def mask_to_runs(
    mask: ArrayLike, size: tuple[int, int] | None = None, corner: tuple[int, int] = (0, 0)
) -> RunLengths:
    """Return the run lengths of a mask [H, W], where values other than 0 are the object.

    Args:
        mask: the whole image, or a part of it.
        size: height and width of the image, by default those of the mask.
        corner: x and y in the image of the mask's first pixel.

    Raises:
        ValueError: the mask does not lie in the image, or that has 2^32 pixels or more.

    >>> mask_to_runs([[0, 1], [0, 1]])
    RunLengths(size=(2, 2), counts=b'22')
    >>> run_lengths(mask_to_runs([[1, 1]], (2, 3), (1, 0))).tolist()
    [2, 1, 1, 1, 1]
    """
    pixels = np.asarray(mask) != 0
    if pixels.ndim != 2:
        raise ValueError(f"`mask` must have shape [H, W], got {list(pixels.shape)}")
    if size is None and corner == (0, 0):
        strings, _ = _native.encode_masks(pixels[None], True)
        return RunLengths((pixels.shape[0], pixels.shape[1]), strings.tobytes())
    height, width = size or pixels.shape
    x, y = corner
    if min(x, y) < 0 or x + pixels.shape[1] > width or y + pixels.shape[0] > height:
        raise ValueError(
            f"a mask of {list(pixels.shape)} at x={x} y={y} is not in an image of {[height, width]}"
        )
    if height * width >= 2**32:
        raise ValueError(f"an image must have fewer than 2**32 pixels, got {height} x {width}")
    padded = np.pad(pixels, ((1, 1), (0, 0))).T.astype(np.int8)
    columns, rows = np.nonzero(np.diff(padded, axis=1))  # begins and ends of runs, in turn
    ends = (columns + x) * height + rows + y
    begins, ends = ends[::2], ends[1::2]
    apart = np.ones(len(begins) + 1, bool)
    apart[1:-1] = begins[1:] != ends[:-1]  # not a run that goes on in the next column
    bounds = np.stack([begins[apart[:-1]], ends[apart[1:]]], axis=1).ravel()
    runs = np.diff(np.concatenate([[0], bounds, [height * width]]))
    return RunLengths((height, width), compress_runs(runs if runs[-1] else runs[:-1]))


def polygons_to_runs(polygons: Polygons, size: tuple[int, int]) -> RunLengths:
    """Return the run lengths of polygons drawn into an image of `size` (height, width).

    A pixel belongs to the object where it is inside any of the rings; what lies outside the image
    is cut off. The pixels are those of pycocotools.

    >>> square = Polygons(([[1, 1], [3, 1], [3, 3], [1, 3]],))
    >>> run_lengths(polygons_to_runs(square, (4, 4))).tolist()
    [5, 2, 2, 2, 5]
    """
    strings, _ = _native.mask_counts(_table([polygons], size), True)
    return RunLengths(size, strings.tobytes())


def union_of(shapes: Sequence[Shape], size: tuple[int, int]) -> RunLengths:
    """Return the pixels of any of one or more outlines in an image of `size` (height, width).

    Raises:
        ValueError: run lengths that are broken or of another size.
    """
    offsets = np.array([0, len(shapes)], np.int64)
    strings, _ = _native.merge_masks(_table(shapes, size), offsets, False, True)
    return RunLengths(size, strings.tobytes())


def runs_to_mask(shape: RunLengths) -> NDArray[np.bool_]:
    """Return the mask, bool [H, W], of run lengths.

    Raises:
        ValueError: they are broken or do not fill their image.
    """
    columns = _native.decode_masks(_table([shape], shape.size))
    return columns[0].view(bool).T


def shape_to_mask(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask, bool [H, W], of an outline in an image of `size` (height, width).

    Raises:
        ValueError: run lengths that are broken or of another size.
    """
    if isinstance(shape, Polygons):
        return runs_to_mask(polygons_to_runs(shape, size))
    if tuple(shape.size) != tuple(size):
        raise ValueError(f"the run lengths are of size {shape.size}, the image of {size}")
    return runs_to_mask(shape)


def _table(shapes: Sequence[Shape | NDArray[np.uint32]], size: tuple[int, int]) -> Any:
    """The native table of masks: outlines, or run lengths that are not compressed."""
    rings: list[NDArray[np.float64]] = []
    strings: list[bytes] = []
    runs: list[NDArray[np.uint32]] = []
    rows = []
    for shape in shapes:
        height, width = shape.size if isinstance(shape, RunLengths) else size
        if isinstance(shape, Polygons):
            rows.append((height, width, _POLYGONS, len(rings), len(shape.rings)))
            rings += [ring.reshape(-1) for ring in shape.rings]
        elif isinstance(shape, RunLengths):
            rows.append((height, width, _STRING, sum(map(len, strings)), len(shape.counts)))
            strings.append(shape.counts)
        else:
            rows.append((height, width, _RUNS, sum(map(len, runs)), len(shape)))
            runs.append(shape)
    columns = np.array(rows, np.int64).reshape(-1, 5)
    return _native.MaskTable(
        np.ascontiguousarray(columns[:, :2]),
        columns[:, 2].astype(np.uint8),
        np.ascontiguousarray(columns[:, 3]),
        np.ascontiguousarray(columns[:, 4]),
        np.cumsum([0, *map(len, rings)], dtype=np.int64),
        np.concatenate([np.zeros(0), *rings]),
        np.frombuffer(b"".join(strings), np.uint8),
        np.concatenate([np.zeros(0, np.uint32), *runs]),
        "shape",
    )
