"""The settings of a run: one frozen dataclass per group; every field has limits and a meaning."""

from dataclasses import dataclass, field, fields
from typing import Any

from sightline.data import Augment
from sightline.data.image import MAX_PIXELS
from sightline.data.preprocess import RESIZE_MODES
from sightline.data.stored_pictures import CACHES
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
    """A setting does not exist, or cannot take the given value."""


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with its limits (both included) and a line of help."""
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class DataSettings:
    """The data set, and how batches are made from it."""

    path: str | None = setting(None, "folder or file of the data set, digits, or digit-scenes")
    format: str | None = setting(
        None,
        "voc, coco, yolo, labelme, kitti, cvat, label_studio, via, vott, csv or folder; "
        "none detects it",
    )
    train_split: str = setting("train", "split to train on, such as train or trainval")
    val_split: str | None = setting("val", "split to validate on; none trains without validation")
    test_share: float | None = setting(
        None,
        "share of images to put aside as a test split, where there is none; none puts none aside",
        low=1e-6,
        high=0.9,
    )
    split_seed: int = setting(0, "seed of random splits, and of digit-scenes", low=0)
    on_bad_label: str = setting(
        "drop-box", "what to do about a bad label", choices=("error", "drop-box", "drop-image")
    )
    scene_count: int | None = setting(None, "number of training scenes of digit-scenes", low=1)
    size: tuple[int, int] | None = setting(None, "height and width of the network's input", low=1)
    resize: str = setting("stretch", "how to resize to it", choices=RESIZE_MODES)
    channels: int = setting(3, "3 for colour, 1 for greyscale", low=1, high=3)
    max_pixels: int = setting(
        MAX_PIXELS, "most pixels of an image that is decoded, at 3 bytes each", low=1
    )
    batch_size: int = setting(16, "images per step", low=1)
    workers: int = setting(0, "processes that load images; 0 loads in the main process", low=0)
    prefetch: int = setting(2, "batches that each of them loads ahead", low=1)
    cache: str = setting("memory", "where decoded images are kept", choices=CACHES)
    cache_mb: int = setting(2048, "memory, or space on disk, for decoded images, in MiB", low=0)
    cache_dir: str | None = setting(None, "folder of cache=disk; none is ~/.cache/sightline/images")


@dataclass(frozen=True)
class ModelSettings:
    """The network and the arguments of its constructor."""

    name: str | None = setting(None, "name of the model; none uses that of the preset")
    options: dict[str, Any] = field(
        default_factory=dict, metadata={"meaning": "keyword arguments for the model"}
    )


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are updated."""

    name: str = setting("adamw", "optimizer", choices=OPTIMIZERS)
    lr: float = setting(1e-3, "largest learning rate", low=1e-12)
    weight_decay: float = setting(0.01, "weight decay; biases and norms have none", low=0)
    momentum: float = setting(
        0.9, "momentum of the optimizers momentum, nesterov and rmsprop", low=0, high=0.999999
    )
    clip_norm: float | None = setting(
        None, "largest norm of all gradients together; none does not clip", low=0
    )
    schedule: str = setting("one-cycle", "schedule of the learning rate", choices=SCHEDULES)
    warmup_epochs: float = setting(0.0, "epochs of linear warm-up", low=0)
    gamma: float = setting(
        0.1, "factor of each decrease (step, multi-step, plateau, exponential)", low=0
    )
    step_epochs: int = setting(30, "epochs between the decreases of step", low=1)
    milestones: tuple[int, ...] = setting((), "epochs after which multi-step decreases lr", low=0)
    initial_factor: float = setting(
        0.04, "rate at the start of one-cycle, as a share of lr", low=0, high=1
    )
    final_factor: float = setting(
        0.001, "rate at the end of cosine and one-cycle, as a share of lr", low=0, high=1
    )
    peak: float = setting(0.3, "share of the run in which one-cycle rises", low=0, high=0.99)
    plateau_patience: int = setting(
        5, "epochs without improvement before plateau decreases lr", low=0
    )


@dataclass(frozen=True)
class TrainSettings:
    """Length, device and output of the training."""

    task: str | None = setting(None, "name of the task; none derives it from the labels")
    preset: str | None = setting(None, "settings to start from; none uses the task's preset")
    epochs: int = setting(30, "passes over the training split", low=1)
    seed: int = setting(0, "seed of weights, order and augmentation", low=0)
    ema_decay: float = setting(
        0.99, "decay of the moving average of the weights; 0 turns it off", low=0, high=0.999999
    )
    monitor: str | None = setting(
        None, "column that decides which epoch is best; none: that of the task"
    )
    mode: str | None = setting(
        None, "min where lower values of it are better, max where higher", choices=("min", "max")
    )
    patience: int = setting(
        0, "epochs without improvement before stopping early; 0 never stops", low=0
    )
    min_delta: float = setting(1e-4, "smallest improvement that counts for patience", low=0)
    start_epoch: int = setting(1, "first epoch that counts for patience", low=1)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N")
    amp: str = setting("auto", "mixed precision", choices=("auto", "bf16", "fp16", "off"))
    deterministic: bool = setting(False, "use only deterministic algorithms (matters on CUDA)")
    threads: int | None = setting(None, "CPU threads; none leaves the choice to torch", low=1)
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
