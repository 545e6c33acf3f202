"""Mixed precision on GPUs; plain float32 elsewhere."""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Precision"]


class Precision:
    """The computing type of a run, with its backward pass and optimizer step.

    Args:
        amp: "auto", "bf16", "fp16" or "off". "auto" is bfloat16 on a GPU that supports it, float16
            with loss scaling on older GPUs, and off on the CPU.
        device: the device of the model.

    Raises:
        ValueError: an unknown `amp`, or float16 on the CPU.
    """

    def __init__(self, amp: str = "auto", device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        if amp not in ("auto", "bf16", "fp16", "off"):
            raise ValueError(f"`amp` must be 'auto', 'bf16', 'fp16' or 'off', got {amp!r}")
        if amp == "auto":
            amp = "off"
            if device.type == "cuda":
                amp = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        if amp == "fp16" and device.type != "cuda":
            raise ValueError("amp='fp16' needs a GPU; use amp='bf16' or amp='off' on the CPU")
        self.name, self.device = amp, device
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(amp)
        self.scaler = torch.amp.GradScaler(device.type) if amp == "fp16" else None

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def step(
        self, loss: Tensor, optimizer: Optimizer, model: nn.Module, clip_norm: float | None
    ) -> bool:
        """Compute the gradients of `loss`, clip them to an L2 norm of `clip_norm`, and step.

        Returns:
            Whether the weights were updated: not where float16 gradients overflowed; the loss scale
            is then lowered.
        """
        optimizer.zero_grad(set_to_none=True)
        self.backward(loss)
        return self.update(optimizer, model, clip_norm)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those that are there.

        Raises:
            ValueError: the loss has no gradient.
        """
        if not loss.requires_grad:
            raise ValueError(
                "the loss depends on no parameter that is trained: it was computed from detached "
                "or rounded outputs, or requires_grad is False for all parameters"
            )
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def update(self, optimizer: Optimizer, model: nn.Module, clip_norm: float | None) -> bool:
        """One optimizer step by the gradients that are there; see `step`."""
        if clip_norm is not None:
            if self.scaler:
                self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        if not self.scaler:
            optimizer.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= scale

    def state_dict(self) -> dict[str, Any]:
        return {"scaler": self.scaler.state_dict() if self.scaler else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
