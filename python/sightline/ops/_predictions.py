"""Checks shared by the assigners that look at predictions: shapes, and labels within range."""

from typing import Any

import numpy as np

from ._arguments import is_tensor, torch
from ._objects import Objects, is_single

Array = Any  # a torch.Tensor or a numpy.ndarray


def check_predictions(scores: Array, boxes: Array, points: Array, gt_boxes: Objects) -> None:
    """Raises ValueError unless scores are [B, A, C], boxes [B, A, 4] and points [A, 2].

    B is missing where the objects are those of one image.
    """
    single = is_single(gt_boxes)
    lead = "" if single else "B, "
    if len(scores.shape) != (2 if single else 3):
        raise ValueError(
            f"`scores` must have shape [{lead}A, C] beside `gt_boxes` of "
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


def check_label_range(labels: Array, objects: Array, classes: int) -> None:
    """Raises ValueError where an object's label is no class; says nothing on a GPU or in a graph.

    There the data are not looked at, and such a row is no object.
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
