"""The column by which the best epoch of a run is chosen."""

from typing import Literal

from sightline._suggest import did_you_mean
from sightline.settings.groups import SettingsError
from sightline.train.early_stopping import monitor_mode
from sightline.train.log import Log
from sightline.train.metric import directions_of
from sightline.train.prepare import Prepared

__all__ = ["choose_monitor"]


def choose_monitor(prepared: Prepared, log: Log) -> tuple[str, Literal["min", "max"]]:
    """The column and "min" or "max", before anything is written.

    Where the metric of the task is not defined on the val split (average precision where no image
    has an object), there is a warning, and "val/loss" is used instead.

    Raises:
        SettingsError: a column that the run will not have, or whose direction is not known.
    """
    options, task, val = prepared.settings.train, prepared.task, prepared.val
    metric = task.metric(val, prepared.preprocess) if val is not None else None
    monitor = options.monitor or (metric.monitor if metric is not None else "train/loss")
    split, _, name = monitor.partition("/")
    directions = directions_of(metric)
    if split == "val":
        if val is None or metric is None:
            raise SettingsError(
                f"train.monitor is {monitor}, but data.val_split is none: give a val split, or "
                "monitor=train/loss"
            )
        if monitor in directions and (lacking := task.lacking(val)):
            log.warn(
                f"no picture of the {val.split or 'val'} split has {lacking}, so {monitor} is not "
                "defined: the best epoch is chosen by val/loss"
            )
            return "val/loss", "min"
        # The terms of a loss are known only in training.
        if monitor not in directions and not name.endswith("loss"):
            known = ", ".join([*directions, "val/loss", "train/loss"])
            raise SettingsError(
                f"train.monitor must be one of {known}, got {monitor!r}"
                f"{did_you_mean(monitor, directions)}"
            )
    try:
        return monitor, monitor_mode(monitor, options.mode, directions)
    except ValueError as error:
        raise SettingsError(f"train.monitor: {error}") from error
