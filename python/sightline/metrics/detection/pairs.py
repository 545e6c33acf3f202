"""Detections and objects of the same image that overlap, regardless of class."""

from dataclasses import dataclass

import numpy as np

# Pairs that are processed at once: about 60 MB of columns.
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Pairs:
    """Pairs of detections and objects with their overlap."""

    dt_row: np.ndarray  # [P]
    gt_row: np.ndarray  # [P]
    overlap: np.ndarray  # [P]

    def where(self, kept: np.ndarray) -> "Pairs":
        return Pairs(self.dt_row[kept], self.gt_row[kept], self.overlap[kept])


def overlapping_pairs(
    dt_image: np.ndarray,  # [N]
    dt_boxes: np.ndarray,  # [N, 4] xywh
    gt_image: np.ndarray,  # [M]
    gt_boxes: np.ndarray,  # [M, 4] xywh
    gt_crowd: np.ndarray,  # [M]
    *,
    at_least: float,
    inclusive: bool = False,
) -> Pairs:
    """Pairs whose overlap is `at_least` (> 0): IoU, or for crowds the share of the detection.

    The overlap equals that of matching to the last bit. `inclusive` adds one pixel to each side.
    """
    pixel = 1.0 if inclusive else 0.0
    dt_order, gt_order = (np.argsort(image, kind="stable") for image in (dt_image, gt_image))
    # the objects of each detection's image follow each other in gt_order
    image_of_gt, image_of_dt = gt_image[gt_order], dt_image[dt_order]
    first = np.searchsorted(image_of_gt, image_of_dt)
    count = np.searchsorted(image_of_gt, image_of_dt, side="right") - first
    ends = np.cumsum(count)
    dt, gt = _columns(dt_boxes[dt_order], pixel), _columns(gt_boxes[gt_order], pixel)
    crowd = gt_crowd[gt_order]

    found = []
    begin = 0
    while begin < len(ends):
        seen = ends[begin] - count[begin]
        end = max(begin + 1, int(np.searchsorted(ends, seen + _PAIRS_AT_ONCE)))
        d = np.repeat(np.arange(begin, end), count[begin:end])
        g = np.arange(len(d)) - (ends - count - first)[d] + seen
        found.append(_overlapping(dt, gt, crowd, d, g, at_least, pixel))
        begin = end
    empty = np.zeros(0, np.int64)
    nothing = (empty, empty, np.zeros(0))
    d, g, overlap = (np.concatenate(column) for column in zip(nothing, *found))
    return Pairs(dt_order[d], gt_order[g], overlap)


def overlap_of_pairs(
    dt_boxes: np.ndarray,  # [N, 4] xywh
    gt_boxes: np.ndarray,  # [M, 4] xywh
    gt_crowd: np.ndarray,  # [M]
    dt_rows: np.ndarray,  # [P]
    gt_rows: np.ndarray,  # [P]
    *,
    inclusive: bool = False,
) -> np.ndarray:
    """Overlap [P] of given pairs, as in `overlapping_pairs`."""
    pixel = 1.0 if inclusive else 0.0
    dt, gt = _columns(dt_boxes[dt_rows], pixel), _columns(gt_boxes[gt_rows], pixel)
    place = np.arange(len(dt_rows))
    overlap = np.zeros(len(dt_rows))
    pairs, _, found = _overlapping(dt, gt, gt_crowd[gt_rows], place, place, 0.0, pixel)
    overlap[pairs] = found
    return overlap


_Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _columns(boxes_xywh: np.ndarray, pixel: float) -> _Columns:
    """x1, y1, x2, y2 and area, each [N]."""
    x, y, w, h = boxes_xywh.T.copy()
    return x, y, w + x, h + y, (w + pixel) * (h + pixel)


def _overlapping(
    dt: _Columns,
    gt: _Columns,
    crowd: np.ndarray,
    d: np.ndarray,  # [P] rows of dt
    g: np.ndarray,  # [P] rows of gt
    at_least: float,
    pixel: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width = np.minimum(dt[2][d], gt[2][g]) - np.maximum(dt[0][d], gt[0][g]) + pixel
    meet = np.flatnonzero(width > 0)
    d, g, width = d[meet], g[meet], width[meet]
    height = np.minimum(dt[3][d], gt[3][g]) - np.maximum(dt[1][d], gt[1][g]) + pixel
    meet = np.flatnonzero(height > 0)
    d, g = d[meet], g[meet]
    inter = width[meet] * height[meet]
    union = np.where(crowd[g], dt[4][d], dt[4][d] + gt[4][g] - inter)
    # where the union is 0 or overflows, there is no overlap
    regular = (union > 0) & (union < np.inf)
    overlap = np.where(regular, inter, 0.0) / np.where(regular, union, 1.0)
    enough = np.flatnonzero(overlap >= at_least)
    return d[enough], g[enough], overlap[enough]
