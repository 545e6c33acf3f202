"""Non-maximum suppression with outputs of a fixed size, without GPU synchronisation."""

import math
from typing import Any, NamedTuple

from ._rules import indices, register_rules, register_vmap_as_batch
from .arguments import (
    as_floats,
    as_indices,
    backend,
    check_count,
    check_fraction,
    check_number,
    detached,
)

Array = Any  # a torch.Tensor or a numpy.ndarray


class NmsPadded(NamedTuple):
    """The kept boxes of each image, best first."""

    indices: Array  # int64 [B, D], or [D]; -1 where padded
    count: Array  # int64 [B], or []: indices that are not padding


def nms_padded(
    boxes: Array,
    scores: Array,
    iou_threshold: float,
    *,
    max_detections: int,
    idxs: Array | None = None,
    score_threshold: float | None = None,
) -> NmsPadded:
    """`nms`, or `batched_nms`, for every image of a batch, limited to the `max_detections` best.

    Args:
        boxes: [B, N, 4] xyxy, or [N, 4] for one image. float16, bfloat16 and integers are computed
            in float32.
        scores: [B, N] or [N], any real dtype, tensor or array as `boxes` is.
        iou_threshold: in [0, 1], rounded to the computing type of the boxes.
        max_detections: D, the size of the result per image, at least 0. Once that many boxes are
            kept, the rest is skipped.
        idxs: integers with the shape of `scores`: boxes of an image with different `idxs` never
            suppress each other. Boxes of different images never do.
        score_threshold: only boxes with a higher score are used, so none with a NaN score; any
            number but NaN, rounded to the dtype of the scores. None uses all boxes as in `nms`,
            those with a NaN score last.

    Returns:
        `NmsPadded`: indices int64 [B, D] into each image, best first, -1 past the kept ones, and
        count int64 [B]; [D] and [] for one image. Not differentiable.

    Raises:
        ValueError: a wrong shape, device, threshold or count.
        TypeError: a mixture of tensors and arrays, or a wrong dtype.

    Order, ties and invalid boxes are those of `nms`. The sizes do not depend on the data: there is
    no synchronisation on CUDA, and a call can be captured in a CUDA graph; `torch.export` and
    `torch.compile` see no dynamic size; `torch.vmap` makes one call for a batch. Memory is O(B N).
    To gather padded rows, clamp the indices: `boxes[indices.clamp(min=0)]`.

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
    >>> nms_padded(boxes, np.array([0.8, 0.9, 0.7]), 0.5, max_detections=4)
    NmsPadded(indices=array([ 1,  2, -1, -1]), count=array(2))
    """
    native = backend(boxes=boxes, scores=scores, idxs=idxs, optional=("idxs",))
    shape = tuple(boxes.shape)
    if len(shape) not in (2, 3) or shape[-1] != 4:
        raise ValueError(f"`boxes` must have shape [B, N, 4] or [N, 4], got {list(shape)}")
    for name, value in (("scores", scores), ("idxs", idxs)):
        if value is not None and tuple(value.shape) != shape[:-1]:
            raise ValueError(
                f"`{name}` must have shape {list(shape[:-1])}, one for each of `boxes`, "
                f"got {list(value.shape)}"
            )
    iou_threshold = check_fraction("iou_threshold", iou_threshold)
    max_detections = check_count("max_detections", max_detections, at_least=0)
    if score_threshold is not None:
        score_threshold = check_number("score_threshold", score_threshold)
        if math.isnan(score_threshold):
            raise ValueError("`score_threshold` must not be NaN")
    (boxes,), (scores,) = as_floats(boxes=detached(boxes)), as_floats(scores=detached(scores))
    if idxs is not None:
        (idxs,) = as_indices(idxs=idxs)
    one_image = len(shape) == 2
    if one_image:
        boxes, scores = boxes[None], scores[None]
        idxs = None if idxs is None else idxs[None]
    indices, count = native.nms_padded(
        boxes, scores, idxs, iou_threshold, max_detections, score_threshold
    )
    if one_image:
        return NmsPadded(indices[0], count.reshape(()))
    return NmsPadded(indices, count)


def _outputs(boxes, scores, idxs, iou_threshold, max_detections, score_threshold):
    images = boxes.shape[0]
    return indices(boxes, images, max_detections), indices(boxes, images)


register_rules("nms_padded", _outputs)
register_vmap_as_batch("nms_padded")
