"""SSD: one anchor for every object, then an object for every anchor with enough overlap."""

from typing import Any

from ._objects import Objects, is_single, named, padded_boxes
from ._rules import indices, register_rules
from .arguments import (
    as_floats,
    backend,
    check_boxes,
    check_choice,
    check_fraction,
)

Array = Any  # a torch.Tensor or a numpy.ndarray

SSD_RULES = ("default", "torchvision")


def assign_ssd(
    anchors: Array,
    gt_boxes: Objects,
    *,
    threshold: float = 0.5,
    rule: str = "default",
    mask: Array | None = None,
) -> Array:
    """Assign objects to anchors by the rule of SSD.

    First each object gets one anchor: the pair with the highest IoU of all is matched and removed,
    and so on while there are overlapping pairs. Then every remaining anchor gets the object with
    the largest IoU, the first one among equals, where this IoU is at least `threshold`.

    Args:
        anchors: [A, 4] xyxy. float16, bfloat16 and integers are computed in float32.
        gt_boxes: [G, 4] xyxy, a list of B such arrays, one per image, or [B, G, 4].
        threshold: in [0, 1], rounded to the computing type.
        rule: "default", or "torchvision" (its `SSDMatcher`): each object in turn takes its best
            anchor, so that of two objects with the same best anchor the first one gets none; an
            object that overlaps no anchor takes anchor 0; and with a threshold of 0 every anchor
            is matched.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        int64 [B, A], or [A] for one image: index of the object within its image, -1 for
        background. A box that is not finite is not an object. Among pairs with equal IoU the
        lowest anchor comes first, then the first object.

    Raises:
        ValueError: a wrong shape, device, threshold or rule. TypeError: a mixture of tensors and
        arrays, or a dtype that is not a real number.

    Time is A x G, plus A for each object whose best anchor is taken; memory is A + G per image.
    There is no GPU synchronisation.

    Source: Liu et al., "SSD", ECCV 2016, section 2.2.

    >>> import numpy as np
    >>> anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]])
    >>> gt_boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 10]])
    >>> assign_ssd(anchors, gt_boxes)
    array([ 1,  0, -1])
    """
    native = backend(anchors=anchors, **named("gt_boxes", gt_boxes), mask=mask, optional=("mask",))
    check_boxes("anchors", anchors)
    threshold = check_fraction("threshold", threshold)
    check_choice("rule", rule, SSD_RULES)
    wide = as_floats(anchors=anchors, **named("gt_boxes", gt_boxes))[0]
    objects = padded_boxes(gt_boxes, mask, wide)
    index = native.assign_ssd(wide, objects, threshold, rule == "torchvision")
    return index[0] if is_single(gt_boxes) else index


register_rules(
    "assign_ssd",
    lambda anchors, gt_boxes, *_rule: indices(anchors, gt_boxes.shape[0], anchors.shape[0]),
)
