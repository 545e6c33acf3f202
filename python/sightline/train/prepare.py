"""From what a person asked for to all that `fit` needs: data, settings, model."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import sightline
from sightline._suggest import did_you_mean
from sightline.data import Annotations, Preprocess, default_augment, fit_preprocess, open_source
from sightline.models import create_model, fit_anchors
from sightline.settings.groups import Settings, SettingsError
from sightline.settings.presets import PRESETS, preset_for
from sightline.settings.read import Layer, resolve
from sightline.tasks import TASKS, Task, default_task
from sightline.train.log import Log
from sightline.train.precision import Precision

__all__ = ["Prepared", "prepare", "read_split", "seed_everything"]

# Sides that a network sees where neither settings nor preset give a size.
_LONG_SIDE = {"detect": 320, "classify": 128}
_SIDE_STEP = 16  # pixels; a whole number of cells on the maps of the light detector
_LEAST_STEPS = 2
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
        """What every weights file says beside its numbers."""
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
    )


def prepare(layers: Sequence[Layer], *, log: Log) -> Prepared:
    """Read the data, settle every setting, and build the model with new weights.

    Values come from, in rising order: defaults, the data set, the preset, and `layers` (a settings
    file, then the command line).

    Raises:
        SettingsError: an unknown or impossible setting.
        DataError: the data set cannot be read.
    """
    asked = resolve(layers)
    check_task_name(asked)
    named = asked.train.preset or str(asked.data.path)
    if named in PRESETS:  # known before the labels are: how the data are read may be part of it
        asked = resolve([(f"preset {named}", PRESETS[named]), *layers])
    train = read_split(asked, asked.data.train_split)
    val = None
    if asked.data.val_split is not None:
        val = read_split(asked, asked.data.val_split, class_names=train.class_names)
    test = None
    if asked.data.test_share is not None:
        test = read_split(asked, "test", class_names=train.class_names)
    for annotations in (train, val, test):
        if annotations is not None:
            warn_of_issues(annotations, log)
    task = choose_task(asked, train)

    preset = asked.train.preset or preset_for(str(asked.data.path), task.name)
    if preset not in PRESETS:
        raise SettingsError(
            f"train.preset must be one of {', '.join(PRESETS)}, got {preset!r}"
            f"{did_you_mean(preset, PRESETS)}"
        )
    found = {**data_values(train), "train.task": task.name, "train.preset": preset}
    base: list[Layer] = [("data", found), (f"preset {preset}", PRESETS[preset])]
    settings = resolve([*base, *layers])
    data = settings.data
    size = data.size or found["data.size"]  # size=none asks for what the data suggest
    preprocess = fit_preprocess(train, size, mode=data.resize, channels=data.channels)

    device = choose_device(settings.train.device)
    try:
        Precision(settings.train.amp, device)
    except ValueError as error:
        raise SettingsError(f"train.amp: {error}") from error
    if settings.train.threads is not None:
        torch.set_num_threads(settings.train.threads)
    if settings.train.deterministic:
        torch.use_deterministic_algorithms(True)
    options: dict[str, Any] = {"in_channels": data.channels}
    if task.name == "detect" and "anchors" not in settings.model.options:
        levels = len(detector_strides(build_model(settings, train.num_classes), settings))
        options["anchors"] = training_anchors(train, preprocess, levels)
    settings = resolve([*base, ("data", {"model.options": options}), *layers])
    seed_everything(settings.train.seed)
    model = build_model(settings, train.num_classes).to(device)
    if task.name == "classify" and is_detector(model):
        raise SettingsError(
            f"model {settings.model.name} detects, and the labels of {data.path} are classes "
            "without boxes: choose a classifier, such as model=resnet18, or give data with boxes"
        )
    return Prepared(settings, task, train, val, test, preprocess, model, device)


def check_task_name(settings: Settings) -> None:
    """Raise SettingsError where `train.task` is no task."""
    name = settings.train.task
    if name is not None and name not in TASKS:
        raise SettingsError(
            f"train.task must be one of {', '.join(TASKS)}, got {name!r}{did_you_mean(name, TASKS)}"
        )


def choose_task(settings: Settings, train: Annotations) -> Task:
    """The task that the settings name, or the default of the labels.

    Raises:
        SettingsError: it does not learn from these labels.
    """
    default = default_task(train)
    task = TASKS[settings.train.task or default.name]
    if not task.accepts(train):
        raise SettingsError(
            f"train.task is {task.name}, but the labels of {settings.data.path} are for "
            f"{default.name}"
        )
    return task


def build_model(settings: Settings, num_classes: int) -> nn.Module:
    """The model that the settings name; its complaints become settings errors."""
    name, options = settings.model.name, settings.model.options
    if name is None:
        raise SettingsError("model.name is none: give model=<name>")
    try:
        return create_model(name, num_classes, **options)
    except (TypeError, ValueError) as error:
        given = f" with options {options}" if options else ""
        raise SettingsError(f"model {name}{given}: {error}") from error


def data_values(train: Annotations) -> dict[str, Any]:
    """Settings that follow from the training pictures: the size they are seen at, augmentation."""
    longest = _LONG_SIDE[default_task(train).name]
    height = float(np.median([record.height for record in train.records]))
    width = float(np.median([record.width for record in train.records]))
    scale = min(1.0, longest / max(height, width))
    size = tuple(
        max(_LEAST_STEPS, round(side * scale / _SIDE_STEP)) * _SIDE_STEP for side in (height, width)
    )
    augment = default_augment(train)
    values = {f"augment.{name}": value for name, value in vars(augment).items()}
    return {"data.size": size, **values}


def is_detector(model: nn.Module) -> bool:
    """Whether a model predicts boxes: it has maps of known strides to predict on."""
    return isinstance(getattr(model, "strides", None), tuple)


def detector_strides(model: nn.Module, settings: Settings) -> tuple[int, ...]:
    """Strides of the maps a detector predicts on; a model without them classifies."""
    if not is_detector(model):
        raise SettingsError(
            f"model {settings.model.name} does not detect, and the labels of {settings.data.path} "
            "are boxes: choose a detector, such as model=light_detector"
        )
    return model.strides  # type: ignore[return-value]


def training_anchors(
    train: Annotations, preprocess: Preprocess, levels: int
) -> list[list[list[float]]]:
    """Anchors by k-means over the training boxes, at the size that the network sees them."""
    sizes = []
    for record in train.records:
        transform = preprocess.transform_for(record.height, record.width)
        boxes = transform.to_network(record.boxes[~record.iscrowd])
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    boxes = np.concatenate(sizes)
    if not len(boxes):
        raise SettingsError(f"the training split of {train.source} has no box to learn from")
    anchors = fit_anchors(boxes, levels=levels)
    return [[list(pair) for pair in level] for level in anchors]


def choose_device(name: str) -> torch.device:
    """The torch device of "auto", "cpu", "cuda" or "cuda:N"; SettingsError where there is none."""
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


def warn_of_issues(annotations: Annotations, log: Log) -> None:
    """Print what a reader left out, each with its file, object and rule."""
    for issue in annotations.issues[:_LISTED_ISSUES]:
        log.warn(str(issue))
    rest = len(annotations.issues) - _LISTED_ISSUES
    if rest > 0:
        log.warn(f"... and {rest} more bad labels in the {annotations.split} split")
