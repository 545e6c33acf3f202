"""Information on each image of a batch, besides its pixels and its target."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.data.preprocess import Transform

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """One image of a batch: its identity, and its mapping to the network's input.

    Attributes:
        index: its index in the `records` of the annotations.
        image_id: the id of its record.
        size: (height, width) of the original image in pixels.
        transform: from its pixels to network pixels, for `Preprocess.to_original`, without
            augmentation.
        replaces: where it is used instead of an image that cannot be read, what is wrong with that.
    """

    index: int
    image_id: str | int
    size: tuple[int, int]
    transform: Transform
    replaces: str = ""
