"""Compiled kernels for object detection and image classification, and the loop built on them."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Loaded on first use, so that `import sightline` costs nothing and metrics never import torch.
_SUBMODULES = (
    "bench",
    "cli",
    "compat",
    "data",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "optim",
    "reference",
    "report",
    "settings",
    "tasks",
    "train",
)

if TYPE_CHECKING:
    from sightline import (
        bench,
        cli,
        compat,
        data,
        losses,
        metrics,
        models,
        nn,
        ops,
        optim,
        reference,
        report,
        settings,
        tasks,
        train,
    )
    from sightline.train.predictor import load


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"sightline.{name}")
    if name == "load":
        from sightline.train.predictor import load

        return load
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBMODULES, "load"])


__all__ = [
    "__version__",
    "bench",
    "cli",
    "compat",
    "data",
    "load",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "optim",
    "reference",
    "report",
    "settings",
    "tasks",
    "train",
]
