"""The box functions of detectron2 from Sightline's kernels: its names, arguments and shapes.

`batched_nms`, `nms_rotated` and `batched_nms_rotated` are those of `detectron2.layers`, the
pairwise functions those of `detectron2.structures`, `Box2BoxTransform` that of
`detectron2.modeling.box_regression`. detectron2 need not be installed. Where it takes its `Boxes`,
these take a tensor or array of the boxes, or any object that has one as `.tensor`. Differences:

- a rotated box is suppressed where its overlap is more than the threshold; detectron2 also
  suppresses at the threshold on the CPU, but not on CUDA;
- order is total (score descending, index ascending, NaN last), and invalid boxes have defined
  results.
"""

import math
from typing import Any

from sightline import ops

from ._shared import aligned_overlap, as_classes, as_number, batched_nms, pairwise_intersection_of

__all__ = [
    "Box2BoxTransform",
    "batched_nms",
    "batched_nms_rotated",
    "matched_pairwise_iou",
    "nms_rotated",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_iou_rotated",
]

Array = Any  # a torch.Tensor or a numpy.ndarray

_SCALE_CLAMP = math.log(1000.0 / 16)


def nms_rotated(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """Kept boxes of [N, 5] (cx, cy, w, h, degrees counter-clockwise): int64 [K], best first."""
    return ops.nms_rotated(boxes, scores, as_number(iou_threshold))


def batched_nms_rotated(boxes: Array, scores: Array, idxs: Array, iou_threshold: float) -> Array:
    """`nms_rotated` for every class of `idxs` [N], integers or floats, separately; exact."""
    return ops.nms_rotated(boxes, scores, as_number(iou_threshold), idxs=as_classes(idxs))


def pairwise_iou(boxes1: Any, boxes2: Any) -> Array:
    """[N, M], IoU of all pairs of [N, 4] and [M, 4] xyxy."""
    return ops.box_iou(_values(boxes1), _values(boxes2))


def pairwise_ioa(boxes1: Any, boxes2: Any) -> Array:
    """[N, M], intersection over the area of the second box, for all pairs.

    `sightline.ops.box_ioa` divides by the area of the first box.
    """
    return ops.box_ioa(_values(boxes2), _values(boxes1)).T


def pairwise_intersection(boxes1: Any, boxes2: Any) -> Array:
    """[N, M], area of the intersection of all pairs; in plain operations, with their memory."""
    return pairwise_intersection_of(_values(boxes1), _values(boxes2))


def matched_pairwise_iou(boxes1: Any, boxes2: Any) -> Array:
    """[N], IoU of aligned pairs of [N, 4] xyxy."""
    return aligned_overlap(_values(boxes1), _values(boxes2), "iou")


def pairwise_iou_rotated(boxes1: Any, boxes2: Any) -> Array:
    """[N, M], IoU of all pairs of [N, 5] and [M, 5] (cx, cy, w, h, degrees)."""
    return ops.box_iou_rotated(_values(boxes1), _values(boxes2))


class Box2BoxTransform:
    """Deltas of R-CNN: `sightline.ops.encode_boxes` and `decode_boxes`.

    A source box without size is not an error: its deltas along that axis are 0.
    """

    def __init__(
        self, weights: tuple[float, float, float, float], scale_clamp: float = _SCALE_CLAMP
    ):
        """`weights` of dx, dy, dw, dh. The only `scale_clamp` available is log(1000 / 16)."""
        if not math.isclose(scale_clamp, _SCALE_CLAMP):
            raise NotImplementedError(
                f"`scale_clamp` must be log(1000 / 16) = {_SCALE_CLAMP}, got {scale_clamp}"
            )
        self.weights = weights
        self.scale_clamp = scale_clamp

    def get_deltas(self, src_boxes: Array, target_boxes: Array) -> Array:
        """[N, 4] deltas that turn `src_boxes` [N, 4] into `target_boxes` [N, 4]."""
        return ops.encode_boxes(target_boxes, src_boxes, self.weights)

    def apply_deltas(self, deltas: Array, boxes: Array) -> Array:
        """[N, K * 4] xyxy: each of `boxes` [N, 4] moved by its K deltas in `deltas` [N, K * 4]."""
        each = deltas.reshape(deltas.shape[0], deltas.shape[1] // 4, 4)
        return ops.decode_boxes(each, boxes[:, None], self.weights).reshape(deltas.shape)


def _values(boxes: Any) -> Array:
    return getattr(boxes, "tensor", boxes)
