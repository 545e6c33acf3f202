"""Overlaps of masks and of keypoints for `evaluate`, instead of the IoU of boxes."""

from dataclasses import dataclass

import numpy as np

from sightline.metrics._native import native
from sightline.metrics.detection.pairs import Pairs
from sightline.metrics.detection.rows import Overlaps, RowGroups
from sightline.metrics.shapes.keypoints import keypoint_overlaps
from sightline.metrics.shapes.mask_columns import native_table
from sightline.metrics.shapes.segmentations import Segmentations


class UnreadableMaskError(ValueError):
    """A mask is incomplete or malformed."""

    def __init__(self, row: int, reason: str, *, is_detection: bool) -> None:
        super().__init__(f"{'detection' if is_detection else 'object'} {row}: {reason}")
        self.row, self.reason, self.is_detection = row, reason, is_detection


def mask_overlaps_of(
    dt: Segmentations,
    gt: Segmentations,
    gt_crowd: np.ndarray,  # [M]
    *,
    dt_area: np.ndarray | None = None,  # [N] float64, filled with the areas of the masks
) -> Overlaps:
    """IoU of masks by group; raises UnreadableMaskError where one cannot be read.

    Each mask is read once, when the overlaps are computed; `dt_area` is then filled for the rows
    that are evaluated.
    """
    tables = native_table(dt, "detections"), native_table(gt, "objects")
    crowd = np.ascontiguousarray(gt_crowd, bool)

    def overlaps(groups: RowGroups) -> np.ndarray:
        try:
            values, area = native.mask_overlaps(*tables, *_columns(groups), crowd)
        except ValueError as error:
            row, reason = getattr(error, "row", None), getattr(error, "reason", "")
            if row is None:
                raise
            is_detection = getattr(error, "name", "") == "detections"
            raise UnreadableMaskError(row, reason, is_detection=is_detection) from error
        if dt_area is not None:
            dt_area[groups.dt_rows] = area[groups.dt_rows]
        return values

    return overlaps


def keypoint_overlaps_of(
    dt_keypoints: np.ndarray,  # [N, K, 3]
    gt_keypoints: np.ndarray,  # [M, K, 3]
    gt_area: np.ndarray,  # [M]
    gt_boxes: np.ndarray,  # [M, 4] xywh
    sigmas: np.ndarray,  # [K]
) -> Overlaps:
    """Object keypoint similarity by group."""
    columns = [
        np.ascontiguousarray(column, np.float64)
        for column in (dt_keypoints, gt_keypoints, gt_area, gt_boxes, sigmas)
    ]

    def overlaps(groups: RowGroups) -> np.ndarray:
        return keypoint_overlaps(*columns, *_columns(groups))

    return overlaps


def no_overlaps(groups: RowGroups) -> np.ndarray:
    """0 everywhere: pycocotools compares no keypoints where classes are ignored."""
    return np.zeros(int((np.diff(groups.dt_offsets) * np.diff(groups.gt_offsets)).sum()))


@dataclass(frozen=True)
class _PairGroups:
    """One group per pair."""

    dt_rows: np.ndarray  # [P]
    gt_rows: np.ndarray  # [P]

    @property
    def dt_offsets(self) -> np.ndarray:
        return np.arange(len(self.dt_rows) + 1)

    gt_offsets = dt_offsets


def given_overlap_of_pairs(
    overlaps: Overlaps, dt_rows: np.ndarray, gt_rows: np.ndarray
) -> np.ndarray:
    """Overlap [P] of the detections and objects of each pair."""
    contiguous = (np.ascontiguousarray(rows, np.int64) for rows in (dt_rows, gt_rows))
    return overlaps(_PairGroups(*contiguous))


def given_pairs(overlaps: Overlaps, groups: RowGroups, *, at_least: float) -> Pairs:
    """Pairs of the groups that overlap `at_least` (> 0)."""
    values = overlaps(groups)
    num_dt, num_gt = np.diff(groups.dt_offsets), np.diff(groups.gt_offsets)
    cells = num_dt * num_gt
    found = np.flatnonzero(values >= at_least)
    group = np.searchsorted(np.cumsum(cells), found, side="right")
    within = found - (np.cumsum(cells) - cells)[group]
    d, g = np.divmod(within, num_gt[group])
    dt_row = groups.dt_rows[groups.dt_offsets[group] + d]
    gt_row = groups.gt_rows[groups.gt_offsets[group] + g]
    return Pairs(dt_row, gt_row, values[found]).where(np.lexsort((gt_row, dt_row)))


def _columns(groups: RowGroups) -> tuple[np.ndarray, ...]:
    return groups.dt_rows, groups.dt_offsets, groups.gt_rows, groups.gt_offsets
