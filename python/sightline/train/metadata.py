"""The metadata of a weights file, with which it can be loaded without the training program."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

import sightline
from sightline.data import Annotations, Preprocess
from sightline.nn.wrappers import unwrapped
from sightline.tasks import TASKS, default_task

__all__ = ["run_metadata"]


def run_metadata(
    model: nn.Module, train_loader: Iterable, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The header of a run's weights files.

    Task, class names and preprocessing come from `train_loader` where it is one of ours, name and
    options of the model from `create_model`; `given` overrides both.

    Raises:
        TypeError: a value that cannot be stored as JSON; the message names it.
        ValueError: a task that `sightline.load` does not know.
    """
    found: dict[str, Any] = {"sightline": sightline.__version__}
    dataset = getattr(train_loader, "dataset", None)
    annotations = getattr(dataset, "annotations", None)
    if isinstance(annotations, Annotations):
        found |= {
            "task": default_task(annotations).name,
            "class_names": list(annotations.class_names),
        }
        found |= {"category_ids": [int(i) for i in annotations.category_ids]}
        found |= {"preprocess": getattr(dataset, "preprocess", None)}
    created_with = getattr(unwrapped(model), "created_with", None)
    if created_with is not None and _not_json(created_with) is None:
        found["model"] = created_with
    found |= given or {}
    if found.get("task") not in (None, *TASKS):
        raise ValueError(
            f"`metadata['task']` must be {' or '.join(map(repr, TASKS))}, got {found['task']!r}: "
            "sightline.load reads it; store anything else under another name"
        )
    for name, value in found.items():
        found[name] = value.to_dict() if isinstance(value, Preprocess) else value
        if (reason := _not_json(found[name])) is not None:
            raise TypeError(f"`metadata[{name!r}]` cannot be stored as JSON: {reason}")
    return found


def _not_json(value: Any) -> str | None:
    """Why a value cannot be stored as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        return str(error)
    return None
