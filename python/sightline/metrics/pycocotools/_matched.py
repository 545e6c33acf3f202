"""Matching of all images at once, and the records that pycocotools keeps of every image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sightline.metrics._ops import accumulate_sorted, match_sorted


@dataclass(frozen=True)
class Columns:
    """Detections and objects of the evaluated images and classes, in the order of their files."""

    dt_image: np.ndarray  # [N] int64, place of the image among the evaluated ones
    dt_label: np.ndarray  # [N] int64, place of the category
    dt_boxes: np.ndarray  # [N, 4] float64, xywh
    dt_scores: np.ndarray  # [N] float64
    dt_area: np.ndarray  # [N] float64
    dt_ids: list[Any]  # [N]
    dt_score_values: list[Any]  # [N] as they are in the file
    gt_image: np.ndarray  # [M]
    gt_label: np.ndarray  # [M]
    gt_boxes: np.ndarray  # [M, 4]
    gt_area: np.ndarray  # [M]
    gt_crowd: np.ndarray  # [M] bool
    gt_ignore: np.ndarray  # [M] bool
    gt_ids: list[Any]  # [M]


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
    """Rows laid out by class, then image, and what became of each at every threshold and area.

    D detections are those among the `max_detections` best of their image and class.
    """

    def __init__(self, columns: Columns, settings: Settings) -> None:
        self.columns, self.settings = columns, settings
        images = settings.num_images
        dt_class = columns.dt_label if settings.use_classes else np.zeros_like(columns.dt_label)
        gt_class = columns.gt_label if settings.use_classes else np.zeros_like(columns.gt_label)
        dt_key, gt_key = dt_class * images + columns.dt_image, gt_class * images + columns.gt_image
        # equal scores by category, where categories share a group, then as in the file
        dt_rows = np.lexsort((columns.dt_label, 0.0 - columns.dt_scores, dt_key))
        rank = _rank(dt_key[dt_rows])
        kept = rank < settings.max_detections
        self.dt_rank, self.dt_rows = rank[kept], dt_rows[kept]  # [D]
        self.gt_rows = np.lexsort((columns.gt_label, gt_key))  # [G]
        self.keys = np.union1d(dt_key, gt_key)  # [S] of the groups that have any row
        self.dt_offsets = _offsets(dt_key[self.dt_rows], self.keys)  # [S + 1]
        self.gt_offsets = _offsets(gt_key[self.gt_rows], self.keys)  # [S + 1]
        self.dt_key = dt_key[self.dt_rows]  # [D]
        self.dt_scores = columns.dt_scores[self.dt_rows]  # [D]
        self.gt_ids = np.array([columns.gt_ids[r] for r in self.gt_rows], np.float64)  # [G]

        area = columns.dt_area[self.dt_rows]
        low, high = settings.area_ranges[:, :1], settings.area_ranges[:, 1:]
        self.dt_outside = (area < low) | (area > high)  # [A, D]
        boxes = columns.dt_boxes[self.dt_rows]
        self.outcome, self.gt_count, _ = self._match(return_index=False)
        if (self.gt_ids == 0).any() or (area != boxes[:, 2] * boxes[:, 3]).any():
            matched, ignored = self.dt_matches != 0, self.dt_ignored
            self.outcome = np.where(ignored, -1, matched).astype(np.int8)

    def _match(self, *, return_index: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outcome [A, T, D], count of objects [A, S] and place of the object taken [A, T, D]."""
        c, gt = self.columns, self.gt_rows
        return match_sorted(
            c.dt_boxes[self.dt_rows],
            self.dt_offsets,
            c.gt_boxes[gt],
            c.gt_area[gt],
            c.gt_crowd[gt],
            c.gt_ignore[gt],
            self.gt_offsets,
            iou_thresholds=self.settings.iou_thresholds,
            area_ranges=self.settings.area_ranges,
            max_detections=self.settings.max_detections,
            rule="coco",
            inclusive=False,
            return_index=return_index,
        )

    @cached_property
    def gt_index(self) -> np.ndarray:
        """[A, T, D] place among the G objects of the one that a detection took, or -1."""
        return self._match(return_index=True)[2]

    @cached_property
    def gt_ignored(self) -> np.ndarray:
        """[A, G]."""
        c, gt = self.columns, self.gt_rows
        area, (low, high) = c.gt_area[gt], self.settings.area_ranges.T[..., None]
        return c.gt_crowd[gt] | c.gt_ignore[gt] | (area < low) | (area > high)

    @cached_property
    def dt_matches(self) -> np.ndarray:
        """[A, T, D] id of the object taken, 0 for none."""
        return np.where(self.gt_index >= 0, np.append(self.gt_ids, 0.0)[self.gt_index], 0.0)

    @cached_property
    def dt_ignored(self) -> np.ndarray:
        """[A, T, D]: took an ignored object, or took none and lies outside the range."""
        took_ignored = np.stack(
            [np.append(of_area, False)[i] for of_area, i in zip(self.gt_ignored, self.gt_index)]
        )
        return took_ignored | ((self.dt_matches == 0) & self.dt_outside[:, None])

    def accumulate(
        self, images: np.ndarray, max_detections: Sequence[int], recall_thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision [T, R, K, A, M], recall [T, K, A, M], scores [T, R, K, A, M].

        `images` [I] bool says which of the images count.
        """
        num_images = self.settings.num_images
        outcome, scores, rank, key = self.outcome, self.dt_scores, self.dt_rank, self.dt_key
        gt_count = self.gt_count
        if not images.all():
            kept = images[key % num_images]
            outcome = np.ascontiguousarray(outcome[:, :, kept])
            scores, rank, key = scores[kept], rank[kept], key[kept]
            gt_count = gt_count * images[self.keys % num_images]
        dt_class, edges = key // num_images, np.arange(self.settings.num_classes + 1)
        total = np.pad(gt_count.cumsum(axis=1), ((0, 0), (1, 0)))
        groups = np.searchsorted(self.keys // num_images, edges)
        return accumulate_sorted(
            outcome,
            scores,
            np.lexsort((0.0 - scores, dt_class)),  # equal scores by image, then in the image
            rank,
            np.searchsorted(dt_class, edges),
            np.ascontiguousarray(total[:, groups[1:]] - total[:, groups[:-1]]),
            max_detections=tuple(max_detections),
            recall_thresholds=recall_thresholds,
        )

    def eval_images(
        self, image_ids: list[Any], category_ids: list[Any], area_ranges: list[Any]
    ) -> list[dict[str, Any] | None]:
        """pycocotools' `evalImgs`: by category, area range and image; None for an empty one."""
        c, num_images, num_areas = self.columns, len(image_ids), len(area_ranges)
        dt_ids = [c.dt_ids[r] for r in self.dt_rows]
        dt_scores = [c.dt_score_values[r] for r in self.dt_rows]
        entries: list[dict[str, Any] | None] = [None] * (len(category_ids) * num_areas * num_images)
        class_of, image_of = np.divmod(self.keys, num_images)
        group_of_gt = np.repeat(np.arange(len(self.keys)), np.diff(self.gt_offsets))
        groups = list(
            zip(
                class_of.tolist(),
                image_of.tolist(),
                self.dt_offsets[:-1].tolist(),
                self.dt_offsets[1:].tolist(),
                self.gt_offsets[:-1].tolist(),
                self.gt_offsets[1:].tolist(),
            )
        )
        for a, area_range in enumerate(area_ranges):
            order = np.lexsort((self.gt_ignored[a], group_of_gt))  # what counts comes first
            gt_ids = [c.gt_ids[r] for r in self.gt_rows[order]]
            gt_ignore = self.gt_ignored[a][order].astype(np.int64)
            gt_matches = self._gt_matches(a, dt_ids)[:, order]
            dt_matches, dt_ignored = self.dt_matches[a], self.dt_ignored[a]
            for k, i, dt_begin, dt_end, gt_begin, gt_end in groups:
                dt, gt = slice(dt_begin, dt_end), slice(gt_begin, gt_end)
                entries[(k * num_areas + a) * num_images + i] = {
                    "image_id": image_ids[i],
                    "category_id": category_ids[k],
                    "aRng": area_range,
                    "maxDet": self.settings.max_detections,
                    "dtIds": dt_ids[dt],
                    "gtIds": gt_ids[gt],
                    "dtMatches": dt_matches[:, dt],
                    "gtMatches": gt_matches[:, gt],
                    "dtScores": dt_scores[dt],
                    "gtIgnore": gt_ignore[gt],
                    "dtIgnore": dt_ignored[:, dt],
                }
        return entries

    def _gt_matches(self, area: int, dt_ids: list[Any]) -> np.ndarray:
        """[T, G] id of the detection that took an object, the last one that took a crowd."""
        index = self.gt_index[area]
        taken = np.zeros((len(index), len(self.gt_rows)))
        t, d = np.nonzero(index >= 0)  # by detection, best first: the last one stays
        taken[t, index[t, d]] = np.array(dt_ids, np.float64)[d]
        return taken


def _rank(keys: np.ndarray) -> np.ndarray:
    """Place of each row [N] within its run of equal keys."""
    place = np.arange(len(keys))
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return place - np.repeat(first, np.diff(first, append=len(keys)))


def _offsets(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return np.append(np.searchsorted(sorted_keys, keys), len(sorted_keys))
