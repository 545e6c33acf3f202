"""Linear assignment: the matching of lowest total cost, as in set prediction."""

import math
from typing import Any

import numpy as np

from ._rules import indices, register_rules
from .arguments import as_floats, backend, check_mask, detached, is_tensor

Array = Any  # a torch.Tensor or a numpy.ndarray


def linear_assignment(cost: Array, *, mask: Array | None = None, maximize: bool = False) -> Array:
    """The column of each row in the assignment of lowest total cost, for a batch of problems.

    Each row gets at most one column and each column at most one row; there are as many pairs as the
    smaller side has entries. Pairs with a NaN or infinite cost are never matched: pad a batch with
    infinity, or pass a mask.

    Args:
        cost: [N, M], or [..., N, M], for example predictions by objects. Computed in float64.
        mask: bool [..., M]: the columns that exist; None for all.
        maximize: find the highest total instead of the lowest.

    Returns:
        int64 [..., N]: the column of each row, -1 where it has none. Not differentiable.

    Raises:
        ValueError: a wrong shape or device. TypeError: a mixture of tensors and arrays, or a dtype
        that is not a real number, or a mask that is not bool.

    Exact: shortest augmenting paths, O(min(N, M)^2 max(N, M)) at worst. The entries of the smaller
    side (rows where both are equal) are added in ascending order; where not all can be matched,
    earlier ones take precedence. Among equal path lengths a free partner comes first, then the
    lowest index, so that the choice among optima is the same on every device and for any number of
    threads. There is no GPU synchronisation.

    Source: Crouse, "On implementing 2D rectangular assignment algorithms", IEEE TAES 2016.

    >>> import numpy as np
    >>> linear_assignment(np.array([[4.0, 1.0], [2.0, 8.0], [3.0, 2.0]]))
    array([ 1,  0, -1])
    """
    native = backend(cost=cost, mask=mask, optional=("mask",))
    shape = tuple(cost.shape)
    if len(shape) < 2:
        raise ValueError(f"`cost` must have shape [..., N, M], got {list(shape)}")
    (cost,) = as_floats(cost=detached(cost))
    if maximize:
        cost = -cost
    if mask is not None:
        cost = _without_masked(cost, mask)
    batch = math.prod(shape[:-2])
    columns = native.linear_assignment(cost.reshape(batch, *shape[-2:]))
    return columns.reshape(shape[:-1])


def _without_masked(cost: Array, mask: Array) -> Array:
    expected = (*cost.shape[:-2], cost.shape[-1])
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"`mask` must have shape {list(expected)}, one for each column of `cost`, "
            f"got {list(mask.shape)}"
        )
    check_mask("mask", mask)
    mask = mask[..., None, :]
    if is_tensor(cost):
        return cost.masked_fill(~mask, float("inf"))
    return np.where(mask, cost, cost.dtype.type(np.inf))


register_rules("linear_assignment", lambda cost, *_: indices(cost, *cost.shape[:2]))
