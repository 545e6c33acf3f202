"""Overlap of boxes in plain NumPy: the specification of the kernels.

Arrays are [..., N, 4] xyxy and are computed in float32 or float64 as in `sightline.ops`, with the
same bits except for the arctangent of `complete_box_iou`. Results are [..., N, M] for all pairs and
[..., N] with `aligned`; leading dimensions broadcast. Memory is a dozen times that. A box is usable
where its coordinates and its area are finite; one that is not overlaps nothing.
"""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def box_iou(boxes1: Boxes, boxes2: Boxes, *, aligned: bool = False) -> Boxes:
    """Intersection over union; 0 where the union is empty or a box is not usable."""
    a, b, usable = _pairs(boxes1, boxes2, aligned)
    with np.errstate(all="ignore"):
        return _where(usable, _iou(a, b), 0)


def box_ioa(boxes1: Boxes, boxes2: Boxes, *, aligned: bool = False) -> Boxes:
    """Intersection over the area of the first box; 0 where that is empty."""
    a, b, usable = _pairs(boxes1, boxes2, aligned)
    with np.errstate(all="ignore"):
        return _where(usable & (_area(a) > 0), _intersection(a, b) / _area(a), 0)


def generalized_box_iou(boxes1: Boxes, boxes2: Boxes, *, aligned: bool = False) -> Boxes:
    """GIoU, Rezatofighi et al. 2019."""
    a, b, usable = _pairs(boxes1, boxes2, aligned)
    with np.errstate(all="ignore"):
        return _where(usable, _iou(a, b) - _hull_penalty(a, b), 0)


def distance_box_iou(
    boxes1: Boxes, boxes2: Boxes, eps: float = 1e-7, *, aligned: bool = False
) -> Boxes:
    """DIoU, Zheng et al. 2020, equation 6."""
    a, b, usable = _pairs(boxes1, boxes2, aligned)
    with np.errstate(all="ignore"):
        return _where(usable, _iou(a, b) - _centre_penalty(a, b, eps), 0)


def complete_box_iou(
    boxes1: Boxes, boxes2: Boxes, eps: float = 1e-7, *, aligned: bool = False
) -> Boxes:
    """CIoU, Zheng et al. 2020, equations 8 to 11."""
    a, b, usable = _pairs(boxes1, boxes2, aligned)
    with np.errstate(all="ignore"):
        iou = _iou(a, b)
        return _where(usable, iou - _centre_penalty(a, b, eps) - _aspect_penalty(a, b, iou, eps), 0)


def generalized_box_iou_loss(boxes1: Boxes, boxes2: Boxes, eps: float = 1e-7) -> Boxes:
    """[N]: 1 - GIoU of aligned pairs, with `eps` added to the union and the hull."""
    a, b, usable = _aligned(boxes1, boxes2)
    with np.errstate(all="ignore"):
        return 1 - _where(usable, _iou(a, b, eps) - _hull_penalty(a, b, eps), 0)


def distance_box_iou_loss(boxes1: Boxes, boxes2: Boxes, eps: float = 1e-7) -> Boxes:
    """[N]: 1 - DIoU of aligned pairs, with `eps` added to the union and the squared diagonal."""
    a, b, usable = _aligned(boxes1, boxes2)
    with np.errstate(all="ignore"):
        return 1 - _where(usable, _iou(a, b, eps) - _centre_penalty(a, b, eps), 0)


def complete_box_iou_loss(boxes1: Boxes, boxes2: Boxes, eps: float = 1e-7) -> Boxes:
    """[N]: 1 - CIoU of aligned pairs, with `eps` added to every denominator."""
    a, b, usable = _aligned(boxes1, boxes2)
    with np.errstate(all="ignore"):
        iou = _iou(a, b, eps)
        ciou = iou - _centre_penalty(a, b, eps) - _aspect_penalty(a, b, iou, eps)
        return 1 - _where(usable, ciou, 0)


