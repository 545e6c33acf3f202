"""Ours, as a loader of training images calls it."""

import numpy as np

from sightline import __version__
from sightline.data import Augment
from sightline.data.augment import draw_change

from ..programs import MEAN, STD, Change, Library, Strengths


class Sightline(Library):
    def versions(self) -> str:
        return __version__

    def set_threads(self, threads: int) -> None:
        """Nothing to do: one image takes one thread."""

    def flip(self) -> Change:
        return _change(Augment(**{**vars(Augment.none()), "flip_h": 1.0}))

    def change(self, strengths: Strengths) -> Change:
        return _change(
            Augment(
                flip_h=0.5,
                scale=strengths.scale,
                translate=strengths.translate,
                rotate=strengths.rotate,
                shear=strengths.shear,
                brightness=strengths.colour,
                contrast=strengths.colour,
                saturation=strengths.colour,
                hue=strengths.hue,
                elastic=strengths.elastic,
                min_visibility=strengths.min_visibility,
            )
        )


def _change(augment: Augment) -> Change:
    seeds = np.random.SeedSequence(0)
    fill = [255 * value for value in MEAN]

    def change(image, boxes, labels):
        rng = np.random.default_rng(seeds.spawn(1)[0])
        size = image.shape[:2]
        drawn = draw_change(augment, size, size, rng, fill=fill)
        kept, rows = drawn.boxes(boxes)
        return drawn.image(image, MEAN, STD), kept, labels[rows]

    return change


LIBRARY = Sightline()
