"""What has to be as it was when a run goes on, or is tested on what it put aside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.data import Annotations
from sightline.settings.groups import Settings
from sightline.settings.read import settings_values
from sightline.train.data_record import data_changes, files_not_compared
from sightline.train.log import Log

__all__ = ["check_data", "check_settings", "check_test_split"]

# They change no bit, or are told of in another way: data that moved are compared, and another
# device or number of threads is warned of.
_MAY_CHANGE = {
    "data.path",
    "data.workers",
    "data.cache_mb",
    "train.device",
    "train.threads",
    "train.name",
    "train.out",
}


def check_settings(saved: Mapping[str, Any], settings: Settings, config: Path) -> None:
    """Raise ValueError that names the settings which are not those that a state was trained with.

    Args:
        saved: `settings_values` of then; what is not in it is not compared.
        settings: those of now, as read from `config`.
        config: named in the error.
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
    """Raise ValueError that says what changed in the data since a run began.

    Args:
        saved: `data_record` of each split then, None for a split that the run had not.
        splits: the data now.
        run: named in the error.
        log: hears of files that could not be compared.
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
                "contents to have been noted, so they are taken for the same"
            )


def check_test_split(saved: Mapping[str, Any], annotations: Annotations, run: Path) -> None:
    """Raise ValueError where a drawn test split is not the one that a run put aside.

    Args:
        saved: `data_record` of each split when the run began.
        annotations: the test split as it is drawn now.
        run: named in the error.
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
