"""Checks of the arguments of `fit`, before it writes or trains anything."""

import inspect
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from sightline.optim.schedule import SCHEDULES, Schedule
from sightline.train.log import Log

__all__ = [
    "as_functions",
    "as_schedule",
    "asks_for",
    "binds",
    "check_count",
    "check_instance",
    "check_schedule",
]


def binds(function: Callable[..., Any], count: int) -> bool:
    """Whether a call with `count` positional arguments is valid; True where that is unknown."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # no signature
        return True
    return True


def asks_for(function: Callable[..., Any], name: str, *, beyond: int) -> bool:
    """Whether a function takes `name` as a further argument after `beyond` others.

    A further optional argument counts only where it has this name.
    """
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # no signature
        return False
    return name in parameters or (not binds(function, beyond) and binds(function, beyond + 1))


def check_count(value: Any, name: str) -> None:
    """Raise unless the argument is an integer of at least 1."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be an integer, got {value!r}") from None
    if count < 1:
        raise ValueError(f"`{name}` must be >= 1, got {value}")


def check_instance(value: Any, name: str, method: str, example: str) -> None:
    """Raise TypeError for a class, or for an object without the method that `fit` calls."""
    if isinstance(value, type):
        raise TypeError(f"`{name}` must be an instance such as {example}, got {value.__name__}")
    if not hasattr(value, method):
        raise TypeError(f"`{name}` must be such as {example}, got {type(value).__name__}")


def as_functions(
    functions: Callable[..., None] | Sequence[Callable[..., None]], name: str
) -> Sequence[Callable[..., None]]:
    """One function or several, as a list."""
    if callable(functions):
        return (functions,)
    functions = tuple(functions) if isinstance(functions, Iterable) else (functions,)
    for function in functions:
        if not callable(function):
            raise TypeError(f"`{name}` must hold functions, got {type(function).__name__}")
    return functions


def as_schedule(schedule: Schedule | LRScheduler | None, optimizer: Optimizer) -> Schedule | None:
    """The schedule for `optimizer`; a plain torch scheduler is stepped once per epoch.

    Raises:
        TypeError: neither a `Schedule` nor a torch scheduler.
        ValueError: it belongs to another optimizer.
    """
    if schedule is None:
        return None
    if isinstance(schedule, LRScheduler):
        schedule = Schedule(schedule, every="epoch")
    if not isinstance(schedule, Schedule):
        named = isinstance(schedule, str) and schedule in SCHEDULES
        example = (
            f"make_schedule(optimizer, {schedule!r}, epochs=..., steps_per_epoch=...)"
            if named
            else "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)"
        )
        raise TypeError(
            "`schedule` must be a Schedule of sightline.train or a scheduler of "
            f"torch.optim.lr_scheduler, such as {example}, got {type(schedule).__name__}"
        )
    for scheduler in (schedule.scheduler, schedule.warmup):
        if getattr(scheduler, "optimizer", optimizer) is not optimizer:
            raise ValueError(
                f"`schedule` changes another optimizer than `optimizer`: create its "
                f"{type(scheduler).__name__} with the same one"
            )
    return schedule


def check_schedule(schedule: Schedule, *, epochs: int, monitor: str, mode: str, log: Log) -> None:
    """Warn of a schedule made for steps that is stepped once per epoch.

    Raises:
        ValueError: its mode is opposite to the direction of the monitored column.
    """
    scheduler = schedule.scheduler
    steps = scheduler.total_steps if isinstance(scheduler, OneCycleLR) else 0
    if schedule.every == "epoch" and steps > epochs:
        log.warn(
            f"OneCycleLR has {steps} steps and moves once in each of {epochs} epochs: for one move "
            "after every batch give Schedule(scheduler, every='step')"
        )
    if isinstance(scheduler, ReduceLROnPlateau) and scheduler.mode != mode:
        better = "larger" if mode == "max" else "smaller"
        raise ValueError(
            f"ReduceLROnPlateau has mode={scheduler.mode!r} and is given {monitor}, which is "
            f"better {better}: make it with mode={mode!r}, or give another `monitor`"
        )
