"""What `fit` says of arguments of another kind, before it writes or trains anything."""

import inspect
import operator
from collections.abc import Callable, Sequence
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
    "check_epochs",
    "check_instance",
    "check_schedule",
]


def binds(function: Callable[..., Any], count: int) -> bool:
    """Whether a call with `count` positional arguments fits; True where nothing tells."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # no signature to look at
        return True
    return True


def asks_for(function: Callable[..., Any], name: str, *, beyond: int) -> bool:
    """Whether a function takes `name` as one more argument after `beyond` others.

    A further argument that is optional counts only where it has this name.
    """
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # no signature to look at
        return False
    return name in parameters or (not binds(function, beyond) and binds(function, beyond + 1))


def check_epochs(epochs: Any) -> None:
    """Raise where `epochs` is no whole number of at least 1."""
    try:
        count = operator.index(epochs)
    except TypeError:
        raise TypeError(f"`epochs` must be an integer, got {epochs!r}") from None
    if count < 1:
        raise ValueError(f"`epochs` must be >= 1, got {epochs}")


def check_instance(value: Any, name: str, method: str, example: str) -> None:
    """Raise TypeError for a class, or for an object without what `fit` calls on it."""
    if isinstance(value, type):
        raise TypeError(f"`{name}` must be an instance such as {example}, got {value.__name__}")
    if not hasattr(value, method):
        raise TypeError(f"`{name}` must be such as {example}, got {type(value).__name__}")


def as_functions(
    functions: Callable[..., None] | Sequence[Callable[..., None]], name: str
) -> Sequence[Callable[..., None]]:
    """Several functions, or one by itself."""
    if callable(functions):
        return (functions,)
    functions = tuple(functions)
    for function in functions:
        if not callable(function):
            raise TypeError(f"`{name}` must hold functions, got {type(function).__name__}")
    return functions


def as_schedule(schedule: Schedule | LRScheduler | None, optimizer: Optimizer) -> Schedule | None:
    """The schedule for `optimizer`; a scheduler of torch by itself moves once an epoch.

    Raises:
        TypeError: neither a `Schedule` nor a scheduler of torch.
        ValueError: it moves another optimizer, which would train on with rates nobody asked for.
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
                f"`schedule` moves another optimizer than `optimizer`: make its "
                f"{type(scheduler).__name__} with the same one"
            )
    return schedule


def check_schedule(schedule: Schedule, *, epochs: int, monitor: str, mode: str, log: Log) -> None:
    """Warn of a schedule made for steps that moves once an epoch.

    Raises:
        ValueError: it waits for the monitored column to do the opposite of becoming better.
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
