"""Checks of a model's targets, so that a bad label gives a clear error.

On a GPU an out-of-range label would otherwise appear as a device-side assertion in a kernel. Each
check reads the labels once, so it costs one synchronisation per batch. Within `torch.compile`
shapes are checked while tracing, and values by an assertion in the graph.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_SUM_TOLERANCE = 1e-2  # as of probabilities in bfloat16


def check_images(images: Tensor, channels: int) -> None:
    """Raise ValueError unless `images` is a float tensor `[B, channels, H, W]`."""
    if not isinstance(images, Tensor):
        raise TypeError(f"`images` must be a tensor [B, C, H, W], got {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(
            f"`images` must have shape [B, {channels}, H, W], got {list(images.shape)}; "
            "for another number of channels build the model with in_channels="
        )
    if not images.is_floating_point():
        raise TypeError(f"`images` must be floating point (preprocessed), got {images.dtype}")


def _field(targets: Sequence[dict[str, Tensor]], index: int, name: str) -> Tensor:
    target = targets[index]
    if name not in target:
        raise ValueError(f"`targets[{index}]` has no {name!r}; it has {sorted(target)}")
    return target[name]


def _assert_in_graph(bad: Tensor, need: str) -> None:
    """Let a compiled graph, where Python cannot read values, raise RuntimeError when it runs.

    The error cannot name the row, and on a GPU there is no synchronisation.
    """
    text = f"`targets` must have {need}; without torch.compile the error names the row"
    torch._assert_async(~bad.any(), text)


def _check_count(targets: Sequence[dict[str, Tensor]], batch: int) -> None:
    if isinstance(targets, dict) or not isinstance(targets, Sequence):
        raise TypeError(
            f"`targets` must be a list of one dict per image, got {type(targets).__name__}"
        )
    if len(targets) != batch:
        raise ValueError(f"`targets` must have one dict per image: {batch}, got {len(targets)}")


def class_targets(targets: Tensor, batch: int, num_classes: int, device: torch.device) -> Tensor:
    """Return labels `[batch]` as int64, or probabilities `[batch, num_classes]` as float32.

    Raises TypeError for anything but a tensor, and ValueError for a wrong shape, labels that are
    not integers, a label outside 0..num_classes - 1, or probabilities that are negative or whose
    sum is not 1; the message names the row.
    """
    if not isinstance(targets, Tensor):
        raise TypeError(
            f"`targets` must be a tensor of one label per image, int64 [{batch}], "
            f"got {type(targets).__name__}"
        )
    if targets.is_floating_point() and targets.shape == (batch, num_classes):
        return _class_probabilities(targets, device)
    if targets.shape != (batch,) or targets.is_floating_point():
        raise ValueError(
            f"`targets` must be integers of shape [{batch}], or probabilities of shape "
            f"{[batch, num_classes]}, one label per image, "
            f"got {targets.dtype} of shape {list(targets.shape)}"
        )
    labels = targets.to(device, torch.int64)
    bad = (labels < 0) | (labels >= num_classes)
    if torch.compiler.is_compiling():
        _assert_in_graph(bad, f"each label in 0..{num_classes - 1}")
    elif bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"`targets[{row}]` must be in 0..{num_classes - 1} for {num_classes} classes, "
            f"got {int(labels[row])}"
        )
    return labels


def _class_probabilities(targets: Tensor, device: torch.device) -> Tensor:
    probabilities = targets.to(device, torch.float32)
    sums = probabilities.sum(1)
    bad = ~((probabilities.amin(1) >= 0) & ((sums - 1).abs() <= _SUM_TOLERANCE))  # NaN, too
    if torch.compiler.is_compiling():
        _assert_in_graph(bad, "probabilities of 0 or more, whose sum is 1, in each row")
    elif bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"`targets[{row}]` must hold probabilities of 0 or more, whose sum is 1, "
            f"got {probabilities[row].tolist()}"
        )
    return probabilities


def object_targets(
    targets: Sequence[dict[str, Tensor]], batch: int, num_classes: int, device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """Return boxes (float32 `[N_i, 4]`) and labels (int64 `[N_i]`) of each image, on `device`.

    An image may have no objects. Raises ValueError where shapes differ, a label is outside
    0..num_classes - 1, or a box is inverted or not finite; the message names image and row.
    """
    _check_count(targets, batch)
    boxes, labels = [], []
    for i in range(batch):
        box, label = _field(targets, i, "boxes"), _field(targets, i, "labels")
        if box.ndim != 2 or box.shape[1] != 4:
            raise ValueError(
                f"`targets[{i}]['boxes']` must have shape [N, 4], got {list(box.shape)}"
            )
        if label.shape != box.shape[:1] or label.is_floating_point():
            raise ValueError(
                f"`targets[{i}]['labels']` must be integers of shape [{len(box)}], one per box, "
                f"got {label.dtype} of shape {list(label.shape)}"
            )
        boxes.append(box.to(device, torch.float32))
        labels.append(label.to(device, torch.int64))
    all_boxes, all_labels = torch.cat(boxes), torch.cat(labels)
    bad_label = (all_labels < 0) | (all_labels >= num_classes)
    bad_box = ~all_boxes.isfinite().all(1) | (all_boxes[:, 2:] < all_boxes[:, :2]).any(1)
    bad = bad_label | bad_box
    if torch.compiler.is_compiling():
        need = f"'labels' in 0..{num_classes - 1}, and finite 'boxes' with x1 <= x2 and y1 <= y2"
        _assert_in_graph(bad, need)
    elif bad.any():
        first = int(bad.nonzero()[0])
        image, row = 0, first
        while row >= len(boxes[image]):
            row -= len(boxes[image])
            image += 1
        if bad_label[first]:
            raise ValueError(
                f"`targets[{image}]['labels'][{row}]` must be in 0..{num_classes - 1} for "
                f"{num_classes} classes, got {int(labels[image][row])}"
            )
        raise ValueError(
            f"`targets[{image}]['boxes'][{row}]` must be finite xyxy with x1 <= x2 and y1 <= y2, "
            f"got {boxes[image][row].tolist()}"
        )
    return boxes, labels
