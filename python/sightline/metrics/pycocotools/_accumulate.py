"""Accumulation from matches or from `evalImgs`, for any part of the evaluated settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.metrics.detection.kernels import accumulate_sorted
from sightline.metrics.pycocotools._matched import Matched

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Selection:
    """The part of an evaluation to accumulate.

    As in pycocotools, categories, areas and images are given by their index in the new settings,
    which is taken as the index in the evaluated settings too: right where one list begins with the
    other.
    """

    shape: tuple[int, int, int, int, int]  # T, R, K, A, M of the result
    evaluated: tuple[int, int, int]  # categories, areas and images that were evaluated
    categories: list[int]
    areas: list[int]
    caps: list[int]
    images: list[int]
    recall_thresholds: np.ndarray

    def from_matched(self, matched: Matched) -> Arrays | None:
        """Arrays from a native result; None where an index is out of its range."""
        settings = matched.settings
        sizes = (settings.num_classes, len(settings.area_ranges), settings.num_images)
        places = (self.categories, self.areas, self.images)
        if sizes != self.evaluated or any(max(p, default=-1) >= n for p, n in zip(places, sizes)):
            return None
        images = np.zeros(settings.num_images, bool)
        images[self.images] = True
        grid = np.sort(self.recall_thresholds)
        arrays = matched.accumulate(images, self.caps, grid)
        chosen = self.categories, self.areas
        if chosen != (list(range(sizes[0])), list(range(sizes[1]))):
            precision, recall, scores = (
                x[..., self.categories, :, :][..., self.areas, :] for x in arrays
            )
            return self._place(precision, recall, scores)
        return self._place(*arrays)

    def _place(self, precision: np.ndarray, recall: np.ndarray, scores: np.ndarray) -> Arrays:
        """The arrays in the shape of the result, in the order of its recalls; -1 elsewhere."""
        num_t = self.shape[0]
        grid = self.recall_thresholds
        if np.any(np.diff(grid) < 0):
            order = np.argsort(np.argsort(grid, kind="stable"), kind="stable")
            # the first recall that is not reached ends the sampling, whatever comes after
            beyond = grid[:, None, None, None] > recall[:, None]
            ended = np.logical_or.accumulate(beyond, axis=1) & (precision > -1)
            precision, scores = (np.where(ended, 0.0, x[:, order]) for x in (precision, scores))
        if precision.shape == self.shape:
            # in the memory order of pycocotools, on which the last bit of a sum depends
            precision, recall, scores = map(np.ascontiguousarray, (precision, recall, scores))
            return precision, recall, scores
        if len(precision) > num_t and (recall > -1).any():
            raise IndexError(f"{num_t} iouThrs, but {len(precision)} were evaluated")
        whole = np.full(self.shape, -1.0), np.full((num_t, *self.shape[2:]), -1.0)
        placed = whole[0], whole[1], whole[0].copy()
        for out, part in zip(placed, (precision, recall, scores)):
            part = part[:num_t]
            out[tuple(slice(n) for n in part.shape)] = part
        return placed


def select(p: Any, evaluated: Any) -> Selection:
    """The part of the `evaluated` settings that `p` selects."""
    categories = evaluated.catIds if evaluated.useCats else [-1]
    known_categories, known_images = set(categories), set(evaluated.imgIds)
    known_areas, known_caps = set(map(tuple, evaluated.areaRng)), set(evaluated.maxDets)
    num_categories = len(p.catIds) if p.useCats else 1
    return Selection(
        shape=(len(p.iouThrs), len(p.recThrs), num_categories, len(p.areaRng), len(p.maxDets)),
        evaluated=(len(categories), len(evaluated.areaRng), len(evaluated.imgIds)),
        categories=[n for n, k in enumerate(p.catIds) if k in known_categories],
        areas=[n for n, a in enumerate(map(tuple, p.areaRng)) if a in known_areas],
        caps=[m for m in p.maxDets if m in known_caps],
        images=[n for n, i in enumerate(p.imgIds) if i in known_images],
        recall_thresholds=np.asarray(p.recThrs, np.float64),
    )


def accumulate_lists(entries: Sequence[Any], selection: Selection) -> Arrays:
    """Arrays from the current `evalImgs`."""
    _, num_areas, num_images = selection.evaluated
    grid = np.sort(selection.recall_thresholds)
    curves: dict[tuple[int, int], Arrays] = {}
    for k, category in enumerate(selection.categories):
        for a, area in enumerate(selection.areas):
            first = (category * num_areas + area) * num_images
            chosen = [e for i in selection.images if (e := entries[first + i]) is not None]
            curve = _accumulate_class(chosen, selection.caps, grid) if chosen else None
            if curve is not None:
                curves[k, a] = curve
    num_t = max((len(c[1]) for c in curves.values()), default=selection.shape[0])
    sizes = (len(selection.categories), len(selection.areas), len(selection.caps))
    precision = np.full((num_t, len(grid), *sizes), -1.0)
    recall, scores = np.full((num_t, *sizes), -1.0), precision.copy()
    for (k, a), curve in curves.items():
        for out, part in zip((precision, recall, scores), curve):
            out[..., k, a, :] = part[..., 0, 0, :]
    return selection._place(precision, recall, scores)


def _accumulate_class(
    entries: list[dict[str, Any]], caps: list[int], grid: np.ndarray
) -> Arrays | None:
    """Arrays [T, R, 1, 1, M] of one category and area range; None where there is no object."""
    positives = sum(np.count_nonzero(np.asarray(e["gtIgnore"]) == 0) for e in entries)
    if positives == 0:
        return None
    scores = np.concatenate([e["dtScores"] for e in entries]).astype(np.float64)
    rank = np.concatenate([np.arange(len(e["dtScores"])) for e in entries])
    matched = np.concatenate([e["dtMatches"] for e in entries], axis=1)
    ignored = np.concatenate([e["dtIgnore"] for e in entries], axis=1)
    outcome = np.where(np.asarray(ignored, bool), -1, np.asarray(matched, bool)).astype(np.int8)
    return accumulate_sorted(
        outcome[None],
        scores,
        np.argsort(-scores, kind="stable"),
        rank,
        np.array([0, len(scores)]),
        np.array([[positives]]),
        max_detections=tuple(int(m) for m in caps),
        recall_thresholds=grid,
    )
