"""Checks each image of a data set alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted
from sightline.data.check.findings import Finding, found
from sightline.data.check.gather import Gathered
from sightline.data.check.messages import finding_of_error
from sightline.data.check.pictures import Look, look_at_all
from sightline.formats.records import DataError, LabelType

__all__ = ["Images", "check_images", "images_of"]

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, eq=False)
class Images:
    """Every image file of a set once, in the order of the splits.

    `places` [M] are the label files, `stated` [M, 2] the sizes by the labels, `splits` [M] the
    numbers of their splits in `names` (those of no split are -1), `labels` [M] the class of each
    where images have one. `again` has the images that a further split or label file names: the
    image, the split and the label file.
    """

    names: tuple[str, ...]
    paths: list[Path]
    places: list[Path]
    stated: NDArray[np.int64]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    again: list[tuple[int, str | None, Path]]

    def split_of(self, place: int) -> str | None:
        """Return the name of the split of an image."""
        number = int(self.splits[place])
        return self.names[number] if number >= 0 else None


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
                again.append((place_of_image[image], split, part.label_files[row] or image))
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
