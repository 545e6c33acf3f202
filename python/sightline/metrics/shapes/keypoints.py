"""Object keypoint similarity, COCO's measure of overlap for poses."""

from typing import Any

import numpy as np

from sightline.metrics._native import native

# Deviation of annotators, as a share of the object's size, for nose, eyes, ears, shoulders,
# elbows, wrists, hips, knees and ankles. The division rounds as in pycocotools.
_TENTHS = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87)
COCO_KEYPOINT_SIGMAS = np.array([*_TENTHS, 0.89, 0.89]) / 10.0
COCO_KEYPOINT_SIGMAS.flags.writeable = False


def keypoint_similarity(
    detections: Any,
    objects: Any,
    area: Any,
    boxes_xywh: Any,
    *,
    sigmas: Any = COCO_KEYPOINT_SIGMAS,
) -> np.ndarray:
    """Object keypoint similarity (OKS) of every detection with every object.

    The mean of exp(-e) over the visible keypoints of the object (visibility above 0), with
    e = distance^2 / (2 sigma)^2 / area / 2. For an object without visible keypoints, distances are
    those to its box enlarged three times, and the mean is over all keypoints.

    Args:
        detections: [D, K, 3], x, y in pixels and a third number that is ignored.
        objects: [G, K, 3], x, y and visibility.
        area: [G], the objects' areas in pixels.
        boxes_xywh: [G, 4], the objects' boxes.
        sigmas: [K], positive; by default those of COCO's 17 keypoints.

    Returns:
        float64 [D, G], equal to pycocotools bit for bit with the same NumPy, whose exponential
        function both use; another NumPy version or machine may differ in the last place. Memory
        grows with the pairs times the visible keypoints.

    Raises:
        ValueError: shapes that do not fit each other, a number that is not finite, or a sigma
            that is not positive.

    Example:
        >>> pose = np.array([[[10, 10, 2], [20, 10, 2]]])
        >>> keypoint_similarity(pose, pose, [400], [[0, 0, 20, 20]], sigmas=[0.05, 0.05])
        array([[1.]])
    """
    sigmas = check_sigmas(sigmas)
    dt = _finite(detections, (None, len(sigmas), 3), "detections")
    gt = _finite(objects, (None, len(sigmas), 3), "objects")
    return keypoint_overlaps(
        dt,
        gt,
        _finite(area, (len(gt),), "area"),
        _finite(boxes_xywh, (len(gt), 4), "boxes_xywh"),
        sigmas,
        np.arange(len(dt)),
        # one group per detection, so that threads can share the work
        np.arange(len(dt) + 1),
        np.tile(np.arange(len(gt)), len(dt)),
        np.arange(len(dt) + 1) * len(gt),
    ).reshape(len(dt), len(gt))


def check_sigmas(sigmas: Any) -> np.ndarray:
    """[K] float64, K at least 1, finite and positive."""
    values = np.ascontiguousarray(sigmas, np.float64)
    if values.ndim != 1 or not len(values) or not np.all((values > 0) & np.isfinite(values)):
        raise ValueError(f"`sigmas` must be one or more positive numbers, got {sigmas!r}")
    return values


def keypoint_overlaps(
    dt_keypoints: np.ndarray,  # [N, K, 3]
    gt_keypoints: np.ndarray,  # [M, K, 3]
    gt_area: np.ndarray,  # [M]
    gt_boxes: np.ndarray,  # [M, 4] xywh
    sigmas: np.ndarray,  # [K]
    dt_rows: np.ndarray,
    dt_offsets: np.ndarray,  # [S + 1]
    gt_rows: np.ndarray,
    gt_offsets: np.ndarray,  # [S + 1]
) -> np.ndarray:
    """Similarities by group, each [D_s, G_s]; group s owns rows offsets[s] to offsets[s + 1]."""
    return native.keypoint_overlaps(
        dt_keypoints,
        gt_keypoints,
        gt_area,
        gt_boxes,
        sigmas,
        dt_rows,
        dt_offsets,
        gt_rows,
        gt_offsets,
        np.exp,
    )


def keypoint_extent_area(keypoints: np.ndarray) -> np.ndarray:
    """Area [N] of the smallest boxes around all keypoints [N, K, 3], visible or not."""
    x, y = keypoints[..., 0], keypoints[..., 1]
    return (x.max(axis=1) - x.min(axis=1)) * (y.max(axis=1) - y.min(axis=1))


def _finite(values: Any, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    array = np.ascontiguousarray(values, np.float64)
    if array.size == 0 and shape[0] in (None, 0):
        array = array.reshape(0, *(size or 0 for size in shape[1:]))
    if array.ndim != len(shape) or any(s not in (None, n) for s, n in zip(shape, array.shape)):
        wanted = ", ".join("N" if s is None else str(s) for s in shape)
        raise ValueError(f"`{name}` must have shape [{wanted}], got {list(array.shape)}")
    bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"`{name}` must be finite, got {array[row].tolist()} in row {row}")
    return array
