"""Checks that settings and data are unchanged when a run is resumed or tested."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.data import Annotations
from sightline.settings.groups import Settings
from sightline.settings.read import settings_values
from sightline.train.data_record import data_changes, files_not_compared
from sightline.train.log import Log

__all__ = ["check_data", "check_settings", "check_test_split"]

# Settings that change no bits, or are checked in another way: moved data are compared, and there is
# a warning for another device or number of threads.
_MAY_CHANGE = {
    "data.path",
    "data.workers",
    "data.prefetch",
    "data.cache",
    "data.cache_mb",
    "data.cache_dir",
    "train.device",
    "train.threads",
    "train.name",
    "train.out",
}


def check_settings(saved: Mapping[str, Any], settings: Settings, config: Path) -> None:
    """Raise ValueError for settings that differ from those that a state was trained with.

    Args:
        saved: `settings_values` at that time; settings not in it are not compared.
        settings: the current settings, as read from `config`.
        config: the path for the error.
    """
    now = settings_values(settings)
    other = [
        f"{key} is {now[key]}, the state was trained with {saved[key]}"
        for key in now
        if key not in _MAY_CHANGE and key in saved and saved[key] != now[key]
    ]
    if other:
        raise ValueError(
            f"{config} was changed since the run was trained: {'; '.join(other)}. Put it back to "
            f"resume, or start a new run with config={config}"
        )


def check_data(
    saved: Mapping[str, Any], splits: Mapping[str, Annotations | None], run: Path, log: Log
) -> None:
    """Raise ValueError where the data have changed since a run began; the message says how.

    Args:
        saved: `data_record` of each split at that time, None for a split that the run did not have.
        splits: the current data.
        run: the path for the error.
        log: gets a warning of files that could not be compared.
    """
    for split, annotations in splits.items():
        before = saved.get(split)
        if annotations is None or before is None:
            continue
        changes = data_changes(before, annotations)
        if changes:
            raise ValueError(
                f"the data in {annotations.source} is not what {run} was trained on: in the "
                f"{annotations.split or split} split {'; '.join(changes)}. Put it back to resume, "
                f"or start a new run with config={run / 'config.yaml'}"
            )
        unknown = files_not_compared(before, annotations)
        if unknown:
            log.warn(
                f"{unknown} pictures of the {annotations.split or split} split have another date "
                "than when the run began, and the same size; the data set is too large for their "
                "contents to have been recorded, so they are assumed to be the same"
            )


def check_test_split(saved: Mapping[str, Any], annotations: Annotations, run: Path) -> None:
    """Raise ValueError where a random test split is not the one that a run put aside.

    Args:
        saved: `data_record` of each split when the run began.
        annotations: the current test split.
        run: the path for the error.
    """
    before = saved.get("test")
    if (
        before is None
        or annotations.split != "test"
        or annotations.split_rule.startswith("official")
    ):
        return
    changes = data_changes(before, annotations)
    if changes:
        raise ValueError(
            f"the test split drawn from {annotations.source} now is not the one that {run} put "
            f"aside, so the model may have been trained on some of it: {'; '.join(changes)}. Put "
            "the data back as they were"
        )
