"""An exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import nn

from sightline.nn.wrappers import load_plain_state, plain_state, unwrapped

__all__ = ["EMA"]


class EMA:
    """A moving average of the weights: `average = d * average + (1 - d) * weight`.

    The decay d warms up as `min(decay, (1 + n) / (10 + n))` after n steps, so that the average of a
    short run does not still contain the initial weights.

    Floating-point buffers (batch-norm statistics) are averaged like the weights; integer buffers
    are copied.

    Args:
        model: the model to average; it is copied, without the wrappers of `torch.compile` and
            `DistributedDataParallel`.
        decay: limit of d, in [0, 1).

    Raises:
        ValueError: `decay` outside [0, 1).

    Source: Tarvainen and Valpola, "Mean teachers" (2017); the warm-up is TensorFlow's
    `ExponentialMovingAverage(num_updates=...)`.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1), got {decay}")
        self.decay = decay
        self.steps = 0
        self.model = copy.deepcopy(unwrapped(model)).eval().requires_grad_(False)

    @torch.no_grad()
    def step(self, model: nn.Module) -> None:
        """Update the average with the weights of `model`, after one optimizer step.

        Raises:
            ValueError: `model` has other weights than the average.
        """
        try:
            self._step(model)
        except (KeyError, RuntimeError) as error:
            current = plain_state(model)
            for name, average in plain_state(self.model).items():
                if name not in current or current[name].shape != average.shape:
                    raise ValueError(
                        f"the EMA averages another model, of which {name!r} "
                        f"{list(average.shape)} does not fit: make it by EMA(model) from the same "
                        "model"
                    ) from error
            raise

    def _step(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averages, values = [], []
        current = plain_state(model)
        for name, average in plain_state(self.model).items():
            if average.dtype.is_floating_point:
                averages.append(average)
                values.append(current[name].to(average.dtype))
            else:
                average.copy_(current[name])
        torch._foreach_lerp_(averages, values, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "model": plain_state(self.model)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        load_plain_state(self.model, state["model"])
