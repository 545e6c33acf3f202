"""Calls a user's augmentation function in place of `Augment`, and checks what it returns."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.data.augment.clip import clip_boxes

__all__ = ["AugmentFunction", "call_augment"]

# (image uint8 [H, W, C], target) -> the same; see `make_loader`.
AugmentFunction = Callable[[NDArray[np.uint8], dict[str, Any]], tuple[Any, Any]]
_FLAGS = ("iscrowd", "difficult")
_OUTLINES = ("masks", "points", "boxes_rotated")  # in the target where a loader gives them


def call_augment(
    function: AugmentFunction,
    image: NDArray[np.uint8],
    target: dict[str, Any],
    *,
    seed: Sequence[int],
    num_classes: int,
    place: str,
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Call a user's augmentation and check what it returns.

    Args:
        function: receives copies, so that it may write into them.
        image: uint8 [H, W, C].
        target: `boxes` float64 [N, 4] and its columns [N, ...], or `label`.
        seed: integers; while the function runs, the global generators of Python, NumPy and torch
            (on the CPU) are seeded with them, and afterwards they are restored.
        num_classes: upper bound of labels.
        place: the image, for errors.

    Returns:
        The image and a target with the same keys; boxes are clipped to the image, and boxes with
        less than a pixel are dropped.

    Raises:
        TypeError, ValueError: a returned value has the wrong type, shape or range; the message
            names `function`.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    copies = {key: v.copy() if isinstance(v, np.ndarray) else v for key, v in target.items()}
    with _seeded(seed):
        try:
            found = function(image.copy(), copies)
        except Exception as error:
            error.add_note(f"raised by `augment` {name} for {place}")
            raise
    try:
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"must return (image, target), got {_described(found)}")
        return _image(found[0], image.shape), _target(found[1], target, image.shape, num_classes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`augment` {name}, for {place}: {error}") from None


def _image(image: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"the image must be an array of uint8, got {_described(image)}")
    if image.shape != shape:
        raise ValueError(
            f"the image must keep its shape {list(shape)}, which is that of the network's input, "
            f"got {list(image.shape)}"
        )
    return np.ascontiguousarray(image)


def _target(
    found: Any, given: dict[str, Any], shape: tuple[int, ...], num_classes: int
) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise TypeError(f"the target must be a dict, got {_described(found)}")
    if unknown := sorted(set(found) - set(given)):
        raise ValueError(f"the target has new keys {unknown}; it was given {sorted(given)}")
    if "label" in given:
        return {"label": int(_labels([found.get("label")], num_classes, "label")[0])}
    boxes = np.asarray(found.get("boxes"), np.float64)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"'boxes' must be finite numbers [N, 4], got {_described(boxes)}")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        row = int(np.argmax((boxes[:, 2:] < boxes[:, :2]).any(axis=1)))
        raise ValueError(f"'boxes' must have x1 <= x2 and y1 <= y2, got {boxes[row]} in row {row}")
    columns = _columns(found, given, len(boxes), num_classes)
    clipped, stay = clip_boxes(boxes, *shape[:2])
    return {"boxes": clipped, **{name: column[stay] for name, column in columns.items()}}


def _columns(
    found: Mapping[str, Any], given: dict[str, Any], count: int, num_classes: int
) -> dict[str, NDArray[Any]]:
    """What is returned of each of `count` boxes, besides the boxes."""
    columns: dict[str, NDArray[Any]] = {
        "labels": _labels(found.get("labels"), num_classes, "labels")
    }
    for name in _FLAGS:
        if name not in found and given[name].any():
            raise ValueError(f"the target lacks {name!r}, which was set for some of its boxes")
        columns[name] = np.asarray(found.get(name, np.zeros(count)), bool)
    for name in _OUTLINES:
        if name in given:
            if name not in found:
                raise ValueError(f"the target lacks {name!r}, which must change with its boxes")
            columns[name] = np.asarray(found[name], given[name].dtype)
    for name, column in columns.items():
        expected = (count, *given[name].shape[1:])
        if column.shape != expected:
            raise ValueError(
                f"{name!r} must have shape {list(expected)} as 'boxes', got {list(column.shape)}"
            )
    return columns


def _labels(values: Any, num_classes: int, name: str) -> NDArray[np.int64]:
    labels = np.asarray(values)
    labels = labels.astype(np.int64) if labels.size == 0 else labels
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name!r} must be integers, got {_described(values)}")
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError(
            f"{name!r} must be in 0 ... {num_classes - 1}, got {quoted(labels.tolist())}"
        )
    return labels.astype(np.int64)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


@contextlib.contextmanager
def _seeded(seed: Sequence[int]) -> Iterator[None]:
    """Seed the global generators of the CPU temporarily."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first, second, third = (int(n) for n in np.random.SeedSequence(list(seed)).generate_state(3))
    random.seed(first)
    np.random.seed(second)  # noqa: NPY002
    torch.default_generator.manual_seed(third)  # torch.manual_seed would seed the GPUs, too
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
