"""What a loader says of each picture of a batch, beside its pixels and its target."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.data.preprocess import Transform

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """One picture of a batch: which it is, and how its pixels lie in the network's input.

    Attributes:
        index: its place in the annotations' `records`.
        image_id: that of its record.
        size: (height, width) of the picture as it was, in pixels.
        transform: from its pixels to network pixels, as `Preprocess.to_original` takes it back;
            what augmentation changed is not in it.
    """

    index: int
    image_id: str | int
    size: tuple[int, int]
    transform: Transform
