"""Checks and conversions of arguments that all public ops share."""

from typing import Any

import numpy as np

from sightline import _numpy

try:
    import torch
except (ImportError, OSError):  # not installed, or its libraries do not load: arrays only
    torch = None  # type: ignore[assignment]

_torch_ops: Any = None
_torch_missing: str = ""
_devices: tuple[str, ...] = ("cpu",)
if torch is not None:
    try:
        from sightline import _load

        _torch_ops = _load.ops
        _devices = ("cpu", "cuda") if _load.cuda_architectures else ("cpu",)
    except ImportError as error:
        _torch_missing = str(error)


MAX_COUNT = 2**63 - 1  # the largest count of the native code, which is int64
_FLOAT32 = {torch.float32} if torch is not None else set()


def has_torch_ops() -> bool:
    """Whether the ops take tensors: torch is installed and the torch ops were built."""
    return _torch_ops is not None


def is_tensor(value: Any) -> bool:
    return torch is not None and isinstance(value, torch.Tensor)


def backend(*, optional: tuple[str, ...] = (), **arguments: Any) -> Any:
    """The native functions for these arguments: `torch.ops.sightline` or `sightline._numpy`.

    Raises TypeError for a mixture of tensors and arrays or any other type, ValueError for tensors
    on several devices or on a device without kernels. The arguments named in `optional` may be
    None; the first argument may not be one of them.
    """
    given = iter(arguments.items())
    first_name, first = next(given)
    if is_tensor(first):
        device = first.device
        for name, value in given:
            if value is None and name in optional:
                continue
            if not is_tensor(value):
                raise TypeError(
                    f"`{name}` must be a torch.Tensor as `{first_name}` is, got {_kind(value)}"
                    + (
                        ""
                        if value is None
                        else ": convert one of them, tensors and arrays do not mix"
                    )
                )
            if value.device != device:
                raise ValueError(
                    f"`{name}` is on device {value.device} and `{first_name}` on {device}: "
                    "move them to one device"
                )
        return _backend_of_tensors(first_name, first)
    for name, value in arguments.items():
        if value is None and name in optional:
            continue
        if is_tensor(value):
            raise TypeError(
                f"`{name}` is a torch.Tensor and `{first_name}` is {_kind(first)}: "
                "convert one of them, tensors and arrays do not mix"
            )
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"`{name}` must be a torch.Tensor or a numpy.ndarray, got {_kind(value)}"
            )
    return _numpy


def _backend_of_tensors(name: str, tensor: Any) -> Any:
    if _torch_ops is None:
        raise ImportError(f"`{name}` is a torch.Tensor, but {_torch_missing}")
    device = tensor.device.type
    if device not in _devices and device != "meta":
        have = " and ".join(_devices)
        raise ValueError(
            f"`{name}` is on device {tensor.device}; this build has kernels for {have}"
            + (
                ""
                if device != "cuda"
                else ": rebuild with SIGHTLINE_CUDA=ON where nvcc is installed"
            )
        )
    return _torch_ops


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else kind.__module__.split(".")[0] + "."
    return f"{module}{kind.__qualname__}"


def check_boxes(name: str, boxes: Any) -> None:
    """Raises ValueError unless `boxes` has shape [N, 4]."""
    if len(boxes.shape) != 2 or boxes.shape[1] != 4:
        raise ValueError(f"`{name}` must have shape [N, 4], got {list(boxes.shape)}")


def check_length(name: str, value: Any, length: int, of: str) -> None:
    """Raises ValueError unless `value` has shape [length], the length of argument `of`."""
    if len(value.shape) != 1 or value.shape[0] != length:
        raise ValueError(
            f"`{name}` must have shape [{length}], one for each of `{of}`, got {list(value.shape)}"
        )


