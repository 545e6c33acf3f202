"""Anchor shapes from training boxes, and anchors laid over the maps of a detector."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def _shape_iou(sizes: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes `[N, 2]` (width, height) and `[K, 2]` that share a centre: `[N, K]`."""
    overlap = np.minimum(sizes[:, None], centres[None]).prod(2)
    return overlap / (sizes.prod(1)[:, None] + centres.prod(1)[None] - overlap)


def kmeans_anchors(sizes: ArrayLike, count: int, *, max_rounds: int = 300) -> NDArray[np.float64]:
    """Cluster box sizes by the distance 1 - IoU and return `count` anchor sizes, smallest first.

    Args:
        sizes: `[N, 2]` widths and heights in network pixels, all above 0.
        count: number of anchors, at least 1.
        max_rounds: rounds of assignment and update at most; it stops earlier once nothing moves.

    Returns `[count, 2]` float64. There is no chance in it: the first centres are the boxes at even
    steps of log-area between the 2nd and the 98th percentile, so that rare sizes have a centre too,
    an equal distance goes to the first centre, and a centre left without boxes stays where it is.
    Costs O(N * count) a round. Raises ValueError where there is no box or a size is not above 0.
    Source: Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2.

    >>> kmeans_anchors([[10, 10], [12, 12], [40, 20], [44, 20]], 2)
    array([[11., 11.],
           [42., 20.]])
    """
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or len(sizes) == 0:
        raise ValueError(f"`sizes` must have shape [N, 2] with N >= 1, got {list(sizes.shape)}")
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("`sizes` must be finite and above 0; drop degenerate boxes first")
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    log_area = np.log(sizes.prod(1))
    low, high = np.percentile(log_area, [2, 98])
    wanted = np.linspace(low, high, count)
    centres = sizes[np.abs(log_area[:, None] - wanted[None]).argmin(0)]
    for _ in range(max_rounds):
        nearest = _shape_iou(sizes, centres).argmax(1)
        moved = np.array(
            [
                sizes[nearest == k].mean(0) if (nearest == k).any() else centres[k]
                for k in range(count)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(1), kind="stable")]


def fit_anchors(
    sizes: ArrayLike, *, levels: int = 3, per_level: int = 3
) -> list[list[tuple[float, float]]]:
    """Return k-means anchors for a detector: `per_level` sizes for each of `levels` maps.

    The finest map gets the smallest anchors. Sizes are rounded to a tenth of a pixel, so that they
    read well in a settings file. See `kmeans_anchors` for `sizes` and what it raises.
    """
    centres = kmeans_anchors(sizes, levels * per_level).round(1).clip(0.1)
    pairs = [(float(width), float(height)) for width, height in centres]
    return [pairs[i * per_level : (i + 1) * per_level] for i in range(levels)]


def default_anchors(strides: Sequence[int]) -> list[list[tuple[float, float]]]:
    """Return nine sizes a map: areas `(4 * stride * 2^(0, 1/3, 2/3))^2`, aspects 1:2, 1:1, 2:1.

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
    rows = (torch.arange(height, device=sizes.device, dtype=sizes.dtype) + 0.5) * stride
    columns = (torch.arange(width, device=sizes.device, dtype=sizes.dtype) + 0.5) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack((x, y), -1)[:, :, None]
    corners = torch.cat((centres - sizes / 2, centres + sizes / 2), -1)
    return corners.reshape(-1, 4)
