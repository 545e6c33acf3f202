"""The box functions of `mmcv.ops` from Sightline's kernels: names, arguments and shapes of mmcv.

Tensors give tensors, and arrays give arrays. mmcv need not be installed. For all functions:

- a box is suppressed where its overlap is more than the threshold; mmcv's soft and rotated NMS
  also suppress at the threshold on the CPU, but not on CUDA;
- order is total (score descending, index ascending, NaN last), and invalid boxes have defined
  results;
- results are float32, or float64 where an input is; mmcv has only float32;
- with `offset=1` a width is x2 - x1 + 1: the boxes are computed with x2 + 1 and y2 + 1.
"""

from typing import Any

import numpy as np

from sightline import ops
from sightline.ops.arguments import as_floats, check_choice, is_tensor, torch

from ._shared import aligned_overlap, as_classes, as_number

__all__ = ["batched_nms", "bbox_overlaps", "box_iou_rotated", "nms", "nms_rotated", "soft_nms"]

Array = Any  # a torch.Tensor or a numpy.ndarray


def nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Array, Array]:
    """Kept boxes with their scores, [K, 5], and their indices, int64 [K], best first.

    Args:
        boxes: [N, 4] xyxy. scores: [N]. iou_threshold: in [0, 1].
        offset: 0 or 1, see the module's docstring.
        score_threshold: where more than 0, only boxes with a higher score are used.
        max_num: where more than 0, the largest number of boxes to keep.
    """
    keep = _hard_nms(boxes, scores, None, iou_threshold, offset, score_threshold, max_num)
    return _detections(boxes, scores, keep), keep


def soft_nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
    offset: int = 0,
) -> tuple[Array, Array]:
    """Boxes with lowered scores, [K, 5], and indices, int64 [K], in the order they were kept.

    `method` is "linear", "gaussian" or "naive", which is `nms` of scores of at least `min_score`.
    Boxes with a score below `min_score` are removed, even the best one, which mmcv always keeps.
    """
    check_choice("method", method, ("naive", "linear", "gaussian"))
    moved = _with_offset(boxes, offset)
    if method == "naive":
        taking = _where(scores >= min_score)
        keep = taking[ops.nms(moved[taking], scores[taking], as_number(iou_threshold))]
        return _detections(boxes, scores, keep), keep
    keep, lowered = ops.soft_nms(
        moved,
        scores,
        method=method,
        iou_threshold=as_number(iou_threshold),
        sigma=sigma,
        score_threshold=min_score,
    )
    return _join(boxes[keep], lowered), keep


def batched_nms(
    boxes: Array,
    scores: Array,
    idxs: Array | None,
    nms_cfg: dict[str, Any] | None,
    class_agnostic: bool = False,
) -> tuple[Array, Array]:
    """NMS per class: detections [K, 5] or [K, 6], and indices, int64 [K].

    Args:
        boxes: [N, 4] xyxy, or [N, 5] in radians for the type "nms_rotated".
        scores: [N].
        idxs: [N], the classes, integers or floats: each value is a class, and each NaN its own. May
            be None where all boxes are of one class.
        nms_cfg: a dict of `type` ("nms", "soft_nms" or "nms_rotated"; "nms" by default), `max_num`,
            `class_agnostic` and the arguments of that function. `split_thr` has no effect: classes
            are separated exactly at every size. None for no suppression, best first.
        class_agnostic: all boxes are of one class.

    Raises:
        NotImplementedError: another type, or an unknown argument.
    """
    if nms_cfg is None:
        keep = _descending(scores)
        return _detections(boxes, scores, keep), keep
    settings = dict(nms_cfg)
    kind = settings.pop("type", "nms")
    agnostic = settings.pop("class_agnostic", class_agnostic)
    max_num = settings.pop("max_num", -1)
    settings.pop("split_thr", None)
    if "iou_thr" in settings:  # the name in older settings
        settings["iou_threshold"] = settings.pop("iou_thr")
    if idxs is None and not agnostic:
        raise TypeError("`idxs` is None: give the classes, or class_agnostic=True")
    segments = None if agnostic else as_classes(idxs)
    if kind == "nms":
        threshold, offset = settings.pop("iou_threshold"), settings.pop("offset", 0)
        above = settings.pop("score_threshold", 0)
        _refuse(kind, settings)
        keep = _hard_nms(boxes, scores, segments, threshold, offset, above, max_num)
        return _detections(boxes, scores, keep), keep
    if kind == "soft_nms":
        method = settings.pop("method", "linear")
        moved = _with_offset(boxes, settings.pop("offset", 0))
        check_choice("method", method, ("linear", "gaussian"))
        soft = {
            "iou_threshold": as_number(settings.pop("iou_threshold", 0.3)),
            "sigma": settings.pop("sigma", 0.5),
            "score_threshold": settings.pop("min_score", 1e-3),
        }
        _refuse(kind, settings)
        keep, lowered = ops.soft_nms(moved, scores, method=method, idxs=segments, **soft)
        keep, lowered = _first(keep, max_num), _first(lowered, max_num)
        return _join(boxes[keep], lowered), keep
    if kind == "nms_rotated":
        threshold = settings.pop("iou_threshold")
        clockwise = settings.pop("clockwise", True)
        _refuse(kind, settings)
        detections, keep = nms_rotated(boxes, scores, threshold, segments, clockwise)
        return _first(detections, max_num), _first(keep, max_num)
    raise NotImplementedError(
        f"`nms_cfg` has the type {kind!r}; there are 'nms', 'soft_nms' and 'nms_rotated'"
    )


