"""Checks the images of a data set: each alone, and those of its splits against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline._text import listed, quoted
from sightline.data.check.duplicates import equal_images, similar_images
from sightline.data.check.findings import Finding, found
from sightline.data.check.gather import Gathered
from sightline.data.check.looks import differences
from sightline.data.check.messages import finding_of_error
from sightline.data.check.pictures import Look, look_at_all
from sightline.formats.records import DataError, LabelType

__all__ = ["Images", "check_images", "check_splits", "images_of"]

_TRAINING = ("train", "trainval")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, eq=False)
class Images:
    """Every image file of a set once, in the order of the splits.

    `places` [M] are the label files, `stated` [M, 2] the sizes by the labels, `splits` [M] the
    numbers of their splits in `names` (those of no split are -1), `labels` [M] the class of each
    where images have one. `again` has the images that are in a further split. `surplus` gets from
    `check_splits`, for each split, the images that a clean copy leaves out.
    """

    names: tuple[str, ...]
    paths: list[Path]
    places: list[Path]
    stated: NDArray[np.int64]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    again: list[tuple[int, str]]
    surplus: dict[str | None, set[Path]] = field(default_factory=dict)


def images_of(data: Gathered) -> Images:
    """Return the images of a data set."""
    names = tuple(str(name) for name in data.parts if name is not None)
    by_class = data.source.label_type == LabelType.CLASS
    place_of_image: dict[Path, int] = {}
    places: list[Path] = []
    splits: list[int] = []
    stated, labels, again = [], [], []
    for split, part in data.parts.items():
        table = part.labelled.table
        for row in range(len(table)):
            image = table.image(row)
            if not isinstance(image, Path):
                continue
            if image in place_of_image:
                if split is not None and names[splits[place_of_image[image]]] != split:
                    again.append((place_of_image[image], split))
                continue
            place_of_image[image] = len(place_of_image)
            places.append(part.label_files[row] or image)
            stated.append(table.sizes[row])
            splits.append(names.index(split) if split is not None else -1)
            labels.append(int(table.labels[row][0]) if by_class else -1)
    return Images(
        names,
        [*place_of_image],
        places,
        np.array(stated, np.int64).reshape(-1, 2),
        np.array(splits, np.int64),
        np.array(labels, np.int64),
        again,
    )


def check_images(
    data: Gathered, images: Images, *, decode: bool, max_pixels: int | None
) -> tuple[list[Look], list[Finding]]:
    """Return the look of each image, and what is wrong with it alone."""
    looks: list[Look] = []
    findings = []
    for look in look_at_all(images.paths, decode=decode, max_pixels=max_pixels):
        place = len(looks)
        looks.append(look)
        finding = _fault(data, images, place, look)
        if finding is not None:
            findings.append(finding)
    return looks, findings


def _fault(data: Gathered, images: Images, place: int, look: Look) -> Finding | None:
    path, label = images.paths[place], images.places[place]
    if look.error:
        if not path.is_file():
            if path.name in data.missing:
                return None  # the reader has said so
            return found("missing image", label, None, f"image {quoted(path.name)}", f"no {path}")
        return finding_of_error(DataError(look.error))
    stated = tuple(images.stated[place].tolist())
    if not look.fits(stated):
        rule = (
            f"the label file says {stated[0]} x {stated[1]}, but the image has "
            f"{look.shown[0]} x {look.shown[1]} pixels"
        )
        return found("image of another size", label, None, f"image {quoted(path.name)}", rule)
    if look.turn == 1:
        return None
    turned = f"EXIF orientation {look.turn}"
    if data.source.label_type == LabelType.CLASS:
        return found("rotation by EXIF", path, None, "image", turned)
    if stated != look.shown:
        rule = f"{turned}, but the size in its label file is that without it, which is used"
    elif look.turn in _TURNED and look.shown != look.stored and data.source.format != "yolo":
        return found("rotation by EXIF", path, None, "image", f"{turned}, as in its label file")
    else:
        rule = f"{turned}, and its label file does not tell whether it was made with it"
    return found("rotated image", path, None, "image", rule)


def check_splits(
    data: Gathered, images: Images, looks: list[Look], *, max_pixels: int | None
) -> Iterator[Finding]:
    """Yield images that are there twice, and splits that look different from train."""
    for place, split in images.again:
        other = images.names[images.splits[place]]
        what, rule = f"image {quoted(images.paths[place].name)}", f"it is in {other} and in {split}"
        loser = split if split in _TRAINING else other
        images.surplus.setdefault(loser, set()).add(images.paths[place])
        yield found("same image in two splits", images.paths[place], None, what, rule)
    for first, other in equal_images(looks):
        yield _equal(data, images, first, other)
    pairs = similar_images(images.paths, looks, images.splits, max_pixels=max_pixels)
    for first, other, value in pairs:
        rule = (
            f"it looks like {images.paths[first]} of {_split(images, first)} (correlation "
            f"{value:.3f} at 48 x 48 pixels)"
        )
        what = f"image of {_split(images, other)}"
        _leave_out_one(images, first, other)
        yield found("similar images in two splits", images.paths[other], None, what, rule)
    yield from _looks(data, images, looks)


def _split(images: Images, place: int) -> str:
    number = int(images.splits[place])
    return images.names[number] if number >= 0 else "no split"


def _leave_out_one(images: Images, first: int, other: int) -> None:
    """Mark one of two images as surplus: that of training, otherwise the second."""
    place = first if _split(images, first) in _TRAINING else other
    if images.splits[first] == images.splits[other]:
        place = other
    number = int(images.splits[place])
    split = images.names[number] if number >= 0 else None
    images.surplus.setdefault(split, set()).add(images.paths[place])


def _equal(data: Gathered, images: Images, first: int, other: int) -> Finding:
    path, same = images.paths[other], images.paths[first]
    splits = images.splits[first], images.splits[other]
    rule = f"the same file as {same}"
    if splits[0] != splits[1] and min(splits) >= 0:
        what = f"image of {_split(images, other)}"
        rule += f" of {_split(images, first)}"
        _leave_out_one(images, first, other)
        return found("same image in two splits", path, None, what, rule)
    if images.labels[first] != images.labels[other]:
        names = data.source.class_names
        rule += f", which is {quoted(names[images.labels[first]])}"
        what = f"image of {quoted(names[images.labels[other]])}"
        return found("same image with two classes", path, None, what, rule)
    if not images.names:
        rule += "; a random split may put one into train and the other into val"
    _leave_out_one(images, first, other)
    return found("same image twice", path, None, "image", rule)


def _looks(data: Gathered, images: Images, looks: list[Look]) -> Iterator[Finding]:
    training = next((name for name in _TRAINING if name in images.names), None)
    if training is None:
        return
    features = [look.features for look in looks]
    has = np.array([values is not None for values in features], bool)
    train = has & (images.splits == images.names.index(training))
    for number, name in enumerate(images.names):
        other = has & (images.splits == number)
        if name == training or not other.any() or not train.any():
            continue
        of_train, of_other = (
            np.array([features[row] for row in np.flatnonzero(chosen)]) for chosen in (train, other)
        )
        said = [
            f"{it.feature} (median {it.train:.4g} in train and {it.other:.4g} in {name}, "
            f"Kolmogorov-Smirnov distance {it.distance:.2f})"
            for it in differences(of_train, of_other)
        ]
        if said:
            rule = f"its images differ from those of train in {'; '.join(said)}"
            yield found("split looks different", data.root, None, f"split {listed([name])}", rule)
