"""Largest entries of the IoU matrix in plain NumPy: the specification of the kernels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .iou import Boxes, box_iou

Integers = NDArray[np.int64]


class BoxIouMax(NamedTuple):
    row_max: Boxes
    row_argmax: Integers
    column_max: Boxes


def box_iou_max(boxes1: Boxes, boxes2: Boxes) -> BoxIouMax:
    """The largest IoU of each row [N], its column (the first, -1 for 0), and of each column [M]."""
    iou = box_iou(boxes1, boxes2)
    padded = np.pad(iou, ((0, 1), (0, 1)))  # so that the maximum of an empty row is 0
    row_max, column_max = padded[:-1].max(1), padded[:, :-1].max(0)
    row_argmax = np.where(row_max > 0, padded[:-1].argmax(1), -1)
    return BoxIouMax(row_max, row_argmax, column_max)
