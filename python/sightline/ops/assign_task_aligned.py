"""Task-aligned assignment: the anchors that both classify and locate an object best."""

from typing import Any, NamedTuple

from ._objects import Objects, named
from ._predictions import as_batch, check_not_negative, check_predictions, check_top_k, of_images
from ._rules import indices, register_rules
from .arguments import backend, check_choice, check_count

Array = Any  # a torch.Tensor or a numpy.ndarray

OVERLAPS = ("iou", "ciou")


class TaskAligned(NamedTuple):
    """Result of `assign_task_aligned`, [B, A] each."""

    index: Array  # int64: the object within its image, -1 background
    metric: Array  # alignment with that object
    iou: Array  # overlap with that object
    target_score: Array  # target for the score of the object's label


def assign_task_aligned(
    scores: Array,
    boxes: Array,
    points: Array,
    gt_boxes: Objects,
    gt_labels: Objects,
    *,
    top_k: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    one_to_one_top_k: int | None = None,
    overlap: str = "iou",
    mask: Array | None = None,
) -> TaskAligned:
    """Assign objects and target scores to anchors by the rule of TOOD.

    The alignment metric of an anchor with an object is score^alpha * overlap^beta, from its score
    for the object's label and its predicted box. An object claims the `top_k` anchors with the
    highest metric among those whose point lies strictly inside it; where several objects claim an
    anchor, it goes to the one with the largest overlap. The target score is metric / m * o, with
    the largest metric m and the largest overlap o of the object's anchors.

    Args:
        scores: [B, A, C] probabilities in [0, 1]. float16 and bfloat16 are computed in float32.
        boxes: [B, A, 4] predicted xyxy, in pixels of the image.
        points: [A, 2] xy of the anchors, in pixels.
        gt_boxes: [B, G, 4] xyxy, a list of B [G_b, 4], or [G, 4] for one image; `scores` and
            `boxes` then have no B.
        gt_labels: integers in [0, C) in the form of `gt_boxes` without its last dimension.
        top_k: number of anchors that an object claims, from 1 to 512.
        alpha, beta: finite and not negative.
        one_to_one_top_k: number of anchors that an object keeps in the end, those with the highest
            metric; None for all. 1 gives the one-to-one head of YOLOv10 (Ultralytics' `topk2`).
        overlap: "iou", or "ciou" for CIoU where that is above 0, as in Ultralytics.
        mask: bool [B, G] for `gt_boxes` [B, G, 4]: which rows are objects.

    Returns:
        `TaskAligned(index, metric, iou, target_score)`, [B, A] each, or [A] for one image: index of
        the object within its image, -1 for background, where the others are 0.

    Among equal metrics the lower anchor comes first, among equal overlaps the lower object. Anchors
    with a metric of 0, a negative or NaN score, or a box that is not finite are not claimed. An
    object without a point inside, which may happen below the size of a stride, gets no anchor. A
    `gt_boxes` row that is not finite is not an object.

    Raises:
        ValueError: a wrong shape, device, range or label. On a GPU labels are not checked: an
        object with an invalid one is ignored. TypeError: a mixture of tensors and arrays, or a
        dtype that is not a real number.

    Time grows with the points inside objects, memory with anchors + objects x `top_k`. There is no
    GPU synchronisation and no gradient.

    Source: Feng et al., "TOOD", ICCV 2021, section 3.2; Wang et al., "YOLOv10", NeurIPS 2024,
    section 3.1 for the one-to-one form.

    >>> import numpy as np
    >>> scores, boxes = np.array([[0.5], [0.8]]), np.array([[0, 0, 8, 8], [0, 0, 8, 4]])
    >>> points = np.array([[2, 2], [6, 2]])
    >>> assign_task_aligned(
    ...     scores, boxes, points, np.array([[0, 0, 8, 8]]), np.array([0]), beta=1
    ... ).target_score
    array([1. , 0.8])
    """
    arrays = {"scores": scores, "boxes": boxes, "points": points}
    objects_and_labels = {**named("gt_boxes", gt_boxes), **named("gt_labels", gt_labels)}
    native = backend(**arrays, **objects_and_labels, mask=mask, optional=("mask",))
    check_predictions(scores, boxes, points, gt_boxes)
    top_k = check_top_k(top_k)
    kept = top_k
    if one_to_one_top_k is not None:
        kept = check_count("one_to_one_top_k", one_to_one_top_k, at_least=1)
    exponents = [check_not_negative(name, y) for name, y in (("alpha", alpha), ("beta", beta))]
    check_choice("overlap", overlap, OVERLAPS)
    inputs = as_batch(arrays, gt_boxes, gt_labels, mask)
    outputs = native.assign_task_aligned(
        *inputs, top_k, min(kept, top_k), *exponents, overlap == "ciou"
    )
    return TaskAligned(*of_images(outputs, gt_boxes))


def _outputs(scores, *_rest):
    shape = scores.shape[:2]
    return indices(scores, *shape), *(scores.new_empty(shape) for _ in range(3))


register_rules("assign_task_aligned", _outputs)
