"""Assignment of objects to anchors by IoU thresholds."""

from typing import Any, NamedTuple

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

RULES = ("default", "torchvision", "detectron2", "mmdetection")


class Matches(NamedTuple):
    """Result of `match_anchors` with `return_iou` or `return_best_anchor`; None where not asked."""

    index: Array  # int64 [B, A] or [A]
    iou: Array | None  # [B, A] or [A]: the highest IoU of each anchor, 0 where it is ignored
    best_anchor: Array | None  # int64 [B, G] or [G]: per object, -1 where it overlaps none


def match_anchors(
    anchors: Array,
    gt_boxes: Objects,
    *,
    high_threshold: float,
    low_threshold: float,
    allow_low_quality: bool = True,
    min_positive_iou: float = 0.0,
    first_anchor_only: bool = False,
    rule: str = "default",
    mask: Array | None = None,
    ignore_boxes: Objects | None = None,
    ignore_threshold: float = 0.5,
    return_iou: bool = False,
    return_best_anchor: bool = False,
) -> Array:  # or Matches
    """Assign objects to anchors by the highest IoU.

    An anchor whose highest IoU is at least `high_threshold` is matched to that object; below
    `low_threshold` it is background; in between it is neither. Among equal IoUs the first object
    wins. With `allow_low_quality`, an anchor that attains the highest IoU of some object is matched
    to its own best object, regardless of the thresholds, so that no object is left out.

    Args:
        anchors: [A, 4] xyxy. float16, bfloat16 and integers are computed in float32.
        gt_boxes: [G, 4] xyxy, a list of B such arrays, one per image (may be empty), or
            [B, G, 4].
        high_threshold: in [0, 1] like all thresholds, rounded to the computing type.
        low_threshold: at most `high_threshold`.
        allow_low_quality: see above.
        min_positive_iou: an object whose highest IoU is below this gets no low-quality match.
        first_anchor_only: among the anchors that attain an object's highest IoU, only the lowest
            one is its low-quality match.
        rule: "default": an IoU of 0 matches nothing. The other rules differ where an object
            overlaps no anchor: its highest IoU is 0, so that every anchor with IoU 0 is its
            low-quality match; and with a `high_threshold` of 0 every anchor is matched.
            "torchvision" and "detectron2": their `Matcher`; the two agree. "mmdetection": its
            `MaxIoUAssigner`, where a low-quality match goes to the object whose highest IoU it
            attains (the last of several), not to its own best object.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.
        ignore_boxes: regions in which anchors are ignored, for the same images and in the same
            form as `gt_boxes`, with R rows instead of G; a row that is not finite is not a region.
        ignore_threshold: an anchor is ignored where the share of its own area inside one region is
            above this. It is compared with no object, so it is never the best anchor of one.
        return_iou: also return the highest IoU of each anchor.
        return_best_anchor: also return the anchor with the highest IoU of each object, the lowest
            one among equals.

    Returns:
        int64 [B, A], or [A] for one image [G, 4]: the index of the object within its image, -1 for
        background, -2 for between the thresholds or ignored. In an image without objects all are
        -1 or ignored. With `return_iou` or `return_best_anchor` a `Matches` (index, iou,
        best_anchor), with None for what was not asked for.

    Raises:
        ValueError: a wrong shape, device, threshold or rule, or `low_threshold` above
            `high_threshold`. TypeError: a mixture of tensors and arrays, or a dtype that is not a
            real number.

    A box that is not finite is not an object, and as an anchor it has IoU 0 with everything. Time
    is at most A x G, memory A + G per image: the IoU matrix is never stored. There is no GPU
    synchronisation.

    Source: Ren et al., "Faster R-CNN", section 3.1.2.

    >>> import numpy as np
    >>> anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60], [40, 40, 44, 44]])
    >>> gt_boxes = np.array([[0, 0, 10, 9], [40, 40, 50, 50]])
    >>> match_anchors(anchors, gt_boxes, high_threshold=0.7, low_threshold=0.3)
    array([ 0, -2, -1,  1])
    """
    given = named("gt_boxes", gt_boxes)
    regions = {} if ignore_boxes is None else named("ignore_boxes", ignore_boxes)
    native = backend(anchors=anchors, **given, **regions, mask=mask, optional=("mask",))
    check_boxes("anchors", anchors)
    high = check_fraction("high_threshold", high_threshold)
    low = check_fraction("low_threshold", low_threshold)
    if low > high:
        raise ValueError(
            f"`low_threshold` must be at most `high_threshold`, got {low} and {high}: swap them"
        )
    check_choice("rule", rule, RULES)
    wide = as_floats(anchors=anchors, **given, **regions)[0]
    objects = padded_boxes(gt_boxes, mask, wide)
    single = is_single(gt_boxes)
    index, iou, best_anchor = native.match_anchors(
        wide,
        objects,
        objects[:, :0] if ignore_boxes is None else _regions(ignore_boxes, single, objects),
        high,
        low,
        check_fraction("min_positive_iou", min_positive_iou),
        check_fraction("ignore_threshold", ignore_threshold),
        bool(allow_low_quality),
        bool(first_anchor_only),
        rule != "default",
        rule == "mmdetection",
        bool(return_iou),
        bool(return_best_anchor),
    )
    if single:
        index, iou, best_anchor = index[0], iou[0], best_anchor[0]
    if not (return_iou or return_best_anchor):
        return index
    return Matches(index, iou if return_iou else None, best_anchor if return_best_anchor else None)


def _regions(ignore_boxes: Objects, single: bool, objects: Array) -> Array:
    """Regions [B, R, 4] that go with the objects [B, G, 4]."""
    regions = padded_boxes(ignore_boxes, None, objects, "ignore_boxes")
    images = objects.shape[0]
    if is_single(ignore_boxes) != single or regions.shape[0] != images:
        need = "[R, 4]" if single else f"[{images}, R, 4] or be a list of {images} of [R, 4]"
        shape = list(ignore_boxes.shape) if hasattr(ignore_boxes, "shape") else "a list"
        raise ValueError(f"`ignore_boxes` must have shape {need}, as `gt_boxes`, got {shape}")
    return regions


def _outputs(anchors, gt_boxes, _ignore_boxes, *rule):
    with_iou, with_best_anchor = rule[-2:]
    (images, objects, _), num_anchors = gt_boxes.shape, anchors.shape[0]
    return (
        indices(anchors, images, num_anchors),
        anchors.new_empty(images, num_anchors if with_iou else 0),
        indices(anchors, images, objects if with_best_anchor else 0),
    )


register_rules("match_anchors", _outputs)
