"""How an op's `_<op>_torch.py` tells torch about it: fake kernel, autograd and autocast."""

from collections.abc import Callable
from typing import Any

import torch

_AUTOCAST_DEVICES = ("cpu", "cuda")


def register_fake(name: str, fake: Callable[..., Any]) -> None:
    """`fake` gives outputs of the right shape, dtype and device, without data."""
    torch.library.register_fake(f"sightline::{name}", fake)


def register_float32(name: str) -> None:
    """Under autocast, half inputs are widened: box geometry in half precision is useless."""
    for device in _AUTOCAST_DEVICES:
        torch.library.register_autocast(f"sightline::{name}", device, torch.float32)


def register_backward(name: str, differentiable: int) -> None:
    """The gradient of op `name` is op `<name>_backward(grad, *inputs)`.

    The first `differentiable` inputs are tensors with gradients, the others numbers without.
    """
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:differentiable])
        ctx.numbers = inputs[differentiable:]

    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        grads = backward_op(grad, *ctx.saved_tensors, *ctx.numbers)
        return (*grads, *(None for _ in ctx.numbers))

    torch.library.register_autograd(f"sightline::{name}", backward, setup_context=setup_context)
