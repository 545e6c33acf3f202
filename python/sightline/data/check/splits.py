"""Checks the splits of a data set against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sightline._text import quoted
from sightline.data.check.duplicates import equal_images, similar_images
from sightline.data.check.findings import Finding, found
from sightline.data.check.gather import Gathered
from sightline.data.check.images import Images
from sightline.data.check.looks import differences
from sightline.data.check.pictures import Look

__all__ = ["Repeat", "check_looks", "check_repeats", "repeats_of", "surplus"]

_TRAINING = ("train", "trainval")


class Repeat(NamedTuple):
    """An image of a split that is, or looks like, an earlier one.

    Images are numbered as in `Images`; one that two splits list is the same number twice.
    `correlation` is that of images that look alike, None for the same file; `label_file` the second
    one of an image that is listed twice.
    """

    first: int
    first_split: str | None
    other: int
    other_split: str | None
    correlation: float | None = None
    label_file: Path | None = None

    @property
    def leaks(self) -> bool:
        """Whether they are in two splits."""
        return None not in (self.first_split, self.other_split) and (
            self.first_split != self.other_split
        )


def repeats_of(
    images: Images, looks: Sequence[Look], max_pixels: int | None
) -> tuple[list[Repeat], bool]:
    """Return the duplicate images, and whether the looks of all were compared."""
    split_of = images.split_of
    repeats = [
        Repeat(place, split_of(place), place, split, label_file=label)
        for place, split, label in images.again
    ]
    repeats += [
        Repeat(first, split_of(first), other, split_of(other))
        for first, other in equal_images(looks)
    ]
    similar, complete = similar_images(images.paths, looks, images.splits, max_pixels=max_pixels)
    repeats += [
        Repeat(first, split_of(first), other, split_of(other), value)
        for first, other, value in similar
    ]
    return repeats, complete


def surplus(images: Images, repeats: Sequence[Repeat]) -> dict[str | None, set[Path]]:
    """Return the images that each split can do without: of two splits, that for training."""
    found: dict[str | None, set[Path]] = {}
    for repeat in repeats:
        if not repeat.leaks and images.labels[repeat.first] != images.labels[repeat.other]:
            continue  # either class may be wrong
        if repeat.first == repeat.other and repeat.first_split == repeat.other_split:
            continue  # a copy takes the labels of the first file
        place, split = repeat.other, repeat.other_split
        if repeat.leaks and repeat.first_split in _TRAINING:
            place, split = repeat.first, repeat.first_split
        found.setdefault(split, set()).add(images.paths[place])
    return found


def check_repeats(
    data: Gathered, images: Images, repeats: Sequence[Repeat], *, complete: bool
) -> Iterator[Finding]:
    """Yield duplicate images; and, unless `complete`, that not all were compared."""
    if not complete:
        rule = "there are too many to compare the looks of every image with those of other splits"
        yield found("images not compared", data.root, None, "images", rule)
    for repeat in repeats:
        path, same = images.paths[repeat.other], images.paths[repeat.first]
        what = f"image of {repeat.other_split}"
        if repeat.first == repeat.other and not repeat.leaks:
            rule = f"the label files {images.places[repeat.first]} and {repeat.label_file} name it"
            yield found("same image twice", path, None, "image", rule)
        elif repeat.first == repeat.other:
            rule = f"it is in {repeat.first_split} and in {repeat.other_split}"
            yield found("same image in two splits", path, None, f"image {quoted(path.name)}", rule)
        elif repeat.correlation is not None:
            rule = (
                f"it looks like {same} of {repeat.first_split} (correlation "
                f"{repeat.correlation:.3f} at 48 x 48 pixels)"
            )
            yield found("similar images in two splits", path, None, what, rule)
        elif repeat.leaks:
            rule = f"the same file as {same} of {repeat.first_split}"
            yield found("same image in two splits", path, None, what, rule)
        else:
            yield _same_twice(data, images, repeat)


def _same_twice(data: Gathered, images: Images, repeat: Repeat) -> Finding:
    path, rule = images.paths[repeat.other], f"the same file as {images.paths[repeat.first]}"
    labels = int(images.labels[repeat.first]), int(images.labels[repeat.other])
    if labels[0] != labels[1]:
        names = data.source.class_names
        rule += f", which is {quoted(names[labels[0]])}"
        what = f"image of {quoted(names[labels[1]])}"
        return found("same image with two classes", path, None, what, rule)
    if not images.names:
        rule += "; a random split may put one into train and the other into val"
    return found("same image twice", path, None, "image", rule)


def check_looks(data: Gathered, images: Images, looks: Sequence[Look]) -> Iterator[Finding]:
    """Yield splits whose images do not look like those of train."""
    training = next((name for name in _TRAINING if name in images.names), None)
    features = [look.features for look in looks]
    has = np.array([values is not None for values in features], bool)

    def of_split(name: str) -> np.ndarray:
        rows = np.flatnonzero(has & (images.splits == images.names.index(name)))
        return np.array([features[row] for row in rows])

    for name in images.names if training is not None else ():
        if name == training or training is None:
            continue
        said = [
            f"{it.feature} (median {it.train:.4g} in {training} and {it.other:.4g} in {name}, "
            f"Kolmogorov-Smirnov distance {it.distance:.2f})"
            for it in differences(of_split(training), of_split(name))
        ]
        if said:
            rule = f"its images differ from those of {training} in {'; '.join(said)}"
            yield found("split looks different", data.root, None, f"split {quoted(name)}", rule)
