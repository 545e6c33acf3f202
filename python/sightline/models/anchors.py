"""Anchor shapes from training boxes, and anchors on the maps of a detector."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Sizes = NDArray[np.float64]

# Boxes processed at a time: a few arrays of this length stay in a core's cache.
_CHUNK = 1 << 14


def _best_shapes(sizes: Sizes, centres: Sizes) -> tuple[Sizes, NDArray[np.int64]]:
    """The highest IoU of each of `[N, 2]` with `[K, 2]` (width, height) at the same centre, and its
    index, the first one among equals. No matrix is stored.
    """
    best, nearest = np.empty(len(sizes)), np.empty(len(sizes), np.int64)
    for start in range(0, len(sizes), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        width, height = np.ascontiguousarray(sizes[chunk].T)
        area = width * height
        highest, index = np.full(len(area), -1.0), np.zeros(len(area), np.int64)
        for k, (w, h) in enumerate(centres):
            overlap = np.minimum(width, w) * np.minimum(height, h)
            iou = overlap / (area + w * h - overlap)
            index[iou > highest] = k
            np.maximum(highest, iou, out=highest)
        best[chunk], nearest[chunk] = highest, index
    return best, nearest


def _checked_sizes(name: str, sizes: ArrayLike) -> Sizes:
    checked = np.asarray(sizes, np.float64)
    if checked.ndim != 2 or checked.shape[1] != 2 or len(checked) == 0:
        raise ValueError(f"`{name}` must have shape [N, 2] with N >= 1, got {list(checked.shape)}")
    if not (np.isfinite(checked).all() and (checked > 0).all()):
        raise ValueError(f"`{name}` must be finite and above 0; drop degenerate boxes first")
    return checked


def kmeans_anchors(sizes: ArrayLike, count: int, *, max_rounds: int = 300) -> NDArray[np.float64]:
    """Cluster box sizes by the distance 1 - IoU and return `count` anchor sizes, smallest first.

    Args:
        sizes: `[N, 2]` widths and heights in network pixels, all above 0.
        count: number of anchors, at least 1.
        max_rounds: largest number of rounds; it stops earlier once nothing changes.

    Returns `[count, 2]` float64. It is deterministic: the first centres are the boxes at even
    steps of log-area between the 2nd and the 98th percentile, so that rare sizes have a centre too;
    among equal distances the first centre wins, and a centre without boxes does not move.
    Time is N * count per round, memory a few numbers per box. Raises ValueError where there is no
    box or a size is not above 0.
    Source: Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2.

    >>> kmeans_anchors([[10, 10], [12, 12], [40, 20], [44, 20]], 2)
    array([[11., 11.],
           [42., 20.]])
    """
    sizes = _checked_sizes("sizes", sizes)
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    log_area = np.log(sizes.prod(1))
    low, high = np.percentile(log_area, [2, 98])
    wanted = np.linspace(low, high, count)
    centres = np.array([sizes[np.abs(log_area - area).argmin()] for area in wanted])
    for _ in range(max_rounds):
        nearest = _best_shapes(sizes, centres)[1]
        members = np.bincount(nearest, minlength=count)[:, None]
        sums = [np.bincount(nearest, weights=side, minlength=count) for side in sizes.T]
        moved = np.where(members > 0, np.stack(sums, 1) / np.maximum(members, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(1), kind="stable")]


def best_possible_recall(
    sizes: ArrayLike, anchor_sizes: ArrayLike, threshold: float, *, rule: str = "v3"
) -> float:
    """Return the share of boxes that some anchor fits, judged by shape only.

    Args:
        sizes: `[N, 2]` widths and heights of boxes in network pixels, all above 0.
        anchor_sizes: `[K, 2]` widths and heights of the anchors of all levels, all above 0.
        threshold: an anchor fits, for rules "v2" and "v3", with a shape IoU of at least this, in
            [0, 1]; for "v5", with a width and height that differ by less than this factor, above 1.
        rule: "v2", "v3" or "v5", as for `sightline.ops.assign_yolo`.

    Memory is a few numbers per box. Raises ValueError for sizes without a row or not above 0, a
    threshold out of range or another rule.

    >>> best_possible_recall([[10, 10], [30, 10]], [[10, 10], [20, 20]], 0.5)
    0.5
    >>> best_possible_recall([[10, 10], [30, 10]], [[10, 10], [20, 20]], 4.0, rule="v5")
    1.0
    """
    boxes, anchors = _checked_sizes("sizes", sizes), _checked_sizes("anchor_sizes", anchor_sizes)
    if rule not in ("v2", "v3", "v5"):
        raise ValueError(f"`rule` must be one of 'v2', 'v3', 'v5', got {rule!r}")
    if rule == "v5":
        if not threshold > 1:
            raise ValueError(f"`threshold` of rule 'v5' is a factor above 1, got {threshold}")
        fits = np.zeros(len(boxes), bool)
        for anchor in anchors:
            fits |= np.maximum(boxes / anchor, anchor / boxes).max(1) < threshold
    else:
        if not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` must lie in [0, 1], got {threshold}")
        fits = _best_shapes(boxes, anchors)[0] >= threshold
    return float(fits.mean())


def fit_anchors(
    sizes: ArrayLike, *, levels: int = 3, per_level: int = 3
) -> list[list[tuple[float, float]]]:
    """Return k-means anchors for a detector: `per_level` sizes for each of `levels` maps.

    The finest map gets the smallest anchors. Sizes are rounded to a tenth of a pixel, for readable
    settings files. See `kmeans_anchors` for `sizes` and errors.
    """
    centres = kmeans_anchors(sizes, levels * per_level).round(1).clip(0.1)
    pairs = [(float(width), float(height)) for width, height in centres]
    return [pairs[i * per_level : (i + 1) * per_level] for i in range(levels)]


def default_anchors(strides: Sequence[int]) -> list[list[tuple[float, float]]]:
    """Return nine sizes per map: areas `(4 * stride * 2^(0, 1/3, 2/3))^2`, aspects 1:2, 1:1, 2:1.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.
    """
    return [
        [
            (4 * stride * 2 ** (step / 3) / aspect**0.5, 4 * stride * 2 ** (step / 3) * aspect**0.5)
            for step in range(3)
            for aspect in (0.5, 1.0, 2.0)
        ]
        for stride in strides
    ]


def grid_anchors(sizes: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Lay anchors of `sizes` `[K, 2]` over a map: boxes `[height * width * K, 4]` in pixels.

    Anchors are centred on the cells, `((column + .5) * stride, (row + .5) * stride)`, and ordered
    by row, column, then size.
    """
    points = grid_points(stride, height, width, dtype=sizes.dtype, device=sizes.device)
    centres = points[:, None]
    return torch.cat((centres - sizes / 2, centres + sizes / 2), -1).reshape(-1, 4)


def grid_points(
    stride: float,
    height: int,
    width: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the centres of a map's cells, `[height * width, 2]` (x, y) in pixels, row by row.

    >>> grid_points(8, 1, 2).tolist()
    [[4.0, 4.0], [12.0, 4.0]]
    """
    rows = (torch.arange(height, device=device, dtype=dtype) + 0.5) * stride
    columns = (torch.arange(width, device=device, dtype=dtype) + 0.5) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 2)
