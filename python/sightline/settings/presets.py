"""Named presets: settings that differ from the defaults, and the results measured with them.

A run uses the preset that has the name of its data set, or otherwise that of its task. Settings
that are given explicitly override a preset.
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
        "optimizer.clip_norm": 5.0,
    },
    # Blood cells (BCCD, trained on train and val with augment.flip_v=0.5, last weights): AP50 on
    # the test split .902, .895 and .906 for seeds 0 to 2; with 90 epochs .908, .905 and .911.
    "detect": {
        "model.name": "light_detector",
        "data.batch_size": 8,
        "train.epochs": 50,
        "train.ema_decay": 0.998,
        "optimizer.lr": 8e-3,
        "optimizer.weight_decay": 0.05,
        "optimizer.clip_norm": 5.0,
        "optimizer.peak": 0.2,
        "optimizer.initial_factor": 0.1,
        "optimizer.final_factor": 0.01,
        "augment.scale": (0.75, 1.35),
    },
    # Accuracy .994, .994 and .992 for seeds 0, 1 and 2, in 45 s of CPU time.
    "digits": {
        "model.name": "resnet20",
        "data.size": (16, 16),
        "data.channels": 1,
        "data.batch_size": 64,
        "train.epochs": 15,
        "train.ema_decay": 0.99,
        "optimizer.lr": 1e-2,
        "optimizer.weight_decay": 0.05,
        "optimizer.clip_norm": 5.0,
        "optimizer.peak": 0.15,
        "optimizer.initial_factor": 0.1,
        "optimizer.final_factor": 0.01,
        "augment.brightness": 0.0,
    },
    # AP50 on the 500 held-out scenes .880 for seed 1, in 260 s of CPU time.
    "digit-scenes": {
        "model.name": "light_detector",
        # Digits differ in strokes of two to six pixels, so the trunk has a block at stride 4, and
        # none at stride 32, whose receptive field exceeds the largest digit.
        "model.options": {"widths": (16, 32, 64, 128), "blocks": (0, 1, 1, 1), "box_weight": 0.5},
        "data.size": (128, 128),
        "data.batch_size": 16,
        "train.epochs": 10,
        "train.ema_decay": 0.998,
        "optimizer.lr": 1.5e-2,
        "optimizer.weight_decay": 0.05,
        "optimizer.clip_norm": 5.0,
        "optimizer.peak": 0.2,
        "optimizer.initial_factor": 0.1,
        "optimizer.final_factor": 0.01,
        # Digits already lie anywhere and in every size; stronger changes only slow down learning.
        "augment.scale": (0.9, 1.1),
        "augment.translate": 0.05,
    },
}


def preset_for(*names: str) -> str | None:
    """The first of the names (of a data set, of a task) for which there is a preset, or None."""
    return next((name for name in names if name in PRESETS), None)
