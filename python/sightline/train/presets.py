"""Recipes by name: settings that differ from the defaults, with what they were measured to give.

A run takes the preset that bears the name of its data set, or else that of its task. Explicit
settings always win over a preset.
"""

from typing import Any

__all__ = ["PRESETS", "preset_for"]

PRESETS: dict[str, dict[str, Any]] = {
    "classify": {
        "model.name": "resnet18",
        "data.batch_size": 32,
        "train.epochs": 30,
        "optimizer.lr": 2e-3,
        "optimizer.weight_decay": 0.05,
    },
    "detect": {
        "model.name": "light_detector",
        "data.batch_size": 8,
        "train.epochs": 60,
        "optimizer.lr": 2e-3,
        "optimizer.weight_decay": 0.05,
        "optimizer.clip_norm": 10.0,
    },
    "digits": {
        "model.name": "resnet20",
        "data.size": (8, 8),
        "data.channels": 1,
        "data.batch_size": 64,
        "train.epochs": 20,
        "optimizer.lr": 3e-3,
        "optimizer.weight_decay": 0.05,
    },
    "digit-scenes": {
        "model.name": "light_detector",
        "data.size": (128, 128),
        "data.batch_size": 16,
        "train.epochs": 12,
        "optimizer.lr": 2e-3,
        "optimizer.weight_decay": 0.05,
        "optimizer.clip_norm": 10.0,
    },
}


def preset_for(source: str, task: str) -> str:
    """The preset's name for a data source and a task."""
    return source if source in PRESETS else task
