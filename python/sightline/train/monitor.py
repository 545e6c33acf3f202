"""The column of a run that its best epoch is picked by."""

from typing import Literal

from sightline._suggest import did_you_mean
from sightline.data import Annotations, Preprocess
from sightline.settings.groups import SettingsError, TrainSettings
from sightline.train.early_stopping import monitor_mode
from sightline.train.log import Log
from sightline.train.scoring import make_scorer

__all__ = ["choose_monitor"]


def choose_monitor(
    options: TrainSettings, val: Annotations | None, preprocess: Preprocess, log: Log
) -> tuple[str, Literal["min", "max"]]:
    """The column and "min" or "max", before anything is written.

    Where no picture of `val` has an object, average precision is not defined: a warning says so,
    and "val/loss" stands in for it.

    Raises:
        SettingsError: a column that the run will not have, or one whose better direction is not
            known.
    """
    scorer = make_scorer(val, preprocess) if val is not None else None
    monitor = options.monitor or (scorer.monitor if scorer is not None else "train/loss")
    split, _, name = monitor.partition("/")
    if split == "val":
        if val is None or scorer is None:
            raise SettingsError(
                f"train.monitor is {monitor}, but data.val_split is none: give a val split, or "
                "monitor=train/loss"
            )
        known = [f"val/{metric}" for metric in scorer.columns]
        if monitor in known and not _has_objects(val):
            log.warn(
                f"no picture of the {val.split or 'val'} split has an object, so {monitor} is not "
                "defined: the best epoch is picked by val/loss"
            )
            return "val/loss", "min"
        # Which terms a loss has, only training tells.
        if monitor not in known and not name.endswith("loss"):
            raise SettingsError(
                f"train.monitor must be one of {', '.join([*known, 'val/loss', 'train/loss'])}, "
                f"got {monitor!r}{did_you_mean(monitor, known)}"
            )
    try:
        return monitor, monitor_mode(monitor, options.mode)
    except ValueError as error:
        raise SettingsError(f"train.monitor: {error}") from error


def _has_objects(annotations: Annotations) -> bool:
    """Whether a picture has a label that counts: a crowd region does not."""
    if annotations.task == "classify":
        return True
    return any((~record.iscrowd).any() for record in annotations.records)
