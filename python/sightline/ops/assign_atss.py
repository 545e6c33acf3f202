"""ATSS: the anchors nearest to an object, held to a threshold that they set themselves."""

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
    """The object that each anchor learns, by the rule of ATSS.

    Of each level the `top_k` anchors whose centres are nearest to the object's centre are its
    candidates. Their IoUs' mean plus standard deviation is its threshold; the candidates at or
    above it that overlap the object and have their centre within it learn it. An anchor that
    several objects want goes to the one that it overlaps most, of equals to the first.

    Args:
        anchors: a list of [A_l, 4] xyxy, one for each of at most 16 levels, or [A, 4] for a single
            one. float16, bfloat16 and integers are computed in float32.
        gt_boxes: [G, 4] xyxy, a list of one such for each of B images, or [B, G, 4].
        top_k: candidates of a level, at least 1; all its anchors where it has no more. With n
            anchors on every cell the authors take 9 * n.
        mask: bool [B, G] beside `gt_boxes` [B, G, 4]: the rows that are objects.

    Returns:
        int64 [B, A], or [A] for one image, over the anchors of all levels in their order: index of
        the object within its image, -1 background. Equal distances are decided by the lower anchor.
        "Within" leaves out the border. A box that is not finite is neither anchor nor object.

    Raises:
        ValueError: a wrong shape, device, number of levels or `top_k`. TypeError: a mixture of
        tensors and arrays, or a dtype that is not a real number.

    The deviation has n - 1 in its denominator, and is 0 for a single candidate; mean and deviation
    are sums in float64 in the order of the anchors. Memory is A and B x G x levels; time on the CPU
    is B x G x A / 64 and little more where anchors lie in the order of a grid. Nothing waits for a
    GPU. docs/assignment/atss.md says how others differ.

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