def check_out(out: Any, shape: tuple[int, ...], boxes1: Any, boxes2: Any) -> None:
    """Raises ValueError unless a result of `shape` can be written to `out`.

    The native code, which knows the addresses, checks that it does not overlap an input in memory.
    """
    contiguous = out.flags.c_contiguous if hasattr(out, "flags") else out.is_contiguous()
    if tuple(out.shape) != shape or out.dtype != boxes1.dtype or not contiguous:
        raise ValueError(
            f"`out` must be a contiguous {boxes1.dtype} of shape {list(shape)}, "
            f"got {'' if contiguous else 'non-contiguous '}{out.dtype} of shape {list(out.shape)}"
        )
    if hasattr(out, "flags") and not out.flags.writeable:
        raise ValueError("`out` must be writeable, got a read-only array: give it a copy")
    if is_tensor(out):
        from .derivatives_torch import has_tangent

        values = (out, boxes1, boxes2)
        if any(value.requires_grad for value in values) or has_tangent(values):
            raise ValueError("`out` is not differentiable: leave it out, or detach the boxes")


def check_number(name: str, value: Any) -> float:
    """`value` as a float; raises TypeError unless it is a real number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"`{name}` must be a number, got {_kind(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"`{name}` must be a number that float64 can hold, got {value}") from None


def check_numbers(name: str, values: Any) -> list[float]:
    """`values` as a list of floats; raises TypeError unless it is a sequence of real numbers."""
    return [check_number(f"{name}[{i}]", value) for i, value in enumerate(sequence(name, values))]


def sequence(name: str, values: Any, of: str = "numbers") -> list[Any]:
    """`values` as a list; raises TypeError unless it is a sequence or an array."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise TypeError(f"`{name}` must be a sequence of {of}, got {_kind(values)}")
    return list(values)


def check_fraction(name: str, value: Any) -> float:
    """`value` as a float; raises unless it is a number from 0 to 1."""
    number = check_number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"`{name}` must lie in [0, 1], got {value}")
    return number


def check_count(name: str, value: Any, *, at_least: int) -> int:
    """`value` as an int; raises unless it is an integer of `at_least` or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be an integer, got {_kind(value)}")
    if value < at_least:
        raise ValueError(f"`{name}` must be at least {at_least}, got {value}")
    if value > MAX_COUNT:
        raise ValueError(f"`{name}` must be below 2^63, got {value}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_mask(name: str, mask: Any) -> None:
    """Raises TypeError unless `mask` holds bool."""
    if str(mask.dtype).removeprefix("torch.") != "bool":
        raise TypeError(f"`{name}` must hold bool, got dtype {mask.dtype}")


def as_floats(**arguments: Any) -> list[Any]:
    """The arguments in the computing type of geometry, contiguous where they are arrays.

    That is float64 if one of them is float64, otherwise float32: float16, bfloat16 and integers are
    widened. Raises TypeError for booleans, complex numbers and objects.
    """
    values = list(arguments.values())
    if is_tensor(values[0]):
        dtypes = {value.dtype for value in values}
        if dtypes == _FLOAT32:  # the usual case; the rest would cost more than a small op
            return values
        for name, value in arguments.items():
            if value.dtype == torch.bool or value.dtype.is_complex:
                raise TypeError(f"`{name}` must hold real numbers, got dtype {value.dtype}")
        dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        return [value.to(dtype) for value in values]
    for name, value in arguments.items():
        if value.dtype.kind not in "fiu":
            raise TypeError(f"`{name}` must hold real numbers, got dtype {value.dtype}")
    wide = any(value.dtype.kind == "f" and value.dtype.itemsize > 4 for value in values)
    return [np.ascontiguousarray(value, np.float64 if wide else np.float32) for value in values]


def joined(values: list[Any]) -> Any:
    """Concatenates arrays [N_i, ...] of the same kind and dtype."""
    if len(values) == 1:
        return values[0]
    return torch.cat(values) if is_tensor(values[0]) else np.concatenate(values)


def detached(value: Any) -> Any:
    """A detached tensor, for ops without a gradient; anything else unchanged."""
    return value.detach() if is_tensor(value) else value


def as_indices(**arguments: Any) -> list[Any]:
    """The arguments as int64, contiguous where they are arrays; TypeError unless integers."""
    if is_tensor(next(iter(arguments.values()))):
        for name, value in arguments.items():
            if value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool:
                raise TypeError(f"`{name}` must hold integers, got dtype {value.dtype}")
        return [value.to(torch.int64) for value in arguments.values()]
    for name, value in arguments.items():
        if value.dtype.kind not in "iu":
            raise TypeError(f"`{name}` must hold integers, got dtype {value.dtype}")
    return [np.ascontiguousarray(value, np.int64) for value in arguments.values()]
