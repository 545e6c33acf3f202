"""ATSS: the anchors nearest to an object, with a threshold derived from their IoUs."""

from collections.abc import Sequence
from typing import Any

from ._objects import Objects, is_single, named, padded_boxes
from ._rules import indices, register_rules
from .arguments import as_floats, backend, check_boxes, check_count, joined

Array = Any  # a torch.Tensor or a numpy.ndarray

MAX_LEVELS = 16  # kMaxAtssLevels of csrc/assign/atss/atss.h


def assign_atss(
    anchors: Array | Sequence[Array],
    gt_boxes: Objects,
    *,
    top_k: int = 9,
    mask: Array | None = None,
) -> Array:
    """Assign objects to anchors by the rule of ATSS.

    The candidates of an object are, on each level, the `top_k` anchors whose centres are nearest to
    the object's centre. The object's threshold is the mean plus the standard deviation of their
    IoUs. Candidates whose IoU reaches it, which overlap the object and have their centre inside it,
    are assigned to it. Where several objects claim an anchor, it goes to the one with the largest
    IoU, and among equals to the first.

    Args:
        anchors: a list of [A_l, 4] xyxy, one for each of at most 16 levels, or [A, 4] for a single
            level. float16, bfloat16 and integers are computed in float32.
        gt_boxes: [G, 4] xyxy, a list of B such arrays, one per image, or [B, G, 4].
        top_k: candidates per level, at least 1; all anchors of a level that has fewer. With n
            anchors per cell the authors use 9 * n.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        int64 [B, A], or [A] for one image, over the anchors of all levels in order: index of the
        object within its image, -1 for background. Among equal distances the lower anchor comes
        first. "Inside" excludes the border. A box that is not finite is neither anchor nor object.

    Raises:
        ValueError: a wrong shape, device, number of levels or `top_k`. TypeError: a mixture of
        tensors and arrays, or a dtype that is not a real number.

    The standard deviation divides by n - 1, and is 0 for a single candidate; mean and deviation are
    summed in float64 in the order of the anchors. Memory is A + B x G x levels; time on the CPU is
    about B x G x A / 64 where anchors are in the order of a grid. There is no GPU synchronisation.
    docs/assignment/atss.md says how other implementations differ.

    Source: Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via
    Adaptive Training Sample Selection", CVPR 2020, algorithm 1.

    >>> import numpy as np
    >>> fine = np.array([[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]])
    >>> coarse = np.array([[0, 0, 16, 16], [16, 0, 32, 16]])
    >>> assign_atss([fine, coarse], np.array([[1, 0, 17, 14]]), top_k=2)
    array([-1, -1, -1,  0, -1])
    """
    levels = named("anchors", anchors)
    if not 1 <= len(levels) <= MAX_LEVELS:
        raise ValueError(
            f"`anchors` must hold one array for each of 1 to {MAX_LEVELS} levels, got {len(levels)}"
        )
    native = backend(**levels, **named("gt_boxes", gt_boxes), mask=mask, optional=("mask",))
    for name, boxes in levels.items():
        check_boxes(name, boxes)
    top_k = check_count("top_k", top_k, at_least=1)
    wide = as_floats(**levels, **named("gt_boxes", gt_boxes))[: len(levels)]
    objects = padded_boxes(gt_boxes, mask, wide[0])
    sizes = [boxes.shape[0] for boxes in wide]
    index = native.assign_atss(joined(wide), sizes, objects, min(top_k, sum(sizes) + 1))
    return index[0] if is_single(gt_boxes) else index


register_rules(
    "assign_atss",
    lambda anchors, _sizes, gt_boxes, _k: indices(anchors, gt_boxes.shape[0], anchors.shape[0]),
)
