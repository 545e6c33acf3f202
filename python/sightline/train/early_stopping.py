"""The monitored number of a run, and early stopping."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from sightline._suggest import did_you_mean

__all__ = ["Best", "EarlyStopping", "is_loss_column", "monitor_mode", "read_monitor"]


def is_loss_column(column: str) -> bool:
    """Whether a column is a loss, by the loop's names such as "train/loss" or "val/box_loss"."""
    return column.endswith("loss")


def monitor_mode(
    monitor: str, mode: str | None = None, directions: Mapping[str, str] | None = None
) -> Literal["min", "max"]:
    """ "min" or "max" for a monitored column: "min" for a loss, otherwise as declared.

    Args:
        monitor: the column's name, such as "val/loss" or "val/AP50".
        mode: "min" or "max", which overrides `directions`; None uses `directions`.
        directions: column -> "min" or "max", as declared by a metric.

    Raises:
        ValueError: another `mode` or direction, or a column without a declared direction. Guessing
            it from the name could minimise a metric that should grow.
    """
    if mode is None:
        declared = (directions or {}).get(monitor)
        if declared is None and not is_loss_column(monitor):
            raise ValueError(
                f"cannot tell whether a larger {monitor!r} is better: give mode='min' or "
                "mode='max', or a metric whose `directions` say so"
                f"{did_you_mean(monitor, directions or (), quoted=True)}"
            )
        mode = declared or "min"
    if mode == "min":
        return "min"
    if mode == "max":
        return "max"
    raise ValueError(f"`mode` must be 'min' or 'max', got {mode!r}")


def read_monitor(row: dict[str, float], monitor: str) -> float:
    """The monitored value of one epoch; ValueError for a name that is not a column."""
    if monitor not in row:
        hint = did_you_mean(monitor, row, quoted=True)
        raise ValueError(f"`monitor` {monitor!r} is not among {sorted(row)}{hint}")
    return float(row[monitor])


class Best:
    """The best value so far and its epoch.

    NaN is never better. Among equal values the earlier epoch is kept.

    Args:
        mode: "min" or "max".
        min_delta: by how much a value must beat the best one to count, >= 0.
    """

    def __init__(self, mode: str, *, min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"`mode` must be 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"`min_delta` must be >= 0, got {min_delta}")
        self.mode, self.min_delta = mode, min_delta
        self.value: float | None = None
        self.epoch: int | None = None

    def step(self, value: float, epoch: int) -> bool:
        """Returns True where `value` is a new best value."""
        if math.isnan(value):
            return False
        if self.value is not None:
            gain = value - self.value if self.mode == "max" else self.value - value
            if not gain > self.min_delta:
                return False
        self.value, self.epoch = value, epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.epoch = state["value"], state["epoch"]


class EarlyStopping:
    """Stop when the monitored column has not improved for `patience` epochs.

    Args:
        monitor: column to watch, such as "val/loss" or "val/AP50"; None for the column by which
            `fit` chooses the best epoch.
        mode: "min" or "max"; None for "min" for a loss, and for another column the direction that
            the metric of `fit` declares.
        patience: epochs without improvement after which training stops, >= 1.
        min_delta: an improvement of at most this does not count, >= 0.
        start_epoch: epochs before this one (counted from 1) are disregarded.

    Raises:
        ValueError: a value outside its range.
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        mode: str | None = None,
        patience: int = 10,
        min_delta: float = 1e-4,
        start_epoch: int = 1,
    ) -> None:
        if patience < 1:
            raise ValueError(f"`patience` must be >= 1, got {patience}")
        if start_epoch < 1:
            raise ValueError(f"`start_epoch` must be >= 1, got {start_epoch}")
        self.monitor, self.patience, self.start_epoch = monitor, patience, start_epoch
        self._follows, self._mode = monitor is None, mode
        # The direction of a column that is not a loss, which only `follow` can set.
        self._undeclared = monitor is not None and mode is None and not is_loss_column(monitor)
        self.best = Best(monitor_mode("loss", mode), min_delta=min_delta)
        self.waited = 0

    def watches(self, monitor: str) -> str:
        """The column to watch, where `fit` monitors `monitor`."""
        return monitor if self.monitor is None or self._follows else self.monitor

    def follow(self, monitor: str, mode: str, directions: Mapping[str, str] | None = None) -> None:
        """Called by `fit` before the first epoch.

        Args:
            monitor: the column that `fit` monitors, which is watched where none was given.
            mode: "min" or "max" for it.
            directions: column -> "min" or "max", for a given column without a `mode`.

        Raises:
            ValueError: the direction of the column is not declared.
        """
        if self.monitor is None or self._follows:
            self.monitor, self.waited = monitor, 0
            self.best = Best(self._mode or mode, min_delta=self.best.min_delta)
        elif self._undeclared:
            declared = monitor_mode(self.monitor, None, directions)
            self.best, self._undeclared = Best(declared, min_delta=self.best.min_delta), False

    def step(self, row: dict[str, float], epoch: int) -> bool:
        """Returns True where training should stop after this epoch (counted from 1).

        Raises:
            ValueError: the column is not in `row` or not known, or its direction is not known.
        """
        if self.monitor is None:
            raise ValueError("EarlyStopping() has no column to watch outside `fit`: give `monitor`")
        value = read_monitor(row, self.monitor)
        if self._undeclared:
            monitor_mode(self.monitor)  # raises an error: outside `fit` it is not known
        if epoch < self.start_epoch:
            return False
        self.waited = 0 if self.best.step(value, epoch) else self.waited + 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"waited": self.waited, "best": self.best.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.waited = state["waited"]
        self.best.load_state_dict(state["best"])
