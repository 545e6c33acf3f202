"""The native columns under an evaluator, and their form as plain arrays."""

from collections.abc import Mapping
from typing import Any

from sightline import _numpy
from sightline.metrics._inputs import MAX_LABELS, as_array

_native: Any = _numpy  # compiled, without type stubs
CROWD, IGNORE = 1, 2  # bits of an object's `flags`
_SHAPES = ("bbox", "segm", "keypoints")


def new_store(settings: Mapping[str, Any]) -> Any:
    """An empty store for an evaluator's settings."""
    names = settings["class_names"]
    return _native.DetectionStore(
        shapes=_SHAPES.index(settings["iou_type"]),
        num_keypoints=0,
        num_labels=MAX_LABELS if names is None else len(names),
        any_score=settings["parity"] == "pycocotools",
        as_array=as_array,
    )
