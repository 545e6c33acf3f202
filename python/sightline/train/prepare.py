"""From settings to everything that `fit` needs: data, resolved settings, model."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import sightline
from sightline._suggest import did_you_mean
from sightline.data import Annotations, Preprocess, fit_preprocess, open_source
from sightline.data.check.before_training import before_training
from sightline.data.issues import said_of
from sightline.settings.groups import Settings, SettingsError, TrainSettings
from sightline.settings.presets import PRESETS, preset_for
from sightline.settings.read import Layer, fill, resolve
from sightline.tasks import TASKS, Task, default_task
from sightline.train.log import Log
from sightline.train.precision import Precision

__all__ = ["Prepared", "prepare", "read_split", "seed_everything"]

_LISTED_ISSUES = 5


@dataclass(frozen=True)
class Prepared:
    """One run, ready to train."""

    settings: Settings
    task: Task
    train: Annotations
    val: Annotations | None
    test: Annotations | None  # only where `data.test_share` puts it aside
    preprocess: Preprocess
    model: nn.Module
    device: torch.device

    @property
    def splits(self) -> dict[str, Annotations | None]:
        splits = {"train": self.train, "val": self.val}
        return splits if self.test is None else splits | {"test": self.test}

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of every weights file."""
        return {
            "sightline": sightline.__version__,
            "task": self.task.name,
            "class_names": list(self.train.class_names),
            "category_ids": [int(i) for i in self.train.category_ids],
            "preprocess": self.preprocess.to_dict(),
            "model": {"name": self.settings.model.name, "options": self.settings.model.options},
            "data": self.settings.data.path,
        }


def read_split(
    settings: Settings, split: str, *, class_names: Sequence[str] | None = None
) -> Annotations:
    """One split of the data set that the settings name.

    Raises:
        SettingsError: no data set is named.
        DataError: it cannot be read.
    """
    data = settings.data
    if data.path is None:
        raise SettingsError("no data set: give data=<folder>, data=digits or data=digit-scenes")
    return open_source(
        data.path,
        split=split,
        format=data.format,
        on_bad_label=data.on_bad_label,
        class_names=class_names,
        seed=data.split_seed,
        test_share=data.test_share,
        scene_count=data.scene_count if split == "train" else None,
        max_pixels=data.max_pixels,
    )


def prepare(layers: Sequence[Layer], *, log: Log) -> Prepared:
    """Read the data, resolve all settings, and build the model with new weights.

    Values come from the defaults, the data set, the preset and `layers` (a settings file, then the
    command line); later ones override earlier ones.

    Raises:
        SettingsError: an unknown or impossible setting.
        DataError: the data set cannot be read.
    """
    settings = resolve(layers)
    check_names(settings)
    # Before the labels are read, since a preset may contain how to read them.
    preset = settings.train.preset or preset_for(str(settings.data.path))
    settings = use_preset(settings, preset)
    data = settings.data
    train = read_split(settings, data.train_split)
    val = test = None
    if data.val_split is not None:
        val = read_split(settings, data.val_split, class_names=train.class_names)
    if data.test_share is not None:
        test = read_split(settings, "test", class_names=train.class_names)
    warn_of_issues([split for split in (train, val, test) if split is not None], log)
    warn_of_splits(train, {"val": val, "test": test}, log)

    task = choose_task(settings, train)
    if preset is None:
        settings = use_preset(settings, preset_for(task.name))
    found = task.settings_for(train)
    settings = fill(settings, "data", {**found, "train.task": task.name})
    data = settings.data
    size = data.size or found["data.size"]  # size=none means the size derived from the data
    preprocess = fit_preprocess(
        train,
        size,
        mode=data.resize,
        channels=data.channels,
        max_pixels=data.max_pixels,
        skip_unreadable=data.on_bad_label != "error",
    )

    device = set_up_torch(settings.train)
    options = task.model_options(settings, train, preprocess)
    settings = fill(settings, "data", {"model.options": options})
    seed_everything(settings.train.seed)
    model = task.build_model(settings, train).to(device)
    task.check_model(model, settings)
    return Prepared(settings, task, train, val, test, preprocess, model, device)


def check_names(settings: Settings) -> None:
    """Raise SettingsError where `train.task` or `train.preset` does not exist."""
    known: Collection[str]
    for key, known in (("task", TASKS), ("preset", PRESETS)):
        name = getattr(settings.train, key)
        if name is not None and name not in known:
            raise SettingsError(
                f"train.{key} must be one of {', '.join(known)}, got {name!r}"
                f"{did_you_mean(name, known)}"
            )


def use_preset(settings: Settings, name: str | None) -> Settings:
    """The settings, with values of a preset where they were not set; None changes nothing."""
    if name is None:
        return settings
    settings = fill(settings, f"preset {name}", PRESETS[name])
    return fill(settings, "data", {"train.preset": name})


def choose_task(settings: Settings, train: Annotations) -> Task:
    """The task in the settings, or the default for the labels.

    Raises:
        SettingsError: it cannot be trained on these labels.
    """
    default = default_task(train)
    task = TASKS[settings.train.task or default.name]
    if not task.accepts(train):
        raise SettingsError(
            f"train.task is {task.name}, but the labels of {settings.data.path} are for "
            f"{default.name}"
        )
    return task


def set_up_torch(options: TrainSettings) -> torch.device:
    """Set threads and determinism of the process, and return the device.

    Raises:
        SettingsError: there is no such device, or it does not support that precision.
    """
    device = choose_device(options.device)
    try:
        Precision(options.amp, device)
    except ValueError as error:
        raise SettingsError(f"train.amp: {error}") from error
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.deterministic:
        torch.use_deterministic_algorithms(True)
    return device


def choose_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N"; SettingsError where missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise SettingsError(f"train.device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"train.device is {name}, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices; use device=cpu"
        )
    return device


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def warn_of_splits(train: Annotations, others: Mapping[str, Annotations | None], log: Log) -> None:
    """Print what would spoil training or its scores, such as images of val in train."""
    known = {name: split for name, split in others.items() if split is not None}
    for sentence in before_training(train, known):
        log.warn(f"{sentence} (sightline data check {train.source} says more)")


def warn_of_issues(splits: Sequence[Annotations], log: Log) -> None:
    """Print what a reader left out or assumed, with file, place and rule; many of a kind in one."""
    found = said_of(*splits)
    for said in found[:_LISTED_ISSUES]:
        log.warn(said.text)
    rest = sum(said.issues for said in found[_LISTED_ISSUES:])
    if rest:
        log.warn(f"... and {rest:,} more of these")
