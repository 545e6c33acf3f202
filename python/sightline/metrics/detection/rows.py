"""The data of an evaluation: rows of all images, their layout, and the outcome of matching."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

MAX_MASK_THRESHOLDS = 16  # IoU thresholds that one mask of outcomes holds


@dataclass(frozen=True)
class FlatDetections:
    """Detections of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64, row of the image in the order that breaks ties between images
    label: np.ndarray  # [N] int64, row of the class
    boxes_xywh: np.ndarray  # [N, 4] float64
    scores: np.ndarray  # [N] float64
    area: np.ndarray | None = None  # [N] float64, None for w * h


@dataclass(frozen=True)
class FlatTargets:
    """Ground truth of all images, in the order that breaks ties within an image."""

    image: np.ndarray  # [N] int64
    label: np.ndarray  # [N] int64
    boxes_xywh: np.ndarray  # [N, 4] float64
    area: np.ndarray  # [N] float64
    crowd: np.ndarray  # [N] bool
    ignore: np.ndarray  # [N] bool
    void: np.ndarray | None = None  # [N] bool: a detection that matches it is not counted


@dataclass(frozen=True)
class Rules:
    """The settings in which protocols differ."""

    matching: str  # "coco" or "voc"
    iou_thresholds: np.ndarray  # [T]
    recall_thresholds: np.ndarray  # [R]
    area_ranges: np.ndarray  # [A, 2]
    max_detections: tuple[int, ...] | None  # None: all
    inclusive: bool
    average: str | None  # method of `average_precision`, None: the mean of the sampled precision


@dataclass(frozen=True)
class Layout:
    """Rows sorted by group (a class and image with any rows) and by class.

    Groups are sorted by class, then by image. The class order sorts by class, then by score, and
    equal scores by image, then as given. C of the D detections lie within the largest cap.
    """

    dt_rows: np.ndarray  # [C] int64, input rows by group, best first
    dt_places: np.ndarray  # [C] int32, place of each of dt_rows in the class order
    dt_offsets: np.ndarray  # [S + 1] int64, where each group begins in dt_rows
    gt_rows: np.ndarray  # [G] int64, input rows by group, in input order
    gt_offsets: np.ndarray  # [S + 1] int64
    class_groups: np.ndarray  # [K + 1] int64, at which group each class begins
    class_rows: np.ndarray  # [C] int64, input rows in the class order
    class_offsets: np.ndarray  # [K + 1] int64, where each class begins in it
    class_ranks: np.ndarray  # [C] int32, place within the group, best 0
    class_images: np.ndarray  # [C] int32
    class_scores: np.ndarray  # [C] float64

    @property
    def num_classes(self) -> int:
        return len(self.class_groups) - 1

    @property
    def gt_class_offsets(self) -> np.ndarray:
        """Where each class begins in gt_rows, int64 [K + 1]."""
        return self.gt_offsets[self.class_groups]


class RowGroups(Protocol):
    """The part of a layout that overlaps need: rows of detections and of objects by group."""

    @property
    def dt_rows(self) -> np.ndarray: ...
    @property
    def dt_offsets(self) -> np.ndarray: ...
    @property
    def gt_rows(self) -> np.ndarray: ...
    @property
    def gt_offsets(self) -> np.ndarray: ...


# overlap of every detection and object of a group, group after group: float64, each [D_s, G_s]
Overlaps = Callable[[RowGroups], np.ndarray]


@dataclass(frozen=True)
class Matched:
    """The outcome of matching, kept for later analyses."""

    dt: FlatDetections
    gt: FlatTargets
    rules: Rules
    layout: Layout
    num_images: int
    # for 16 IoU thresholds each: uint16 [C, A, 2] in the class order, bits of true positives and
    # of ignored detections; neither bit is a false positive
    outcome: tuple[np.ndarray, ...]

    @property
    def caps(self) -> tuple[int, ...]:
        """Caps on the detections per class and image."""
        return self.rules.max_detections or (max(1, len(self.dt.scores)),)

    @cached_property
    def gt_counted(self) -> np.ndarray:
        """Whether an object counts, bool [A, G] by input row."""
        low, high = self.rules.area_ranges[:, :1], self.rules.area_ranges[:, 1:]
        outside = (self.gt.area < low) | (self.gt.area > high)
        return ~(outside | self.gt.ignore | self.gt.crowd)

    def outcome_codes(self, area: int = 0) -> np.ndarray:
        """1 true positive, 0 false positive, -1 ignored: int8 [T, C] in the class order."""
        rows = []
        for t in range(len(self.rules.iou_thresholds)):
            masks = self.outcome[t // MAX_MASK_THRESHOLDS][:, area]
            hit, ignored = ((masks >> (t % MAX_MASK_THRESHOLDS)) & 1).astype(np.int8).T
            rows.append(hit - ignored)
        return np.stack(rows)
