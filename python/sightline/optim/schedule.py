"""Learning-rate schedules: each gives a factor of the base rate for a point of the run."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

__all__ = ["SCHEDULES", "Schedule", "make_schedule"]


def _constant(epoch: float) -> float:
    return 1.0


def _step(epoch: float, *, step_epochs: int, gamma: float) -> float:
    return gamma ** (int(epoch) // step_epochs)


def _multi_step(epoch: float, *, milestones: Sequence[float], gamma: float) -> float:
    return gamma ** sum(epoch >= milestone for milestone in milestones)


def _exponential(epoch: float, *, gamma: float) -> float:
    return gamma**epoch


def _cosine(epoch: float, *, epochs: float, final_factor: float) -> float:
    swing = 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))
    return final_factor + (1 - final_factor) * swing


def _one_cycle(
    epoch: float,
    *,
    epochs: float,
    peak: float,
    initial_factor: float,
    final_factor: float,
) -> float:
    position = min(epoch / epochs, 1.0)
    if position < peak:
        low, high, part = initial_factor, 1.0, position / peak
    else:
        low, high, part = 1.0, final_factor, (position - peak) / (1 - peak)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * part))


SCHEDULES = ("constant", "step", "multi-step", "exponential", "cosine", "one-cycle", "plateau")


class Schedule:
    """A torch scheduler, and whether it is stepped after every optimizer step or every epoch.

    `fit` calls `step` after each optimizer step and `end_epoch` after each epoch.

    Args:
        scheduler: any of `torch.optim.lr_scheduler`, `ReduceLROnPlateau` included.
        every: "step" or "epoch".
        warmup: a second scheduler that is used alone for the first `warmup_steps` steps;
            `ReduceLROnPlateau` needs it, the others include their own warm-up.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        *,
        every: str = "epoch",
        warmup: LRScheduler | None = None,
        warmup_steps: int = 0,
    ) -> None:
        if every not in ("step", "epoch"):
            raise ValueError(f"`every` must be 'step' or 'epoch', got {every!r}")
        self.scheduler, self.every = scheduler, every
        self.warmup, self.warmup_steps, self.steps = warmup, warmup_steps, 0

    @property
    def warming(self) -> bool:
        return self.steps < self.warmup_steps

    def step(self) -> None:
        """Call this after each optimizer step."""
        if self.warming and self.warmup is not None:
            self.warmup.step()
        elif self.every == "step":
            self.scheduler.step()
        self.steps += 1

    def end_epoch(self, monitored: float) -> None:
        """Call this after each epoch; a plateau schedule uses the value `monitored`."""
        if self.every != "epoch" or self.warming:
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(monitored)
        else:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        warmup = self.warmup.state_dict() if self.warmup else None
        return {"steps": self.steps, "scheduler": self.scheduler.state_dict(), "warmup": warmup}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.scheduler.load_state_dict(state["scheduler"])
        if self.warmup is not None:
            self.warmup.load_state_dict(state["warmup"])


def make_schedule(
    optimizer: Optimizer,
    name: str,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup_epochs: float = 0.0,
    gamma: float = 0.1,
    step_epochs: int = 30,
    milestones: Sequence[float] = (),
    final_factor: float = 0.0,
    initial_factor: float = 0.04,
    peak: float = 0.3,
    patience: int = 5,
    mode: Literal["min", "max"] = "min",
) -> Schedule:
    """A schedule by name; the optimizer's own learning rate is the largest rate.

    The rate changes after every step for "exponential", "cosine", "one-cycle" and warm-up, and at
    the end of epochs for "step", "multi-step" and "plateau".

    Args:
        optimizer: its `lr` is the base rate, which is multiplied by the factors.
        name: one of `SCHEDULES`.
        epochs, steps_per_epoch: length of the run, both >= 1.
        warmup_epochs: the rate first grows linearly from near 0 over this many epochs.
        gamma: factor of one decrease ("step", "multi-step", "plateau") or of one epoch
            ("exponential").
        step_epochs: epochs between the decreases of "step".
        milestones: epochs after which "multi-step" decreases the rate.
        final_factor: factor at the end of "cosine" and "one-cycle".
        initial_factor, peak: factor at the start of "one-cycle", and the share of the run in which
            it rises.
        patience, mode: "plateau" decreases the rate after `patience` epochs without a better
            monitored value.

    Raises:
        ValueError: an unknown name or a value outside its range.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise ValueError(
            f"`epochs` and `steps_per_epoch` must be >= 1, got {epochs} and {steps_per_epoch}"
        )
    if not 0 <= warmup_epochs < epochs and warmup_epochs > 0:
        raise ValueError(f"`warmup_epochs` must be in [0, {epochs}), got {warmup_epochs}")
    curves: dict[str, Callable[[float], float]] = {
        "constant": _constant,
        "step": partial(_step, step_epochs=step_epochs, gamma=gamma),
        "multi-step": partial(_multi_step, milestones=tuple(milestones), gamma=gamma),
        "exponential": partial(_exponential, gamma=gamma),
        "cosine": partial(_cosine, epochs=epochs, final_factor=final_factor),
        "one-cycle": partial(
            _one_cycle,
            epochs=epochs,
            peak=peak,
            initial_factor=initial_factor,
            final_factor=final_factor,
        ),
        "plateau": _constant,
    }
    if name not in curves:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}")
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / (warmup_steps + 1))
        return warm * curves[name](step / steps_per_epoch)

    moving = LambdaLR(optimizer, factor)
    if name != "plateau":
        return Schedule(moving, every="step")
    plateau = ReduceLROnPlateau(optimizer, mode=mode, factor=gamma, patience=patience)
    return Schedule(plateau, every="epoch", warmup=moving, warmup_steps=warmup_steps)
