"""The settings of a run: one frozen dataclass a group, every field with its limits and meaning."""

from dataclasses import dataclass, field, fields
from typing import Any

from sightline.data import Augment
from sightline.optim.make import OPTIMIZERS
from sightline.optim.schedule import SCHEDULES

__all__ = [
    "GROUPS",
    "DataSettings",
    "ModelSettings",
    "OptimizerSettings",
    "Settings",
    "SettingsError",
    "TrainSettings",
]


class SettingsError(ValueError):
    """A setting that does not exist, or a value that it cannot take."""


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with its limits (both ends allowed) and a line of help."""
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class DataSettings:
    """What is trained on, and how it becomes batches."""

    path: str | None = setting(None, "folder or file of the data set, digits, or digit-scenes")
    format: str | None = setting(None, "voc, coco, yolo or folder; none finds out")
    train_split: str = setting("train", "split to train on, such as train or trainval")
    val_split: str | None = setting("val", "split to watch; none trains without one")
    test_share: float | None = setting(
        None,
        "share put aside as test split where there is none; none draws none",
        low=1e-6,
        high=0.9,
    )
    split_seed: int = setting(0, "of splits that are drawn, and of digit-scenes", low=0)
    on_bad_label: str = setting(
        "drop-box", "what a bad label does", choices=("error", "drop-box", "drop-image")
    )
    scene_count: int | None = setting(None, "training scenes of digit-scenes", low=1)
    size: tuple[int, int] | None = setting(None, "height and width the network sees", low=1)
    resize: str = setting("stretch", "how pictures fill it", choices=("stretch", "letterbox"))
    channels: int = setting(3, "3 for colour, 1 for grey", low=1, high=3)
    batch_size: int = setting(16, "images a step", low=1)
    workers: int = setting(0, "processes that load images; 0 loads in the main one", low=0)
    cache_mb: int = setting(2048, "memory for decoded images, MiB", low=0)


@dataclass(frozen=True)
class ModelSettings:
    """Which network, and the arguments of its constructor."""

    name: str | None = setting(None, "name of the model; none takes the preset's")
    options: dict[str, Any] = field(
        default_factory=dict, metadata={"meaning": "keyword arguments of the model"}
    )


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights move."""

    name: str = setting("adamw", "optimizer", choices=OPTIMIZERS)
    lr: float = setting(1e-3, "largest learning rate", low=1e-12)
    weight_decay: float = setting(0.01, "on weights, not on biases and norms", low=0)
    momentum: float = setting(0.9, "of momentum, nesterov and rmsprop", low=0, high=0.999999)
    clip_norm: float | None = setting(None, "largest norm of all gradients; none: no limit", low=0)
    schedule: str = setting("one-cycle", "course of the learning rate", choices=SCHEDULES)
    warmup_epochs: float = setting(0.0, "epochs of linear growth at the start", low=0)
    gamma: float = setting(0.1, "factor of a drop (step, multi-step, plateau, exponential)", low=0)
    step_epochs: int = setting(30, "epochs between the drops of step", low=1)
    milestones: tuple[int, ...] = setting((), "epochs after which multi-step drops", low=0)
    initial_factor: float = setting(0.04, "first part of lr in one-cycle", low=0, high=1)
    final_factor: float = setting(0.001, "last part of lr in cosine and one-cycle", low=0, high=1)
    peak: float = setting(0.3, "part of the run for which one-cycle rises", low=0, high=0.99)
    plateau_patience: int = setting(5, "epochs without gain before plateau drops", low=0)


@dataclass(frozen=True)
class TrainSettings:
    """How long, on what, and where it goes."""

    task: str | None = setting(None, "name of the task; none finds out from the labels")
    preset: str | None = setting(None, "named settings to start from; none: that of the task")
    epochs: int = setting(30, "passes over the training split", low=1)
    seed: int = setting(0, "of weights, order, augmentation and drawn splits", low=0)
    ema_decay: float = setting(0.99, "averaging of weights; 0 turns it off", low=0, high=0.999999)
    monitor: str | None = setting(None, "column that picks the best epoch; none: AP50 or accuracy")
    mode: str | None = setting(None, "whether less or more of it is better", choices=("min", "max"))
    patience: int = setting(0, "epochs without gain before stopping early; 0 never stops", low=0)
    min_delta: float = setting(1e-4, "smallest gain that counts for patience", low=0)
    start_epoch: int = setting(1, "first epoch that patience looks at", low=1)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N")
    amp: str = setting("auto", "mixed precision", choices=("auto", "bf16", "fp16", "off"))
    deterministic: bool = setting(False, "on CUDA, only algorithms that repeat their bits")
    threads: int | None = setting(None, "CPU threads; none leaves torch's choice", low=1)
    out: str = setting("runs", "folder that holds <task>/<name>")
    name: str = setting("train", "name of the run")


@dataclass(frozen=True)
class Settings:
    """All groups, and where each value came from.

    `origins` maps "group.name" to "default", "data", "preset <name>", "config <file>" or "cli".
    """

    data: DataSettings
    model: ModelSettings
    augment: Augment
    optimizer: OptimizerSettings
    train: TrainSettings
    origins: dict[str, str] = field(default_factory=dict)


GROUPS: dict[str, type] = {
    "data": DataSettings,
    "model": ModelSettings,
    "augment": Augment,
    "optimizer": OptimizerSettings,
    "train": TrainSettings,
}

# "data=PATH" means "data.path=PATH".
GROUP_VALUES = {"data": "path", "model": "name", "optimizer": "name"}


def setting_names() -> list[str]:
    """Every setting as "group.name", in order."""
    return [f"{group}.{item.name}" for group, kind in GROUPS.items() for item in fields(kind)]
