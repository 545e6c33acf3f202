"""What is changed at random in training images, and how strongly."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from sightline.formats.records import Annotations, LabelType

__all__ = ["LEVELS", "Augment", "default_augment"]

# Of each level: unchanged and changed copies of an image, before they are mirrored.
_COPIES = (1, 1, 2, 4, 6, 8, 10)
LEVELS = len(_COPIES)
# The largest value of a setting, where it is not 1.
_LIMITS = {
    "rotate": 180.0,  # degrees
    "hue": 180.0,  # degrees
    "shear": 30.0,  # degrees; at 45 in both directions the image would become a line
    "perspective": 0.3,  # the part farthest away is then 1 / 1.6 of its size
    "crop": 0.99,
    "blur": 20.0,  # pixels
    "elastic": 0.2,
    "label_smoothing": 0.99,
}


@dataclass(frozen=True)
class Augment:
    """How strongly training images are changed; all zeros (`Augment.none()`) change nothing.

    Pixels are those of the network's input. `docs/augmentation.md` shows each setting.

    Probabilities: `flip_h`, `flip_v`, `grayscale`, `cutout` (a rectangle in the mean colour),
    `mosaic` (four images in the quarters around a point) and `mixup` (two images blended).

    Geometry: `scale` is the range of the zoom, drawn uniformly in its logarithm. `translate` is the
    largest shift, as a share of the image's sides. `rotate` and `shear` are the largest angles in
    degrees. `perspective` is the largest tilt: along each axis the magnification changes by up to
    this share between the centre and the border. `crop` is the largest share of the area that is
    cut away before the rest is stretched to the full size. `elastic` is the largest displacement of
    a smooth random field, as a share of the shorter side.

    Pixels: `brightness`, `contrast` and `saturation` are the largest deviation of a factor from 1,
    `hue` the largest rotation of the hue in degrees. `blur` is the largest standard deviation of a
    Gaussian blur in pixels, `noise` that of Gaussian noise as a share of the range of values.

    Labels: `label_smoothing` is the share of a class label that is spread over all classes. With
    it, `mosaic` or `mixup`, the targets of a set of classes are probabilities.

    A box is dropped when less than `min_visibility` of its area, or less than one pixel of a side,
    remains in the image; what `cutout` covers does not remain. A box that turns, or is bent,
    becomes the hull of its own outline, which is loose, unless the object has a polygon, mask or
    rotated box.

    `level`, 0 to 6, multiplies the training set instead of changing every image: level 0 is the set
    as it is, level 1 adds a mirrored copy of each image; levels 2 to 6 hold each image 2, 4, 6, 8
    or 10 times, once unchanged and otherwise changed by the settings above, and a mirrored copy of
    each of these. An epoch then has 1, 2, 4, 8, 12, 16 or 20 times as many images, half of that
    where mirroring changes the meaning. The changes are drawn anew in each epoch. `flip_h` and
    `flip_v` play no part, and `mosaic` and `mixup` must be 0.
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
    shear: float = 0.0
    perspective: float = 0.0
    crop: float = 0.0
    elastic: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    level: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(value) for value in self.scale))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"`scale` must be (low, high), 0 < low <= high, got {self.scale}")
        for name in _STRENGTHS:
            value, limit = getattr(self, name), _LIMITS.get(name, 1.0)
            if not isinstance(value, Real):
                raise TypeError(f"`{name}` must be a number, got {value!r}")
            if not 0 <= float(value) <= limit:
                raise ValueError(f"`{name}` must lie in [0, {limit:g}], got {value!r}")
        if self.level is None:
            return
        if self.level not in range(LEVELS):
            raise ValueError(f"`level` must be 0 to {LEVELS - 1} or None, got {self.level!r}")
        for name in ("mosaic", "mixup"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` must be 0 with `level`, whose images are copies of one each, "
                    f"got {getattr(self, name)!r}"
                )

    @classmethod
    def none(cls) -> Augment:
        """Return the settings that change nothing."""
        return cls(**dict.fromkeys(_STRENGTHS, 0.0), scale=(1.0, 1.0))  # type: ignore[arg-type]

    @property
    def soft_labels(self) -> bool:
        """Whether the targets of a set of classes are probabilities rather than numbers."""
        return max(self.label_smoothing, self.mosaic, self.mixup) > 0

    def copies(self, *, mirror: bool = True) -> tuple[int, int]:
        """Return how often an image occurs in an epoch: copies before mirroring, times 1 or 2.

        `mirror` says whether a mirrored image means the same.

        >>> [math.prod(Augment(level=level).copies()) for level in range(7)]
        [1, 2, 4, 8, 12, 16, 20]
        """
        if self.level is None:
            return 1, 1
        return _COPIES[self.level], 2 if self.level and mirror else 1


_STRENGTHS = tuple(item.name for item in fields(Augment) if item.name not in ("scale", "level"))


def default_augment(annotations: Annotations) -> Augment:
    """Return moderate settings, without mirroring where that changes the meaning (digits)."""
    flip = 0.5 if annotations.mirror_safe else 0.0
    if annotations.label_type is LabelType.CLASS:
        return Augment(flip_h=flip, scale=(0.9, 1.1), rotate=10.0)
    return Augment(flip_h=flip)
