"""Evaluation of COCO files: from ground truth and detections to the numbers of pycocotools."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sightline.metrics._warn import warn
from sightline.metrics.coco.reader import GroundTruth, Results, read_ground_truth, read_results
from sightline.metrics.detection.compute import compute_results
from sightline.metrics.detection.overlaps import (
    UnreadableMaskError,
    keypoint_overlaps_of,
    mask_overlaps_of,
)
from sightline.metrics.detection.results import DetectionResults
from sightline.metrics.detection.rows import FlatDetections, FlatTargets, Overlaps
from sightline.metrics.detection.settings import Settings, resolve_settings
from sightline.metrics.shapes.keypoints import keypoint_extent_area


def evaluate_coco(
    gt: str | os.PathLike[str] | bytes | Mapping[str, Any],
    dt: str | os.PathLike[str] | bytes | Sequence[Mapping[str, Any]],
    *,
    iou_type: str = "bbox",
    parity: str = "corrected",
    protocol: str | None = None,
    use_classes: bool = True,
    max_detections: Sequence[int] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    iou_thresholds: Sequence[float] | None = None,
    keypoint_sigmas: Sequence[float] | None = None,
) -> DetectionResults:
    """Evaluate COCO files; the results equal those of pycocotools 2.0.11 bit for bit.

    Args:
        gt: path of the ground truth, its text as bytes, or the loaded object, with `images`,
            `categories` and `annotations`. The `area` of an annotation defaults to w * h, and its
            `iscrowd` to 0; `ignore` is disregarded, as in pycocotools.
        dt: path, text as bytes, or loaded list of `image_id, category_id, bbox, score`.
        iou_type: what the overlap is computed from: `"bbox"`; `"segm"`, masks as polygons or run
            lengths; or `"keypoints"`, by object keypoint similarity.
        parity: `"corrected"`, or `"pycocotools"` to repeat its faults: an object whose annotation
            id is 0 counts as missed even if it is found; AP is -1 where `max_detections` lacks
            100; NaN scores (sorted last), negative sides, and boxes for missing masks are accepted,
            with a warning; and keypoints match nothing where `use_classes` is False.
        use_classes: False ignores the classes, as for proposals.
        max_detections: how many of the best detections are kept per image and class; None for 1,
            10 and 100, or 20 for keypoints.
        area_ranges: name -> (low, high) in pixels, both ends included, at most 16; None for
            COCO's four, or three for keypoints.
        iou_thresholds: ascending, in (0, 1]; None for .5, .55 ... .95.
        keypoint_sigmas: the deviation of annotators for each keypoint, as a share of the object's
            size; None for those of COCO's 17 keypoints.

    The area of a detection is that of its box where the first detection of `dt` has a box, as in
    pycocotools, and otherwise that of its mask, or of the extent of its keypoints. An object
    whose `num_keypoints` is 0 is ignored.

    Numbers are read as the same doubles that Python reads. Ties of score, and of overlap (the
    later object wins), follow the order of the files within an image, and the order of image ids
    between images; ids are 64-bit integers or strings. Detections in an image without ground truth
    count. Objects and detections of an unknown category, and objects of an unknown image, are left
    out with a warning (pycocotools leaves them out silently).

    No Python object is created per record of a file: 378,000 detections, 37 MB, take .05 s on two
    cores, and memory for their columns. Loaded objects take some 40 times that.

    Raises:
        ValueError: a file of LVIS; a file that is not JSON, with the byte and line; a missing key
            or wrong type, a box or score that is not finite, a negative side, a repeated
            annotation id, or a detection of an unknown image, with the record.
        OSError: a file that cannot be read.

    Example:
        >>> box = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10]}
        >>> gt = {"images": [{"id": 7}], "categories": [{"id": 1, "name": "cat"}],
        ...       "annotations": [{"id": 1, **box}]}
        >>> print(f"{evaluate_coco(gt, [{**box, 'score': 0.9}])['AP50']:.3f}")
        1.000
    """
    if protocol not in (None, "coco"):
        raise ValueError(f"`protocol` must be None or 'coco', got {protocol!r}")
    settings = resolve_settings(
        "coco",
        iou_type=iou_type,
        parity=parity,
        use_classes=use_classes,
        max_detections=max_detections,
        area_ranges=area_ranges,
        iou_thresholds=iou_thresholds,
        keypoint_sigmas=keypoint_sigmas,
    )
    truth = read_ground_truth(gt, iou_type=iou_type, parity=parity, protocol=protocol)
    found = read_results(dt, truth, iou_type=iou_type, parity=parity)
    return evaluate_columns(truth, found, settings)


def evaluate_columns(truth: GroundTruth, found: Results, settings: Settings) -> DetectionResults:
    """Evaluate the columns that were read from the files."""
    # pycocotools lines up the classes of an image one after another before it sorts by score
    dt_order, gt_order = (
        slice(None) if settings.use_classes else np.argsort(side.label, kind="stable")
        for side in (found, truth)
    )
    detections = _detections(found, dt_order)
    targets = _targets(truth, gt_order, settings.parity)
    overlaps = None
    if settings.keypoint_sigmas is not None:
        sigmas = np.array(settings.keypoint_sigmas)
        overlaps = _keypoint_overlaps(truth, found, dt_order, gt_order, sigmas)
    elif settings.iou_type == "segm":
        assert truth.segmentation is not None and found.segmentation is not None
        overlaps = mask_overlaps_of(
            found.segmentation.take(dt_order),
            truth.segmentation.take(gt_order),
            targets.crowd,
            dt_area=detections.area,
        )
    compute = partial(
        compute_results,
        num_images=len(truth.image_ids),
        class_ids=tuple(truth.category_ids.tolist()),
        class_names=truth.category_names,
        overlaps=overlaps,
    )
    try:
        results = compute(settings, detections, targets)
        if targets.void is not None:
            mended = replace(settings, parity="corrected"), replace(targets, void=None)
            corrected = compute(mended[0], detections, mended[1])
            _warn_of_id_zero(truth, results, corrected)
        return results
    except UnreadableMaskError as error:
        file, rows = (found, detections) if error.is_detection else (truth, targets)
        image_id = truth.image_ids[rows.image[error.row]]
        category_id = truth.category_ids[rows.label[error.row]]
        raise ValueError(
            f"{file.name}: a mask of image {image_id} and category {category_id} is malformed: "
            f"{error.reason}"
        ) from error


def _detections(found: Results, order: Any) -> FlatDetections:
    area = None
    if not found.has_boxes and found.segmentation is not None:
        area = np.zeros(len(found.scores))  # filled with the masks' areas when they are read
    elif not found.has_boxes and found.keypoints is not None:
        area = keypoint_extent_area(found.keypoints)[order]
    return FlatDetections(
        found.image[order], found.label[order], found.boxes_xywh[order], found.scores[order], area
    )


def _targets(truth: GroundTruth, order: Any, parity: str) -> FlatTargets:
    # pycocotools marks "unmatched" with annotation id 0
    void = None
    if parity == "pycocotools" and truth.id is not None and (truth.id == 0).any():
        void = (truth.id == 0)[order]
    return FlatTargets(
        truth.image[order],
        truth.label[order],
        truth.boxes_xywh[order],
        truth.area[order],
        truth.crowd[order],
        np.zeros(len(truth.image), bool)
        if truth.num_keypoints is None
        else truth.num_keypoints[order] == 0,
        void=void,
    )


def _warn_of_id_zero(
    truth: GroundTruth, repeated: DetectionResults, corrected: DetectionResults
) -> None:
    assert truth.id is not None
    row = int(np.argmax(truth.id == 0))  # ids are unique: there is one
    image_id = truth.image_ids[truth.image[[row]]].tolist()[0]
    said = [
        " and ".join(
            f"{name} {'-' if math.isnan(value) else f'{value:.3f}'}"
            for name, value in (("AP", results.ap), ("AP50", results.ap50))
        )
        for results in (repeated, corrected)
    ]
    warn(
        f"{truth.name}: annotations with id 0: 1 of {len(truth.id)}, of image {image_id!r}. "
        "pycocotools takes that for no match: its object counts as missed, and a detection of it "
        f'as false. {said[0]} are with this fault; parity="corrected" (--corrected) gives {said[1]}'
    )


def _keypoint_overlaps(
    truth: GroundTruth, found: Results, dt_order: Any, gt_order: Any, sigmas: np.ndarray
) -> Overlaps:
    def points_of(side: GroundTruth | Results, order: Any) -> np.ndarray:
        assert side.keypoints is not None
        if not len(side.keypoints):
            return np.zeros((0, len(sigmas), 3))
        if side.keypoints.shape[1] != len(sigmas):
            raise ValueError(
                f"{side.name}: there are {side.keypoints.shape[1]} keypoints, but "
                f"`keypoint_sigmas` are of {len(sigmas)}"
            )
        return side.keypoints[order]

    return keypoint_overlaps_of(
        points_of(found, dt_order),
        points_of(truth, gt_order),
        truth.area[gt_order],
        truth.boxes_xywh[gt_order],
        sigmas,
    )
