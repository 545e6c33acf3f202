"""Assignment of anchors to objects, which tells a detector what each anchor should learn."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ._arguments import (
    as_floats,
    backend,
    check_boxes,
    check_choice,
    check_fraction,
    has_torch_ops,
    is_tensor,
    torch,
)

if has_torch_ops():
    from . import _matching_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray

RULES = ("default", "torchvision", "detectron2")


def match_anchors(
    anchors: Array,
    gt_boxes: Array | Sequence[Array],
    *,
    high_threshold: float,
    low_threshold: float,
    allow_low_quality: bool = True,
    rule: str = "default",
) -> Array:
    """The object that each anchor is matched to, by the highest IoU.

    An anchor whose highest IoU is at least `high_threshold` takes that object; below
    `low_threshold` it is background; between them it is neither. Of equal IoUs the first object
    wins. With `allow_low_quality`, the anchors whose IoU with some object is the highest that
    object has take their own best object, whatever the thresholds, so that no object is left out.

    Args:
        anchors: [A, 4] xyxy. float16, bfloat16 and integers are computed in float32.
        gt_boxes: [G, 4] xyxy, or a list of one such for each of B images, which may be empty.
        high_threshold: in [0, 1], rounded to the computing type.
        low_threshold: in [0, `high_threshold`], likewise.
        allow_low_quality: see above.
        rule: "default": an IoU of 0 matches nothing. "torchvision" and "detectron2" (their
            `Matcher`; the two agree): an object that no anchor overlaps has the highest IoU 0, so
            every anchor of IoU 0 with it takes its own best object, which may be one that it does
            not overlap either; and at a `high_threshold` of 0 every anchor is matched.

    Returns:
        int64 [A], or [B, A] where `gt_boxes` is a list: the index of the object within its image,
        -1 background, -2 between the thresholds. An image without objects is all -1.

    Raises:
        ValueError: a wrong shape, device, threshold or rule, or `low_threshold` above
            `high_threshold`. TypeError: a mixture of tensors and arrays, or no real numbers.

    A box that is not finite has IoU 0 with everything, as in `sightline.ops.iou`. Time is A x G,
    memory A + G: the matrix of IoUs is never held.

    Source: Ren et al., "Faster R-CNN", section 3.1.2.

    >>> import numpy as np
    >>> anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60], [40, 40, 44, 44]])
    >>> gt_boxes = np.array([[0, 0, 10, 9], [40, 40, 50, 50]])
    >>> match_anchors(anchors, gt_boxes, high_threshold=0.7, low_threshold=0.3)
    array([ 0, -2, -1,  1])
    """
    single = is_tensor(gt_boxes) or isinstance(gt_boxes, np.ndarray)
    objects = [gt_boxes] if single else list(gt_boxes)
    names = ["gt_boxes"] if single else [f"gt_boxes[{i}]" for i in range(len(objects))]
    native = backend(anchors=anchors, **dict(zip(names, objects)))
    check_boxes("anchors", anchors)
    for name, boxes in zip(names, objects):
        check_boxes(name, boxes)
    high = check_fraction("high_threshold", high_threshold)
    low = check_fraction("low_threshold", low_threshold)
    if low > high:
        raise ValueError(
            f"`low_threshold` must be at most `high_threshold`, got {low} and {high}: exchange them"
        )
    check_choice("rule", rule, RULES)
    anchors, *objects = as_floats(anchors=anchors, **dict(zip(names, objects)))
    joined, offsets = _join(anchors, objects)
    matches = native.match_anchors(
        anchors, joined, offsets, high, low, bool(allow_low_quality), rule != "default"
    )
    return matches[0] if single else matches


def _join(anchors: Array, objects: list[Array]) -> tuple[Array, Array]:
    """The boxes of all images one after another, and where each image's begin: int64 [B + 1]."""
    starts = [0, *accumulate(boxes.shape[0] for boxes in objects)]
    if is_tensor(anchors):
        joined = torch.cat(objects) if objects else anchors[:0]
        return joined, torch.tensor(starts, dtype=torch.int64, device=anchors.device)
    joined = np.concatenate(objects) if objects else anchors[:0]
    return joined, np.array(starts, np.int64)
