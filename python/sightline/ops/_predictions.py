"""Checks and conversions for the assigners that use predictions."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ._objects import Objects, is_single, named, padded_boxes, padded_labels
from .arguments import as_floats, check_count, check_number, detached, is_tensor, torch

Array = Any  # a torch.Tensor or a numpy.ndarray

MAX_TOP_K = 512


def check_predictions(scores: Array, boxes: Array, points: Array, gt_boxes: Objects) -> None:
    """Raises ValueError unless scores are [B, A, C], boxes [B, A, 4] and points [A, 2].

    Without B where the objects are those of one image.
    """
    single = is_single(gt_boxes)
    lead = "" if single else "B, "
    if len(scores.shape) != (2 if single else 3):
        raise ValueError(
            f"`scores` must have shape [{lead}A, C] with `gt_boxes` of "
            f"{'one image' if single else 'a batch'}, got {list(scores.shape)}"
        )
    if not single and scores.shape[0] != len(gt_boxes):
        raise ValueError(
            f"`scores` must have one element for each of the {len(gt_boxes)} images of "
            f"`gt_boxes`, got {scores.shape[0]}"
        )
    if tuple(boxes.shape) != (*scores.shape[:-1], 4):
        raise ValueError(
            f"`boxes` must have shape {[*scores.shape[:-1], 4]}, one for each anchor of `scores`, "
            f"got {list(boxes.shape)}"
        )
    if tuple(points.shape) != (scores.shape[-2], 2):
        raise ValueError(
            f"`points` must have shape {[scores.shape[-2], 2]}, one for each anchor of `scores`, "
            f"got {list(points.shape)}"
        )


def check_top_k(top_k: int) -> int:
    top_k = check_count("top_k", top_k, at_least=1)
    if top_k > MAX_TOP_K:
        raise ValueError(f"`top_k` must be at most {MAX_TOP_K}, got {top_k}")
    return top_k


def check_not_negative(name: str, value: Any) -> float:
    """A finite number that is not negative, or a ValueError."""
    number = check_number(name, value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"`{name}` must be finite and not negative, got {value}")
    return number


def as_batch(
    arrays: dict[str, Array], gt_boxes: Objects, gt_labels: Objects, mask: Array | None
) -> list[Array]:
    """`arrays` in a common dtype, objects [B, G, 4] and labels [B, G]; B is 1 for one image.

    `arrays` begins with scores and boxes, which have a batch dimension, followed by those without.
    Raises ValueError where the label of an object is not a class.
    """
    arrays = {name: detached(value) for name, value in arrays.items()}
    floats = as_floats(**arrays, **named("gt_boxes", gt_boxes))[: len(arrays)]
    scores, boxes, *of_anchors = floats
    objects = padded_boxes(gt_boxes, mask, scores)
    labels = padded_labels(gt_labels, gt_boxes, scores)
    _check_label_range(labels, objects, scores.shape[-1])
    if is_single(gt_boxes):
        scores, boxes = scores[None], boxes[None]
    return [scores, boxes, *of_anchors, objects, labels]


def of_images(outputs: Iterable[Array], gt_boxes: Objects) -> Iterable[Array]:
    """The results of a batch, without the batch dimension where there is only one image."""
    return (value[0] for value in outputs) if is_single(gt_boxes) else outputs


def _check_label_range(labels: Array, objects: Array, classes: int) -> None:
    """Raises ValueError where the label of an object is not a class.

    On a GPU and in a compiled graph the data are not checked, and such a row is not an object.
    """
    if is_tensor(labels):
        if torch.compiler.is_compiling() or type(labels) is not torch.Tensor:
            return
        if labels.device.type != "cpu":
            return
        wrong = ((labels < 0) | (labels >= classes)) & objects.isfinite().all(-1)
    else:
        wrong = ((labels < 0) | (labels >= classes)) & np.isfinite(objects).all(-1)
    if wrong.any():
        image, row = (
            (int(i) for i in wrong.nonzero()[0]) if is_tensor(labels) else np.argwhere(wrong)[0]
        )
        raise ValueError(
            f"`gt_labels` must lie in [0, {classes}), the classes of `scores`, got "
            f"{int(labels[image, row])} for object {row} of image {image}"
        )
