"""Converts the objects of a batch of images to the one form that the assignment kernels take.

That is boxes [B, G, 4], in which a row that is not finite is not an object: lists are padded with
NaN, and masked rows become NaN. The sizes do not depend on the data, so that nothing waits for a
GPU.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arguments import as_floats, as_indices, check_mask, is_tensor, sequence, torch

Array = Any  # a torch.Tensor or a numpy.ndarray
Objects = Array | Sequence[Array]  # [G, 4], a list of B such, or [B, G, 4]


def _is_array(value: Any) -> bool:
    return is_tensor(value) or isinstance(value, np.ndarray)


def named(name: str, value: Objects) -> dict[str, Array]:
    """The arrays of a value, by their names in errors: `gt_boxes`, or `gt_boxes[0]` and so on."""
    if _is_array(value):
        return {name: value}
    return {f"{name}[{i}]": part for i, part in enumerate(sequence(name, value, "arrays"))}


def is_single(gt_boxes: Objects) -> bool:
    """Whether these are the objects [G, 4] of one image, without a batch dimension."""
    return _is_array(gt_boxes) and len(gt_boxes.shape) == 2  # type: ignore[union-attr]


def padded_boxes(
    gt_boxes: Objects, mask: Array | None, like: Array, argument: str = "gt_boxes"
) -> Array:
    """[B, G, 4] in the dtype of `like`; B is 1 for one image. `argument` is its name in errors.

    Raises ValueError for a wrong shape of boxes or mask, or a mask with a list or a single image.
    """
    parts = named(argument, gt_boxes)
    joined = _is_array(gt_boxes)
    for name, boxes in parts.items():
        if boxes.shape[-1:] != (4,) or len(boxes.shape) not in ((2, 3) if joined else (2,)):
            need = "[G, 4], [B, G, 4] or be a list of [G, 4]" if joined else "[G, 4]"
            raise ValueError(f"`{name}` must have shape {need}, got {list(boxes.shape)}")
    boxes = _pad(as_floats(like=like, **parts)[1:], like, (4,), float("nan"))
    boxes = boxes if not joined or is_single(gt_boxes) else boxes[0]
    if mask is None:
        return boxes
    if not joined or is_single(gt_boxes) or tuple(mask.shape) != tuple(boxes.shape[:2]):
        raise ValueError(
            "`mask` says which rows of `gt_boxes` [B, G, 4] are objects and has shape [B, G], got "
            f"{list(mask.shape)}" + ("" if joined else " with a list, which needs no mask")
        )
    check_mask("mask", mask)
    if is_tensor(boxes):
        return boxes.masked_fill(~mask[..., None], float("nan"))
    return np.where(mask[..., None], boxes, boxes.dtype.type(np.nan))


def padded_labels(gt_labels: Objects, gt_boxes: Objects, like: Array) -> Array:
    """Labels int64 [B, G] that go with `padded_boxes`, -1 where padded.

    Raises ValueError where the labels do not fit the boxes.
    """
    parts, boxes = named("gt_labels", gt_labels), list(named("gt_boxes", gt_boxes).values())
    if len(parts) != len(boxes):
        raise ValueError(
            f"`gt_labels` must have one array for each of the {len(boxes)} of `gt_boxes`, "
            f"got {len(parts)}"
        )
    for (name, labels), of in zip(parts.items(), boxes):
        if tuple(labels.shape) != tuple(of.shape[:-1]):
            raise ValueError(
                f"`{name}` must have shape {list(of.shape[:-1])}, one for each object, "
                f"got {list(labels.shape)}"
            )
    joined = _is_array(gt_boxes)
    labels = _pad(as_indices(**parts) if parts else [], like, (), -1)
    return labels if not joined or is_single(gt_boxes) else labels[0]


def _pad(parts: list[Array], like: Array, tail: tuple[int, ...], value: float) -> Array:
    """[B, G, *tail]: the parts [G_b, *tail], each padded to the longest with `value`."""
    if is_tensor(like):
        if not parts:
            dtype = like.dtype if tail else torch.int64
            return like.new_empty((0, 0, *tail), dtype=dtype)
        if len(parts) == 1:
            return parts[0][None]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)
    length = max((len(part) for part in parts), default=0)
    dtype = like.dtype if tail else np.int64
    if len(parts) == 1:
        return parts[0][None]
    padded = np.full((len(parts), length, *tail), value, dtype)
    for row, part in zip(padded, parts):
        row[: len(part)] = part
    return padded
