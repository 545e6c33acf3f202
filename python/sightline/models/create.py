"""Models by name, from arguments that a checkpoint can store as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from sightline._suggest import unknown
from sightline.models.classifiers.resnet import ResNet, resnet18, resnet20
from sightline.models.detectors.anchor import (
    AnchorDetector,
    AnchorMatching,
    AnchorObjective,
    Postprocess,
)
from sightline.models.trunk import LightTrunk

# Arguments of `AnchorDetector` whose fields are options by their own names.
_GROUPS = {"matching": AnchorMatching, "objective": AnchorObjective, "postprocess": Postprocess}


def _anchor_detector(trunk: Any, num_classes: int, **options: Any) -> AnchorDetector:
    """An `AnchorDetector` from plain options, as stored in a weights file."""
    groups = {}
    for name, group in _GROUPS.items():
        names = [field.name for field in fields(group) if field.name in options]
        groups[name] = group(**{name: options.pop(name) for name in names})
    return AnchorDetector(trunk, num_classes, **groups, **options)


def _light_detector(
    num_classes: int,
    *,
    in_channels: int = 3,
    widths: Sequence[int] = (16, 24, 48, 96, 160),
    blocks: Sequence[int] = (0, 0, 1, 1, 1),
    strides: Sequence[int] = (8, 16),
    **detector: Any,
) -> AnchorDetector:
    trunk = LightTrunk(in_channels, widths=widths, blocks=blocks)
    return _anchor_detector(
        trunk, num_classes, in_channels=in_channels, strides=strides, **detector
    )


def _resnet18_detector(
    num_classes: int, *, in_channels: int = 3, fpn_channels: int = 128, **detector: Any
) -> AnchorDetector:
    trunk = resnet18(0, in_channels=in_channels)
    return _anchor_detector(
        trunk, num_classes, in_channels=in_channels, fpn_channels=fpn_channels, **detector
    )


_MODELS: dict[str, Callable[..., ResNet | AnchorDetector]] = {
    "resnet18": resnet18,
    "resnet20": resnet20,
    "light_detector": _light_detector,
    "resnet18_detector": _resnet18_detector,
}


def list_models() -> list[str]:
    """Return the names that `create_model` knows, sorted."""
    return sorted(_MODELS)


def create_model(name: str, num_classes: int, **kwargs: Any) -> ResNet | AnchorDetector:
    """Build a model with new weights from torch's global generator.

    `resnet18` and `resnet20` classify; `light_detector` and `resnet18_detector` detect. `kwargs`
    are those of the function or of `AnchorDetector`, with the fields of its groups by their own
    names (`score_threshold=0.3`), and for `light_detector` also `widths` and `blocks` of
    `LightTrunk`. Raises ValueError for an unknown name, suggesting the nearest one, and
    TypeError for an unknown argument.

    >>> sum(p.numel() for p in create_model("resnet20", 10).parameters())
    269722
    """
    if name not in _MODELS:
        raise ValueError(unknown("model", name, list_models(), quoted=True))
    model = _MODELS[name](num_classes, **kwargs)
    # Stored in weights files, so that `sightline.load` can create the model again.
    model.created_with = {"name": name, "options": kwargs}  # type: ignore[assignment]
    return model
