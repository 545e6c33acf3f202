"""Matching of all images at once, and pycocotools' records of every image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from sightline.metrics.detection.evaluate import lay_out
from sightline.metrics.detection.kernels import (
    accumulate_masks,
    match_masks,
    taken_objects,
)
from sightline.metrics.detection.pairs import overlap_of_pairs
from sightline.metrics.detection.rows import MAX_MASK_THRESHOLDS, Overlaps, Rules
from sightline.metrics.pycocotools._columns import Detections, Objects

# Pairs that are overlapped together: about 60 MB of columns.
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Settings:
    num_images: int
    num_classes: int
    use_classes: bool
    iou_thresholds: np.ndarray  # [T]
    area_ranges: np.ndarray  # [A, 2]
    max_detections: int

    @property
    def num_entries(self) -> int:
        """Of `evalImgs`."""
        return self.num_classes * len(self.area_ranges) * self.num_images


class Matched:
    """Rows laid out by class, then image, and the outcome of each at every threshold and area.

    D detections are those among the `max_detections` best of their image and class.
    """

    def __init__(
        self, dt: Detections, gt: Objects, settings: Settings, overlaps: Overlaps | None = None
    ) -> None:
        self.dt, self.gt = replace(dt, records=None), replace(gt, records=None)
        self.settings = settings
        self.layout = lay_out(
            dt.flat,
            gt.flat,
            settings.num_classes,
            num_images=settings.num_images,
            max_detections=settings.max_detections,
            use_classes=settings.use_classes,
        )
        self._rules = Rules(
            matching="coco",
            iou_thresholds=settings.iou_thresholds,
            recall_thresholds=np.zeros(0),
            area_ranges=settings.area_ranges,
            max_detections=(settings.max_detections,),
            inclusive=False,
            average=None,
        )
        given = None if overlaps is None else overlaps(self.layout)
        self._given = given  # by group, each [D, G], instead of the IoU of boxes
        thresholds = settings.iou_thresholds
        self.parts = [
            thresholds[first : first + MAX_MASK_THRESHOLDS]
            for first in range(0, len(thresholds), MAX_MASK_THRESHOLDS)
        ]
        self.outcome = [
            match_masks(dt.flat, gt.flat, self.layout, self._rules, part, given)
            for part in self.parts
        ]

    @cached_property
    def gt_ignored(self) -> np.ndarray:
        """[A, M] by input row."""
        gt, (low, high) = self.gt.flat, self.settings.area_ranges.T[..., None]
        return gt.crowd | gt.ignore | (gt.area < low) | (gt.area > high)

    def accumulate(
        self, images: np.ndarray, max_detections: Sequence[int], recall_thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision [T, R, K, A, M], recall [T, K, A, M], scores [T, R, K, A, M].

        `images` [I] bool says which of the images count.
        """
        gt, layout, outcome = self.gt.flat, self.layout, self.outcome
        counted = ~self.gt_ignored
        if not images.all():
            counted = counted & images[gt.image]
            kept = images[layout.class_images]
            before = np.append(0, np.cumsum(kept))
            outcome = [masks[kept] for masks in outcome]
            layout = replace(
                layout,
                class_ranks=layout.class_ranks[kept],
                class_scores=layout.class_scores[kept],
                class_offsets=before[layout.class_offsets],
            )
        num_classes = layout.num_classes
        label = gt.label if self.settings.use_classes else np.zeros_like(gt.label)
        gt_count = np.array([np.bincount(label[c], minlength=num_classes) for c in counted])
        arrays = [
            accumulate_masks(
                masks,
                layout,
                gt_count.astype(np.int64).reshape(len(counted), num_classes),
                tuple(max_detections),
                recall_thresholds,
                len(part),
            )
            for masks, part in zip(outcome, self.parts)
        ]
        precision, recall, scores = (
            parts[0] if len(parts) == 1 else np.concatenate(parts, axis=3) for parts in zip(*arrays)
        )
        return (
            precision.transpose(3, 4, 0, 1, 2),
            recall.transpose(3, 0, 1, 2),
            scores.transpose(3, 4, 0, 1, 2),
        )

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Class and image of each group [S]."""
        layout = self.layout
        image = np.zeros(len(layout.dt_offsets) - 1, np.int64)
        for of_row, rows, offsets in (
            (self.dt.flat.image, layout.dt_rows, layout.dt_offsets),
            (self.gt.flat.image, layout.gt_rows, layout.gt_offsets),
        ):
            filled = offsets[1:] > offsets[:-1]
            image[filled] = of_row[rows[offsets[:-1][filled]]]
        return np.repeat(np.arange(layout.num_classes), np.diff(layout.class_groups)), image

    def eval_images(
        self, image_ids: list[Any], category_ids: list[Any], area_ranges: list[Any]
    ) -> list[dict[str, Any] | None]:
        """pycocotools' `evalImgs`: by category, area range and image; None for an empty one."""
        layout = self.layout
        num_images, num_areas = len(image_ids), len(area_ranges)
        dt_ids = _taken(self.dt.ids, layout.dt_rows)
        dt_scores = _taken(self.dt.scores, layout.dt_rows)
        group_of_gt = np.repeat(np.arange(len(layout.gt_offsets) - 1), np.diff(layout.gt_offsets))
        classes, images = self.groups()
        groups = list(
            zip(
                classes.tolist(),
                images.tolist(),
                layout.dt_offsets[:-1].tolist(),
                layout.dt_offsets[1:].tolist(),
                layout.gt_offsets[:-1].tolist(),
                layout.gt_offsets[1:].tolist(),
            )
        )
        thresholds = self.settings.iou_thresholds
        gt_index = taken_objects(
            self.dt.flat, self.gt.flat, layout, self._rules, thresholds, self._given
        )
        entries: list[dict[str, Any] | None] = [None] * self.settings.num_entries
        for a, area_range in enumerate(area_ranges):
            marks = self._marks(gt_index[a], a, np.array(dt_ids, np.float64))
            ignored = self.gt_ignored[a][layout.gt_rows]
            order = np.lexsort((ignored, group_of_gt))  # objects that count come first
            gt_ids = _taken(self.gt.ids, layout.gt_rows[order])
            gt_ignore = ignored[order].astype(np.int64)
            gt_matches = marks.gt_matches[:, order]
            for k, i, dt_begin, dt_end, gt_begin, gt_end in groups:
                dt, gt = slice(dt_begin, dt_end), slice(gt_begin, gt_end)
                entries[(k * num_areas + a) * num_images + i] = {
                    "image_id": image_ids[i],
                    "category_id": category_ids[k],
                    "aRng": area_range,
                    "maxDet": self.settings.max_detections,
                    "dtIds": dt_ids[dt],
                    "gtIds": gt_ids[gt],
                    "dtMatches": marks.dt_matches[:, dt],
                    "gtMatches": gt_matches[:, gt],
                    "dtScores": dt_scores[dt],
                    "gtIgnore": gt_ignore[gt],
                    "dtIgnore": marks.dt_ignored[:, dt],
                }
        return entries

    def ious(
        self, image_ids: list[Any], category_ids: list[Any], order: Literal["C", "F"]
    ) -> dict[Any, Any]:
        """pycocotools' `ious`: overlaps [D, G] by image and category, [] where there are none.

        `order` is the memory order, "C" or "F", on which the last bit of sums over them depends.
        """
        layout = self.layout
        found: dict[Any, Any] = {(i, k): [] for i in image_ids for k in category_ids}
        num_dt, num_gt = np.diff(layout.dt_offsets), np.diff(layout.gt_offsets)
        overlaps = self._box_overlaps() if self._given is None else self._given
        ends = np.cumsum(num_dt * num_gt)
        classes, images = self.groups()
        filled = np.flatnonzero(num_dt * num_gt)
        columns = (classes, images, num_dt, num_gt, ends)
        for k, i, d, g, end in zip(*(column[filled].tolist() for column in columns)):
            of_group = overlaps[end - d * g : end].reshape(d, g)
            found[image_ids[i], category_ids[k]] = np.array(of_group, order=order)
        return found

    def _box_overlaps(self) -> np.ndarray:
        """Overlaps of all groups one after another, each [D, G]."""
        dt, gt, layout = self.dt.flat, self.gt.flat, self.layout
        num_gt = np.repeat(np.diff(layout.gt_offsets), np.diff(layout.dt_offsets))
        first_gt = np.repeat(layout.gt_offsets[:-1], np.diff(layout.dt_offsets))
        ends = np.cumsum(num_gt)
        overlaps = np.empty(ends[-1] if len(ends) else 0)
        begin = 0
        while begin < len(ends):
            seen = int(ends[begin] - num_gt[begin])
            end = max(begin + 1, int(np.searchsorted(ends, seen + _PAIRS_AT_ONCE)))
            d = np.repeat(np.arange(begin, end), num_gt[begin:end])
            g = np.arange(len(d)) + seen - (ends - num_gt - first_gt)[d]
            overlaps[seen : ends[end - 1]] = overlap_of_pairs(
                dt.boxes_xywh, gt.boxes_xywh, gt.crowd, layout.dt_rows[d], layout.gt_rows[g]
            )
            begin = end
        return overlaps

    def _marks(self, index: np.ndarray, area: int, dt_ids: np.ndarray) -> "_Marks":
        """The matches in one area range, from the places [T, D] of the matched objects."""
        layout, dt = self.layout, self.dt.flat
        gt_ids = np.array(_taken(self.gt.ids, layout.gt_rows), np.float64)
        dt_matches = np.where(index >= 0, np.append(gt_ids, 0.0)[index], 0.0)
        gt_matches = np.zeros((len(index), len(gt_ids)))
        t, d = np.nonzero(index >= 0)  # best detection first: for a crowd, the last one is noted
        gt_matches[t, index[t, d]] = dt_ids[d]
        dt_area = dt.boxes_xywh[:, 2] * dt.boxes_xywh[:, 3] if dt.area is None else dt.area
        dt_area, (low, high) = dt_area[layout.dt_rows], self.settings.area_ranges[area]
        outside = (dt_area < low) | (dt_area > high)
        took_ignored = np.append(self.gt_ignored[area][layout.gt_rows], False)[index]
        return _Marks(dt_matches, gt_matches, took_ignored | ((dt_matches == 0) & outside))


@dataclass(frozen=True)
class _Marks:
    dt_matches: np.ndarray  # [T, D] id of the object, 0 for none
    gt_matches: np.ndarray  # [T, G] id of the detection, 0 for none
    dt_ignored: np.ndarray  # [T, D]


def _taken(values: np.ndarray | list[Any], rows: np.ndarray) -> list[Any]:
    if isinstance(values, np.ndarray):
        return values[rows].tolist()
    return [values[row] for row in rows.tolist()]
