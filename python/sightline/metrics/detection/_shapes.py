"""Converts masks and keypoints of one image to the columns that the store takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics._arrays import on_host, read_numbers
from sightline.metrics._native import native
from sightline.metrics.detection.overlaps import keypoint_overlaps_of, mask_overlaps_of
from sightline.metrics.detection.rows import FlatTargets, Overlaps
from sightline.metrics.shapes.mask_columns import native_table, read_masks
from sightline.metrics.shapes.segmentations import KIND_RLE_STRING, Segmentations

# Names of columns that callers do not pass.
PRIVATE = {"mask_strings", "mask_ends", "mask_size"}
_Side = dict[str, Any]


def with_masks(detections: Any, targets: Any, place: str) -> tuple[_Side, _Side]:
    """Both sides with their masks as COCO's compressed strings, and the boxes of the masks.

    Raises:
        TypeError, ValueError: masks that are neither images of bools or integers, nor run-length
            dicts, nor polygons; polygons without `image_size`.
    """
    dt = _side(detections, "masks", "detections", place)
    gt = _side(targets, "masks", "targets", place)
    size = targets.get("image_size", detections.get("image_size"))
    for name, side in (("detections", dt), ("targets", gt)):
        what = f"{place}: `{name}['masks']`"
        masks = _read(side.pop("masks"), size, what)
        area, boxes = native.measure_masks(native_table(masks, what))
        side |= {"mask_strings": masks.strings, "mask_ends": masks.first + masks.count}
        side |= {"mask_size": masks.size.astype(np.int32), "boxes_xywh": boxes}
        side.pop("boxes", None)
        if name == "detections" or side.get("area") is None:
            side["area"] = area
    return dt, gt


def with_keypoints(
    detections: Any, targets: Any, num_keypoints: int, place: str
) -> tuple[_Side, _Side]:
    """Both sides with keypoints [N, K, 3].

    The box of a detection is the extent of its keypoints; an object without a box has that of
    its labelled keypoints.
    """
    dt = _side(detections, "keypoints", "detections", place)
    gt = _side(targets, "keypoints", "targets", place)
    for name, side in (("detections", dt), ("targets", gt)):
        what = f"{place}: `{name}['keypoints']`"
        side["keypoints"] = _keypoints(side["keypoints"], num_keypoints, what)
    dt.pop("boxes", None)
    dt["boxes_xywh"] = _extent(dt["keypoints"], np.ones(dt["keypoints"].shape[:2], bool))
    labelled = gt["keypoints"][:, :, 2] > 0
    if "boxes" not in gt and "boxes_xywh" not in gt:
        gt["boxes_xywh"] = _extent(gt["keypoints"], labelled)
    if gt.get("num_keypoints") is None:
        gt["num_keypoints"] = labelled.sum(axis=1)
    return dt, gt


def overlaps_of(
    dt: Mapping[str, np.ndarray],
    gt: Mapping[str, np.ndarray],
    targets: FlatTargets,
    sigmas: Sequence[float] | None,
) -> Overlaps | None:
    """The overlaps that replace the IoU of boxes, from the columns of a store."""
    if "mask_ends" in dt:
        return mask_overlaps_of(_masks(dt), _masks(gt), targets.crowd)
    if sigmas is None:
        return None
    points = dt["keypoints"], gt["keypoints"]
    return keypoint_overlaps_of(*points, gt["area"], gt["boxes_xywh"], np.array(sigmas))


def _masks(columns: Mapping[str, np.ndarray]) -> Segmentations:
    offsets = np.concatenate([np.zeros(1, np.int64), columns["mask_ends"]])
    return _of_strings(columns["mask_size"].astype(np.int64), columns["mask_strings"], offsets)


def _side(given: Any, key: str, name: str, place: str) -> _Side:
    if not isinstance(given, Mapping):
        raise TypeError(f"{place}: `{name}` must be a dict, got {type(given).__name__}")
    if given.get(key) is None:
        raise ValueError(f"{place}: `{name}` lacks {key!r}, got {sorted(given)}")
    return {k: v for k, v in given.items() if k not in PRIVATE | {"image_size"}}


def _read(masks: Any, size: Any, what: str) -> Segmentations:
    """Masks in any of their forms as COCO's compressed strings."""
    if _are_pictures(masks):
        return _encoded(masks, what)
    masks = list(masks)
    if size is not None and (len(size) != 2 or min(size) < 0):
        raise ValueError(f"{what}: `image_size` must be [height, width], got {size!r}")
    sizes = None if size is None else np.tile(np.asarray(size, np.int64), (len(masks), 1))
    try:
        columns = read_masks(masks, "masks", sizes)
        strings, offsets = native.mask_counts(native_table(columns), True)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from error
    return _of_strings(columns.size, strings, offsets)


