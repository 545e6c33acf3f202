"""How an op's `_<op>_torch.py` tells torch about it: fake kernel and autocast."""

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
