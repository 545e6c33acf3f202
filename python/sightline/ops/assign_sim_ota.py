"""SimOTA: to each object the anchors that learn it at least cost, as many as fit it well."""

from typing import Any, NamedTuple

from ._objects import Objects, named
from ._predictions import as_batch, check_not_negative, check_predictions, check_top_k, of_images
from ._rules import indices, register_rules
from .arguments import backend, check_number

Array = Any  # a torch.Tensor or a numpy.ndarray


class SimOta(NamedTuple):
    """What `assign_sim_ota` gives for each anchor, [B, A] each."""

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
    """The object that each anchor learns, by the rule of YOLOX.

    Anchors count whose point lies strictly inside some object of the image, or less than
    `center_radius` strides from some object's centre along both axes. An object takes as many of
    them as the sum of its `top_k` largest IoUs says, rounded down, at least one: first those both
    inside it and near its centre, then those of lower cost. The cost is `class_weight` times the
    binary cross entropy of all the anchor's scores with the object's label, plus `iou_weight` times
    -log(IoU + 1e-7). An anchor that several objects take goes to the one where it comes first in
    this order.

    Args:
        scores: [B, A, C] probabilities in [0, 1]: of the class times of an object, or the root of
            that product, as the caller's detector has it. float16 and bfloat16 are computed in
            float32.
        boxes: [B, A, 4] predicted xyxy, in pixels of the image.
        points: [A, 2] xy, the centres of the anchors' cells, in pixels.
        strides: [A], in pixels.
        gt_boxes: [B, G, 4] xyxy, a list of B [G_b, 4], or [G, 4] for one image, whose `scores` and
            `boxes` then have no B.
        gt_labels: integers in [0, C) in the form of `gt_boxes` without its last dimension.
        center_radius: positive, in strides.
        top_k: IoUs that are added up, from 1 to 512.
        iou_weight, class_weight: finite and not negative.
        mask: bool [B, G] beside `gt_boxes` [B, G, 4]: the rows that are objects.

    Returns:
        `SimOta(index, iou)`, [B, A] each, or [A] for one image: index of the object within its
        image, -1 for background, where `iou` is 0.

    Equal costs: the lower anchor, the lower object. An anchor with a score outside [0, 1] or NaN,
    or a box that is not finite, does not count. An object that loses all its anchors to others has
    none. A `gt_boxes` row that is not finite is no object.

    Raises:
        ValueError: a wrong shape, device, range or label. On a GPU labels are not looked at: an
        object with a wrong one is none. TypeError: a mixture of tensors and arrays, or a dtype that
        is not a real number.

    Time is scores + the pairs that overlap, memory anchors + objects x `top_k`. Nothing waits for a
    GPU, and no gradient passes.

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
