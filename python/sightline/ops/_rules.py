"""Registers the torch rules of ops: shapes without data, autocast, vmap.

Each op registers its rules once, in the file of its function. Ops with a gradient have a file
`_<op>_torch.py` for that, which imports torch; without torch the functions here do nothing.
"""

from collections.abc import Callable
from typing import Any

from .arguments import has_torch_ops, torch

_AUTOCAST_DEVICES = ("cpu", "cuda")


def register_rules(name: str, outputs: Callable[..., Any]) -> None:
    """Register the rules of an op without a gradient; `outputs` is its fake kernel."""
    register_fake(name, outputs)
    register_float32(name)


def register_fake(name: str, outputs: Callable[..., Any]) -> None:
    """`outputs` gives outputs of the right shape, dtype and device, without data."""
    if has_torch_ops():
        torch.library.register_fake(f"sightline::{name}", outputs)


def register_float32(name: str) -> None:
    """Under autocast, compute in float32: box geometry in half precision is useless."""
    for device in _AUTOCAST_DEVICES if has_torch_ops() else ():
        torch.library.register_autocast(f"sightline::{name}", device, torch.float32)


def register_vmap_as_batch(name: str) -> None:
    """Under vmap, one call: the mapped dimension is merged with the first one of every tensor."""
    if not has_torch_ops():
        return
    op = getattr(torch.ops.sightline, name)

    def vmap(info, in_dims, *inputs):
        mapped = [
            mapped_first(value, dim, info.batch_size) if isinstance(value, torch.Tensor) else value
            for value, dim in zip(inputs, in_dims, strict=True)
        ]
        sizes = mapped[0].shape[:2]
        result = op(*(v.flatten(0, 1) if isinstance(v, torch.Tensor) else v for v in mapped))
        if isinstance(result, torch.Tensor):
            return result.unflatten(0, sizes), 0
        return tuple(output.unflatten(0, sizes) for output in result), (0,) * len(result)

    torch.library.register_vmap(f"sightline::{name}", vmap)


def mapped_first(tensor: Any, dim: int | None, size: int) -> Any:
    """[size, ...]: with the mapped dimension first, or expanded where there is none."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def indices(like: Any, *shape: int) -> Any:
    """An output of a fake kernel: int64 of this shape on the device of `like`."""
    return like.new_empty(shape, dtype=torch.int64)


def some_number() -> Any:
    """A size of an output that depends on the data."""
    return torch.library.get_ctx().new_dynamic_size()
