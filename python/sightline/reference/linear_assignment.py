"""Linear assignment by shortest augmenting paths, step by step."""

import numpy as np
from numpy.typing import NDArray


def linear_assignment(
    cost: NDArray[np.floating],
    *,
    mask: NDArray[np.bool_] | None = None,
    maximize: bool = False,
) -> NDArray[np.int64]:
    """The column of each row of cost [..., N, M] in the cheapest assignment, or -1: [..., N]."""
    wide = -cost.astype(np.float64) if maximize else cost.astype(np.float64)
    allowed = np.isfinite(wide) & (True if mask is None else mask[..., None, :])
    wide = np.where(allowed, wide, np.inf)
    columns = np.full(cost.shape[:-1], -1)
    for problem in np.ndindex(cost.shape[:-2]):
        n, m = cost.shape[-2:]
        if n <= m:
            columns[problem] = _partners(wide[problem])
        else:
            rows = _partners(wide[problem].T)
            columns[problem][rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return columns


def _partners(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """For cost [N, M] with N <= M: rows are added one by one, each along the shortest path."""
    n, m = cost.shape
    row_potential, column_potential = np.zeros(n), np.zeros(m)
    row_of, column_of = np.full(m, -1), np.full(n, -1)
    for entering in range(n):
        length, previous = np.full(m, np.inf), np.full(m, -1)
        visited: list[int] = []
        row, distance = entering, 0.0
        while True:
            for j in range(m):
                offered = distance + cost[row, j] - row_potential[row] - column_potential[j]
                if j not in visited and offered < length[j]:
                    length[j], previous[j] = offered, row
            # The nearest column; of equals a free one, then the first.
            open_columns = (j for j in range(m) if j not in visited and length[j] < np.inf)
            nearest = min(open_columns, key=lambda j: (length[j], row_of[j] >= 0, j), default=-1)
            if nearest < 0:
                break  # no path: this row stays out
            visited.append(nearest)
            distance, row = length[nearest], row_of[nearest]
            if row < 0:
                break
        if nearest < 0:
            continue
        row_potential[entering] += distance
        for j in visited:
            column_potential[j] -= distance - length[j]
            if row_of[j] >= 0:
                row_potential[row_of[j]] += distance - length[j]
        row, column = -1, nearest
        while row != entering:
            row = previous[column]
            row_of[column] = row
            column_of[row], column = column, column_of[row]
    return column_of
