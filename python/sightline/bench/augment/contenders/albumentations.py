"""albumentations, in one Compose."""

import albumentations as A
import cv2
import numpy as np

from ..programs import MEAN, STD, WIDTH, Change, Library, Strengths


class Albumentations(Library):
    def versions(self) -> str:
        return A.__version__

    def set_threads(self, threads: int) -> None:
        cv2.setNumThreads(threads)

    def flip(self) -> Change:
        return _change([A.HorizontalFlip(p=1)], 0.0)

    def change(self, strengths: Strengths) -> Change:
        shift = strengths.translate
        steps = [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=strengths.scale,
                translate_percent=(-shift, shift),
                rotate=(-strengths.rotate, strengths.rotate),
                shear=(-strengths.shear, strengths.shear),
                p=1,
            ),
            A.ColorJitter(
                brightness=strengths.colour,
                contrast=strengths.colour,
                saturation=strengths.colour,
                hue=strengths.hue / 360,
                p=1,
            ),
        ]
        if strengths.elastic:
            # Its field is noise in -1 to 1, smoothed over `sigma` pixels and multiplied by `alpha`.
            steps.append(A.ElasticTransform(alpha=strengths.elastic * WIDTH * 10, sigma=32, p=1))
        return _change(steps, strengths.min_visibility)


def _change(steps: list, min_visibility: float) -> Change:
    compose = A.Compose(
        [*steps, A.Normalize(MEAN, STD)],
        bbox_params=A.BboxParams(
            "pascal_voc", label_fields=["labels"], min_visibility=min_visibility
        ),
        seed=0,
    )

    def change(image, boxes, labels):
        found = compose(image=image, bboxes=boxes, labels=labels)
        pixels = np.ascontiguousarray(found["image"].transpose(2, 0, 1))  # as networks take them
        return pixels, found["bboxes"], found["labels"]

    return change


LIBRARY = Albumentations()
