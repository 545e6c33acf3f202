"""Orders, ranks and sums of segments, for arrays and tensors.

The kernels of average precision take sorted orders as arguments, since NumPy and torch already
have a stable sort on every device.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arguments import is_tensor, torch

Array = Any  # a torch.Tensor or a numpy.ndarray


def as_float64(name: str, values: Array) -> Array:
    """`values` as contiguous float64 without gradient; TypeError unless they are real numbers."""
    if is_tensor(values):
        if values.dtype == torch.bool or values.dtype.is_complex:
            raise TypeError(f"`{name}` must hold real numbers, got dtype {values.dtype}")
        return values.detach().to(torch.float64).contiguous()
    if values.dtype.kind not in "fiu":
        raise TypeError(f"`{name}` must hold real numbers, got dtype {values.dtype}")
    return np.ascontiguousarray(values, np.float64)


def contiguous(values: Array) -> Array:
    return values.contiguous() if is_tensor(values) else np.ascontiguousarray(values)


def falses(like: Array) -> Array:
    """bool [N] of False for `like` [N, ...]."""
    if is_tensor(like):
        return torch.zeros(like.shape[0], dtype=torch.bool, device=like.device)
    return np.zeros(like.shape[0], bool)


def box_areas(boxes_xywh: Array) -> Array:
    """Width times height [N]; infinite on overflow, without a warning."""
    if is_tensor(boxes_xywh):
        return boxes_xywh[:, 2] * boxes_xywh[:, 3]
    with np.errstate(over="ignore", invalid="ignore"):
        return boxes_xywh[:, 2] * boxes_xywh[:, 3]


def as_parameter(values: Sequence[Any], like: Array) -> Array:
    """A list of numbers as an array or tensor with the kind, dtype and device of `like`."""
    if is_tensor(like):
        return torch.tensor(values, dtype=like.dtype, device=like.device)
    return np.array(values, like.dtype)


def check_offsets(name: str, offsets: Array, total: int) -> None:
    """ValueError unless int64 `offsets` [S + 1] run from 0 to `total` without descending.

    Values on a GPU, or in a graph that is being compiled, are not checked.
    """
    if len(offsets.shape) != 1 or offsets.shape[0] < 1:
        raise ValueError(f"`{name}` must have shape [S + 1], got {list(offsets.shape)}")
    if is_tensor(offsets):
        if torch.compiler.is_compiling() or offsets.device.type != "cpu":
            return
        offsets = offsets.numpy()
    if offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"`{name}` must run from 0 to {total} without descending, got {offsets.tolist()[:8]}"
            + (" ..." if len(offsets) > 8 else "")
        )


def segment_of_row(offsets: Array, rows: int) -> Array:
    """int64 [rows]: the segment of each row; empty segments have no rows."""
    if is_tensor(offsets):
        positions = torch.arange(rows, device=offsets.device)
        return torch.searchsorted(offsets[1:].contiguous(), positions, right=True)
    return np.searchsorted(offsets[1:], np.arange(rows), side="right")


def order_by_score(scores: Array, offsets: Array) -> Array:
    """int64 [D]: rows by segment, then by score, best first, then as given; NaN last."""
    segment = segment_of_row(offsets, scores.shape[0])
    ascending = 0.0 - scores  # this also turns -0 into 0, which a sort by bits would separate
    if is_tensor(scores):
        by_score = torch.argsort(ascending, stable=True)
        return by_score[torch.argsort(segment[by_score], stable=True)]
    return np.lexsort((ascending, segment))


def ranks(order: Array, offsets: Array) -> Array:
    """int64 [D]: rank of each row in its segment, given the order by segment, from 0."""
    rows = order.shape[0]
    segment = segment_of_row(offsets, rows)
    if is_tensor(order):
        places = torch.arange(rows, device=order.device) - offsets[segment]
        return torch.empty_like(order).scatter(0, order, places)
    rank = np.empty_like(order)
    rank[order] = np.arange(rows) - offsets[segment]
    return rank


def sums_of_segments(values: Array, offsets: Array) -> Array:
    """Sums over segments of the last axis, from int64 [A, S] and offsets [K + 1]: [A, K]."""
    running = values.cumsum(1)
    pad: Any = torch.nn.functional.pad if is_tensor(values) else np.pad
    total = pad(running, (1, 0) if is_tensor(values) else ((0, 0), (1, 0)))
    return contiguous(total[:, offsets[1:]] - total[:, offsets[:-1]])
