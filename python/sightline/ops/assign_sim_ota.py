"""SimOTA: each object gets the anchors of lowest cost; the IoUs decide how many."""

from typing import Any, NamedTuple

from ._objects import Objects, named
from ._predictions import as_batch, check_not_negative, check_predictions, check_top_k, of_images
from ._rules import indices, register_rules
from .arguments import backend, check_number

Array = Any  # a torch.Tensor or a numpy.ndarray


class SimOta(NamedTuple):
    """Result of `assign_sim_ota`, [B, A] each."""

    index: Array  # int64: the object within its image, -1 background
    iou: Array  # of the predicted box with that object


def assign_sim_ota(
    scores: Array,
    boxes: Array,
    points: Array,
    strides: Array,
    gt_boxes: Objects,
    gt_labels: Objects,
    *,
    center_radius: float = 2.5,
    top_k: int = 10,
    iou_weight: float = 3.0,
    class_weight: float = 1.0,
    mask: Array | None = None,
) -> SimOta:
    """Assign objects to anchors by the rule of YOLOX.

    The candidates are the anchors whose point lies strictly inside any object of the image, or less
    than `center_radius` strides from the centre of any object along both axes. The number of
    anchors of an object is the sum of its `top_k` largest IoUs, rounded down, and at least one. It
    prefers those that are both inside it and near its centre, and then those of lower cost. The
    cost is `class_weight` times the binary cross-entropy of all scores of the anchor with the
    object's label, plus `iou_weight` times -log(IoU + 1e-7). Where several objects claim an anchor,
    it goes to the one that prefers it most in this order.

    Args:
        scores: [B, A, C] probabilities in [0, 1]: that of the class times that of an object, or
            the square root of this product, depending on the detector. float16 and bfloat16 are
            computed in float32.
        boxes: [B, A, 4] predicted xyxy, in pixels of the image.
        points: [A, 2] xy, the centres of the anchors' cells, in pixels.
        strides: [A], in pixels.
        gt_boxes: [B, G, 4] xyxy, a list of B [G_b, 4], or [G, 4] for one image; `scores` and
            `boxes` then have no B.
        gt_labels: integers in [0, C) in the form of `gt_boxes` without its last dimension.
        center_radius: positive, in strides.
        top_k: number of IoUs that are summed, from 1 to 512.
        iou_weight, class_weight: finite and not negative.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        `SimOta(index, iou)`, [B, A] each, or [A] for one image: index of the object within its
        image, -1 for background, where `iou` is 0.

    Ties of cost go to the lower anchor, then the lower object. An anchor with a score that is NaN
    or outside [0, 1], or with a box that is not finite, is not a candidate. An object that loses
    all its anchors to others has none. A `gt_boxes` row that is not finite is not an object.

    Raises:
        ValueError: a wrong shape, device, range or label. On a GPU labels are not checked: an
        object with an invalid one is ignored. TypeError: a mixture of tensors and arrays, or a
        dtype that is not a real number.

    Time grows with the scores and the overlapping pairs, memory with anchors + objects x `top_k`.
    There is no GPU synchronisation and no gradient.

    Source: Ge et al., "YOLOX", 2021, section 2.1.

    >>> import numpy as np
    >>> scores, boxes = np.array([[0.5], [0.8]]), np.array([[0, 0, 8, 8], [0, 0, 8, 4]])
    >>> points, strides = np.array([[2, 2], [6, 2]]), np.array([4, 4])
    >>> assign_sim_ota(scores, boxes, points, strides, np.array([[0, 0, 8, 8]]), np.array([0]))
    SimOta(index=array([ 0, -1]), iou=array([1., 0.]))
    """
    arrays = {"scores": scores, "boxes": boxes, "points": points, "strides": strides}
    objects_and_labels = {**named("gt_boxes", gt_boxes), **named("gt_labels", gt_labels)}
    native = backend(**arrays, **objects_and_labels, mask=mask, optional=("mask",))
    check_predictions(scores, boxes, points, gt_boxes)
    if tuple(strides.shape) != (scores.shape[-2],):
        raise ValueError(
            f"`strides` must have shape {[scores.shape[-2]]}, one for each anchor of `scores`, "
            f"got {list(strides.shape)}"
        )
    top_k = check_top_k(top_k)
    radius = check_number("center_radius", center_radius)
    if not radius > 0:
        raise ValueError(f"`center_radius` must be positive, got {center_radius}")
    weights = [
        check_not_negative(name, weight)
        for name, weight in (("iou_weight", iou_weight), ("class_weight", class_weight))
    ]
    inputs = as_batch(arrays, gt_boxes, gt_labels, mask)
    outputs = native.assign_sim_ota(*inputs, top_k, radius, *weights)
    return SimOta(*of_images(outputs, gt_boxes))


register_rules(
    "assign_sim_ota",
    lambda scores, *_rest: (indices(scores, *scores.shape[:2]), scores.new_empty(scores.shape[:2])),
)