def nms_rotated(
    dets: Array,
    scores: Array,
    iou_threshold: float,
    labels: Array | None = None,
    clockwise: bool = True,
) -> tuple[Array, Array]:
    """Kept rotated boxes with their scores, [K, 6], and their indices, int64 [K], best first.

    Args:
        dets: [N, 5] as (cx, cy, w, h, radians).
        scores: [N]. iou_threshold: in [0, 1].
        labels: [N], integers or floats: boxes of different labels do not suppress each other.
        clockwise: whether positive angles are clockwise as seen in the image.

    Without boxes the result is [0, 6] and no indices; mmcv returns `dets` and None.
    """
    turned = _degrees(dets, clockwise)
    classes = None if labels is None else as_classes(labels)
    keep = ops.nms_rotated(turned, scores, as_number(iou_threshold), idxs=classes)
    return _detections(dets, scores, keep), keep


def box_iou_rotated(
    bboxes1: Array,
    bboxes2: Array,
    mode: str = "iou",
    aligned: bool = False,
    clockwise: bool = True,
) -> Array:
    """IoU of rotated boxes [N, 5] and [M, 5] in radians: [N, M], or [N] where aligned.

    `mode` "iof", the intersection over the first area, raises NotImplementedError.
    """
    check_choice("mode", mode, ("iou", "iof"))
    if mode == "iof":
        raise NotImplementedError("`mode` 'iof' is not available for rotated boxes: use 'iou'")
    first, second = _degrees(bboxes1, clockwise), _degrees(bboxes2, clockwise)
    return ops.box_iou_rotated(first, second, aligned=aligned)


def bbox_overlaps(
    bboxes1: Array, bboxes2: Array, mode: str = "iou", aligned: bool = False, offset: int = 0
) -> Array:
    """Overlap of boxes [N, 4] and [M, 4] xyxy: [N, M], or [N] where aligned.

    Args:
        mode: "iou", or "iof": the intersection over the area of the first box.
        aligned: pair box i only with box i; N = M.
        offset: 0 or 1, see the module's docstring. Where a union is empty the overlap is 0; mmcv
            divides by a union of at least `offset`.
    """
    check_choice("mode", mode, ("iou", "iof"))
    first, second = _with_offset(bboxes1, offset), _with_offset(bboxes2, offset)
    if not aligned:
        return (ops.box_iou if mode == "iou" else ops.box_ioa)(first, second)
    return aligned_overlap(first, second, mode)


def _with_offset(boxes: Array, offset: int) -> Array:
    check_choice("offset", offset, (0, 1))
    if offset == 0:
        return boxes
    (boxes,) = as_floats(boxes=boxes)
    return boxes + _row([0, 0, 1, 1], boxes)


def _degrees(boxes: Array, clockwise: bool) -> Array:
    """[N, 5] in degrees counter-clockwise, from radians in the given direction."""
    (boxes,) = as_floats(boxes=boxes)
    sign = -1.0 if clockwise else 1.0
    return boxes * _row([1, 1, 1, 1, sign * 180 / np.pi], boxes)


def _row(numbers: list[float], like: Array) -> Array:
    return like.new_tensor(numbers) if is_tensor(like) else np.array(numbers, like.dtype)


def _hard_nms(
    boxes: Array,
    scores: Array,
    segments: Array | None,
    iou_threshold: float,
    offset: int,
    score_threshold: float,
    max_num: int,
) -> Array:
    """Indices of the kept boxes; without segments, all boxes are in one."""
    boxes, taking = _with_offset(boxes, offset), None
    if score_threshold > 0:
        taking = _where(scores > score_threshold)
        boxes, scores = boxes[taking], scores[taking]
        segments = None if segments is None else segments[taking]
    if segments is None:
        keep = ops.nms(boxes, scores, as_number(iou_threshold))
    else:
        keep = ops.batched_nms(boxes, scores, segments, as_number(iou_threshold))
    return _first(keep if taking is None else taking[keep], max_num)


def _where(mask: Array) -> Array:
    return torch.where(mask)[0] if is_tensor(mask) else np.flatnonzero(mask)


def _descending(scores: Array) -> Array:
    if is_tensor(scores):
        return torch.sort(scores.nan_to_num(nan=-torch.inf), descending=True, stable=True)[1]
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")


def _first(rows: Array, max_num: int) -> Array:
    return rows[:max_num] if max_num > 0 else rows


def _detections(boxes: Array, scores: Array, keep: Array) -> Array:
    return _join(boxes[keep], scores[keep])


def _join(boxes: Array, scores: Array) -> Array:
    boxes, scores = as_floats(boxes=boxes, scores=scores)
    if is_tensor(boxes):
        return torch.cat([boxes, scores[:, None]], 1)
    return np.concatenate([boxes, scores[:, None]], 1)


def _refuse(kind: str, settings: dict[str, Any]) -> None:
    if settings:
        raise NotImplementedError(
            f"`nms_cfg` has {', '.join(map(repr, settings))}, which {kind!r} does not take"
        )
