"""Small trained runs, made once for all the tests that look at one."""

from pathlib import Path

from sightline.settings.read import override_layer
from sightline.train.log import Log
from sightline.train.session import Run, train_from_settings

from .tiny import write_colours, write_squares

WRITE = {"detect": write_squares, "classify": write_colours}
QUICK: dict[str, dict[str, object]] = {
    "detect": {
        "epochs": 2,
        "size": 64,
        "batch_size": 4,
        "model.options.widths": [8, 8, 16, 16],
        "model.options.blocks": [0, 0, 0, 0],
        "model.options.fpn_channels": 16,
    },
    "classify": {"epochs": 2, "size": 16, "batch_size": 4, "model": "resnet20"},
}


def quick_words(task: str) -> list[str]:
    """`QUICK` as words of the command line."""
    return [f"{key}={value}" for key, value in QUICK[task].items()]


def train_quickly(data: Path, task: str, *, out: Path, **changes: object) -> Run:
    """Two epochs of a tiny model; `changes` are settings."""
    layer = override_layer({"data": str(data), **QUICK[task], **changes}, "cli")
    return train_from_settings([layer], log=Log(quiet=True), out=out)