def _are_pictures(masks: Any) -> bool:
    """Whether it is an array or tensor, or a list of them, and not of dicts or polygons."""
    if hasattr(masks, "ndim"):
        return True
    if isinstance(masks, str | bytes | Mapping) or not isinstance(masks, Sequence):
        return False
    return len(masks) > 0 and all(getattr(mask, "ndim", 0) == 2 for mask in masks)


def _encoded(masks: Any, what: str) -> Segmentations:
    if isinstance(masks, Sequence):
        sizes = {tuple(mask.shape) for mask in masks}
        if len(sizes) > 1:
            raise ValueError(f"{what} must have one size, got {sorted(sizes)}")
        masks = np.stack([on_host(mask) for mask in masks])
    pixels = on_host(masks)
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if pixels.dtype.kind not in "biu":
        raise TypeError(
            f"{what} must be bool or integers, got dtype {pixels.dtype}; "
            "pass probabilities as masks > 0.5"
        )
    if pixels.ndim != 3 and pixels.size:
        raise ValueError(f"{what} must have shape [N, H, W], got {list(pixels.shape)}")
    if pixels.ndim != 3:
        pixels = np.zeros((0, 0, 0), bool)
    if pixels.itemsize != 1:
        pixels = pixels != 0
    strings, offsets = native.encode_masks(pixels, True)
    return _of_strings(np.tile(np.array(pixels.shape[1:]), (len(pixels), 1)), strings, offsets)


def _of_strings(size: np.ndarray, strings: np.ndarray, offsets: np.ndarray) -> Segmentations:
    return Segmentations(
        size.reshape(-1, 2),
        np.full(len(size), KIND_RLE_STRING, np.uint8),
        offsets[:-1],
        np.diff(offsets),
        np.zeros(1, np.int64),
        np.zeros(0),
        strings,
        np.zeros(0, np.uint32),
    )


def _keypoints(values: Any, num_keypoints: int, what: str) -> np.ndarray:
    """Keypoints [N, K, 3], also from COCO's flat [N, 3 * K]."""
    keypoints = read_numbers(values, what).astype(np.float64)
    if keypoints.size == 0 and keypoints.ndim <= 3:
        return np.zeros((0, num_keypoints, 3))
    if keypoints.ndim == 2 and keypoints.shape[1] == 3 * num_keypoints:
        keypoints = keypoints.reshape(-1, num_keypoints, 3)
    if keypoints.shape[1:] != (num_keypoints, 3):
        raise ValueError(
            f"{what} must have shape [N, {num_keypoints}, 3], got {list(keypoints.shape)}"
        )
    good = np.isfinite(keypoints).reshape(len(keypoints), -1).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"{what} must be finite, got {keypoints[row].tolist()} in row {row}")
    return keypoints


def _extent(keypoints: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Boxes xywh [N, 4] around the keypoints that count, 0 where none does."""
    xy = keypoints[:, :, :2]
    low = np.where(counted[:, :, None], xy, np.inf).min(axis=1, initial=np.inf)
    high = np.where(counted[:, :, None], xy, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # no keypoint that counts
        boxes = np.concatenate([low, high - low], axis=1)
    boxes[~counted.any(axis=1)] = 0.0
    return boxes
