"""What is changed at random in training images, and how strongly."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from sightline.formats.records import Annotations, LabelType

__all__ = ["Augment", "default_augment"]


@dataclass(frozen=True)
class Augment:
    """How strongly training images are changed; all zeros (`Augment.none()`) change nothing.

    `flip_h`, `flip_v` and `mosaic` are probabilities. `scale` is the range of the zoom, drawn
    uniformly in its logarithm. `translate` is the largest shift, as a share of the image's sides.
    `rotate` is the largest rotation in degrees; a box becomes the hull of its rotated corners,
    which is loose, so rotation is meant for classification. `brightness`, `contrast` and
    `saturation` are the largest deviation of a factor from 1, `hue` the largest rotation of the hue
    in degrees. A box is dropped when less than `min_visibility` of its area, or less than one pixel
    of a side, remains in the image.
    """

    flip_h: float = 0.5
    flip_v: float = 0.0
    scale: tuple[float, float] = (0.8, 1.25)
    translate: float = 0.1
    rotate: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 5.0
    mosaic: float = 0.0
    min_visibility: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(value) for value in self.scale))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"`scale` must be (low, high), 0 < low <= high, got {self.scale}")
        limits = {"rotate": 180.0, "hue": 180.0}
        for field in fields(self):
            if field.name == "scale":
                continue
            value, limit = getattr(self, field.name), limits.get(field.name, 1.0)
            if not 0 <= value <= limit:
                raise ValueError(f"`{field.name}` must lie in [0, {limit:g}], got {value!r}")

    @classmethod
    def none(cls) -> Augment:
        """Return the settings that change nothing."""
        zeros = {field.name: 0.0 for field in fields(cls) if field.name != "scale"}
        return cls(**zeros, scale=(1.0, 1.0))  # type: ignore[arg-type]


def default_augment(annotations: Annotations) -> Augment:
    """Return moderate settings, without mirroring where that changes the meaning (digits)."""
    flip = 0.5 if annotations.mirror_safe else 0.0
    if annotations.label_type is LabelType.CLASS:
        return Augment(flip_h=flip, scale=(0.9, 1.1), rotate=10.0)
    return Augment(flip_h=flip)
