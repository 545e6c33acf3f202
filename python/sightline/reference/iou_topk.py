"""The largest entries of each row of the IoU matrix in plain NumPy: the specification."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .iou import Boxes, box_iou


class BoxIouTopk(NamedTuple):
    values: Boxes
    indices: NDArray[np.int64]


def box_iou_topk(boxes1: Boxes, boxes2: Boxes, k: int) -> BoxIouTopk:
    """[N, k]: the IoUs above 0, largest first, equal ones by column; then 0 and -1."""
    iou = box_iou(boxes1, boxes2)
    values = np.zeros((len(boxes1), k), iou.dtype)
    indices = np.full((len(boxes1), k), -1, np.int64)
    for i, row in enumerate(iou):
        best = np.argsort(-row, kind="stable")[:k]
        best = best[row[best] > 0]
        values[i, : len(best)], indices[i, : len(best)] = row[best], best
    return BoxIouTopk(values, indices)
