"""scikit-learn's 1,797 scanned digits of 8 x 8 pixels: a classification set without files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.splits import stratified_split
from sightline.formats.records import Annotations, LabelType, Record

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
_INK_LEVELS = 16  # load_digits counts ink in 0 ... 16


def sklearn_datasets() -> Any:
    """Return sklearn.datasets, or raise ImportError that says how to install it."""
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError(
            "the embedded digits need scikit-learn: pip install 'sightline[demo]'"
        ) from error
    return sklearn.datasets


def digit_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the digits as uint8 [1797, 8, 8], ink 255 on 0, and their values, int64 [1797]."""
    bunch = sklearn_datasets().load_digits()
    images = np.rint(bunch.images * (255 / _INK_LEVELS)).astype(np.uint8)
    return images, bunch.target.astype(np.int64)


def load_digits_classification(seed: int = 0) -> tuple[Annotations, Annotations]:
    """Return (train, val): the digits, split 80/20 at random by `seed`, stratified by class.

    Images are uint8 [8, 8, 1]; image ids are the digits' indices in scikit-learn's set.

    >>> train, val = load_digits_classification()
    >>> len(train), len(val), train.records[0].image.shape
    (1438, 359, (8, 8, 1))
    """
    images, labels = digit_images()
    halves = stratified_split(labels, seed=seed)
    return tuple(  # type: ignore[return-value]
        Annotations(
            label_type=LabelType.CLASS,
            class_names=DIGIT_NAMES,
            records=tuple(
                Record(images[i][:, :, None], int(i), 8, 8, labels=labels[i : i + 1])
                for i in indices
            ),
            source="digits",
            format="embedded",
            split=split,
            split_rule=f"{share} % of all images, stratified, seed {seed}",
            mirror_safe=False,
        )
        for indices, split, share in zip(halves, ("train", "val"), (80, 20), strict=True)
    )
