"""Models by name, from arguments that a checkpoint can hold as JSON."""

import difflib
from typing import Any

from sightline.models.resnet import ResNet, resnet18, resnet20

_MODELS = {
    "resnet18": resnet18,
    "resnet20": resnet20,
}


def list_models() -> list[str]:
    """Return the names that `create_model` knows, sorted."""
    return sorted(_MODELS)


def create_model(name: str, num_classes: int, **kwargs: Any) -> ResNet:
    """Build a model with new weights from torch's global generator.

    `resnet18` and `resnet20` classify. `kwargs` are those of the function of that name. Raises
    ValueError for an unknown name, with the nearest one, and TypeError for an unknown argument.

    >>> sum(p.numel() for p in create_model("resnet20", 10).parameters())
    269722
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, n=1, cutoff=0)[0]
        raise ValueError(f"unknown model {name!r}; did you mean {near!r}? Known: {list_models()}")
    return _MODELS[name](num_classes, **kwargs)
