"""Converts what callers pass (lists, any arrays, tensors) to NumPy arrays."""

from typing import Any

import numpy as np


class DeviceTensorError(Exception):
    """A tensor is not in host memory."""


def as_array(values: Any) -> np.ndarray:
    """Any array, CPU tensor or nested list as an array of numbers in native byte order.

    Memory is shared where possible.

    Raises:
        TypeError, ValueError: `values` is not an array of numbers.
        DeviceTensorError: a tensor is on another device.
    """
    if not isinstance(values, np.ndarray):
        values = tensor_as_array(values) if hasattr(values, "detach") else np.asarray(values)
    dtype = values.dtype
    if dtype.kind == "O":  # integers of more than 64 bits, or no numbers at all
        return values.astype(np.float64)
    if dtype.kind not in "biuf":
        raise TypeError(f"need numbers, got dtype {dtype}")
    if dtype.itemsize > 8:
        return values.astype(np.float64)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def is_on_host(tensor: Any) -> bool:
    return tensor.device.type == "cpu"


def tensor_as_array(tensor: Any) -> np.ndarray:
    """A CPU tensor as an array that shares its memory; bfloat16, which NumPy lacks, as float32."""
    if not is_on_host(tensor):
        raise DeviceTensorError(str(tensor.device))
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return tensor.resolve_neg().numpy()


def on_host(values: Any) -> np.ndarray:
    """A tensor on any device, or a list, as an array."""
    if hasattr(values, "detach"):
        return tensor_as_array(values.cpu())
    return np.asarray(values)


def read_numbers(values: Any, what: str) -> np.ndarray:
    """`values` as an array of numbers; the TypeError or ValueError otherwise names `what`."""
    try:
        return as_array(on_host(values))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what} must be an array of numbers: {error}") from error


def as_labels(values: Any, name: str) -> np.ndarray:
    """Integer labels [N] as int64; TypeError for other types, ValueError for other shapes."""
    try:
        labels = on_host(values)
    except ValueError as error:  # rows of several lengths
        raise TypeError(f"{name} must be integers: {error}") from error
    if labels.size == 0:
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape [N], got {list(labels.shape)}")
    return labels.astype(np.int64)


def check_label_range(labels: np.ndarray, num_classes: int | None, name: str) -> None:
    """ValueError that names the first label outside [0, num_classes)."""
    bad = labels < 0
    if num_classes is not None:
        bad |= labels >= num_classes
    if bad.any():
        row = int(np.argmax(bad))
        limit = "at least 0" if num_classes is None else f"in 0 ... {num_classes - 1}"
        hint = ""
        if labels[row] == num_classes and not (labels == 0).any():
            hint = (
                "; labels count from 0: where yours count from 1, add a background class in front"
            )
        raise ValueError(f"{name} must be {limit}, got {labels[row]} in row {row}{hint}")