# A box below is a tuple of four arrays (x1, y1, x2, y2) that broadcast against the other box's.
_Box = tuple[Boxes, Boxes, Boxes, Boxes]


def _where(condition: np.ndarray, yes: np.ndarray, no: np.ndarray | float) -> Boxes:
    """np.where in the dtype of `yes`, which is floating."""
    return np.where(condition, yes, no).astype(yes.dtype, copy=False)


def _usable(a: _Box) -> np.ndarray:
    """Whether a box has finite coordinates and a finite area; otherwise it overlaps nothing."""
    with np.errstate(all="ignore"):
        return np.asarray(np.isfinite(np.stack([*a, _area(a)])).all(0))


def _aligned(boxes1: np.ndarray, boxes2: np.ndarray) -> tuple[_Box, _Box, np.ndarray]:
    wide = any(x.dtype.kind == "f" and x.dtype.itemsize > 4 for x in (boxes1, boxes2))
    dtype = np.float64 if wide else np.float32
    a, b = (tuple(np.moveaxis(np.asarray(x, dtype), -1, 0)) for x in (boxes1, boxes2))
    return a, b, _usable(a) & _usable(b)


def _pairs(boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool) -> tuple[_Box, _Box, np.ndarray]:
    if aligned:
        return _aligned(boxes1, boxes2)
    return _aligned(boxes1[..., :, None, :], boxes2[..., None, :, :])


def _side(low: Boxes, high: Boxes) -> Boxes:
    return np.maximum(high - low, 0)


def _area(a: _Box) -> Boxes:
    return _side(a[0], a[2]) * _side(a[1], a[3])


def _intersection(a: _Box, b: _Box) -> Boxes:
    width = _side(np.maximum(a[0], b[0]), np.minimum(a[2], b[2]))
    height = _side(np.maximum(a[1], b[1]), np.minimum(a[3], b[3]))
    return width * height


def _union(a: _Box, b: _Box) -> Boxes:
    return _area(a) + _area(b) - _intersection(a, b)


def _iou(a: _Box, b: _Box, eps: float = 0) -> Boxes:
    union = _union(a, b)
    return _where(union > 0, _intersection(a, b) / (union + union.dtype.type(eps)), 0)


def _hull(a: _Box, b: _Box) -> tuple[Boxes, Boxes]:
    width = _side(np.minimum(a[0], b[0]), np.maximum(a[2], b[2]))
    return width, _side(np.minimum(a[1], b[1]), np.maximum(a[3], b[3]))


def _hull_penalty(a: _Box, b: _Box, eps: float = 0) -> Boxes:
    width, height = _hull(a, b)
    hull = width * height
    share = (hull - _union(a, b)) / (hull + hull.dtype.type(eps))
    return _where(~np.isnan(share), np.clip(share, 0, 1), hull > 0)


def _centre_penalty(a: _Box, b: _Box, eps: float) -> Boxes:
    half = a[0].dtype.type(0.5)
    dx = (a[0] * half + a[2] * half) - (b[0] * half + b[2] * half)
    dy = (a[1] * half + a[3] * half) - (b[1] * half + b[3] * half)
    width, height = _hull(a, b)
    distance = dx * dx + dy * dy
    ratio = distance / (width * width + height * height + distance.dtype.type(eps))
    return _where(ratio <= 1, ratio, distance > 0)


def _aspect_penalty(a: _Box, b: _Box, iou: Boxes, eps: float) -> Boxes:
    def angle(box: _Box) -> Boxes:
        width, height = _side(box[0], box[2]), _side(box[1], box[3])
        return _where(width > 0, np.arctan(width / height), 0)

    v = iou.dtype.type(4 / np.pi**2) * (angle(a) - angle(b)) ** 2
    scale = 1 - iou + v + iou.dtype.type(eps)
    return _where(scale > 0, v * v / scale, 0)
