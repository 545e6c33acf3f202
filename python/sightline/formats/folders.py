"""Folders of images, one per class, for classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np

from sightline._text import listed
from sightline.formats.paths import files_below, is_clutter
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size, is_image
from sightline.formats.records import DataError, Issue, LabelType, Record
from sightline.formats.source import Notes, Source, split_name

LOOKED_FOR = (
    "folders: one folder of images per class (two or more), at the root or in train/, val/, test/"
)
# Folders of the detection formats are not classes.
_NOT_CLASSES = ("images", "labels", "annotations", "jpegimages", "imagesets")

_FOLDER_OF_CVAT = "obj_*_data"  # of the pictures and labels of a split

Item = tuple[Path, Path, str]  # the image, the folder that its id is relative to, its class


def class_folders(folder: Path) -> list[Path]:
    """Return the folders that represent classes, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir()
        and not is_clutter(path.name)
        and path.name.lower() not in _NOT_CLASSES
        and not fnmatch(path.name.lower(), _FOLDER_OF_CVAT)
        and split_name(path.name) is None
    )


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders train, val, test (or valid and the like) that contain class folders."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and split_name(path.name)]
    return {str(split_name(path.name)): path for path in folders if class_folders(path)}


def has_class_folders(root: Path) -> bool:
    """Whether there are at least two class folders, with at least one image among them."""
    if not root.is_dir():
        return False
    places = list(split_folders(root).values()) or [root]
    return any(
        len(folders) >= 2 and any(_images_in(folder) for folder in folders)
        for folders in map(class_folders, places)
    )


def pictures_of_classes(root: Path) -> bool:
    """Whether two or more class folders have images, so that their names may be labels."""
    if not root.is_dir():
        return False
    places = list(split_folders(root).values()) or [root]
    folders = [folder for place in places for folder in class_folders(place)]
    return len([folder for folder in folders if any(map(is_image, folder.iterdir()))]) > 1


def open_folders(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open class folders. Classes are `class_names`, or the names of the folders, sorted.

    With splits, the classes are the folders of train, or otherwise of the first split.
    """
    if not has_class_folders(root):
        raise DataError(f"{root}: no class folders; looked for {LOOKED_FOR}")
    splits = split_folders(root)
    first = splits.get("train", next(iter(splits.values()), root))
    names = tuple(class_names or (path.name for path in class_folders(first)))
    notes = Notes()
    listers: dict[str, Callable[[], list[Item]]] = {
        split: partial(_list, folder, names, notes) for split, folder in splits.items()
    }
    label_of = {name: label for label, name in enumerate(names)}

    def load(item: Item) -> tuple[Record, list[Issue]]:
        image, folder, name = item
        width, height = image_size(image)
        image_id = image.relative_to(folder).as_posix()
        labels = np.array([label_of[name]], np.int64)
        return Record(image, image_id, width, height, labels=labels), []

    return Source(
        format="folder",
        label_type=LabelType.CLASS,
        class_names=names,
        splits=listers,
        pool=lambda: [
            item for place in (splits.values() or [root]) for item in _list(place, names, notes)
        ],
        load=load,
        notes=notes,
    )


def _list(folder: Path, names: Sequence[str], notes: Notes) -> list[Item]:
    items: list[Item] = []
    for path in class_folders(folder):
        if path.name not in names:
            raise DataError(
                f"{path}: unknown class {path.name!r}; the classes are {listed(names)}. "
                "Rename or remove the folder"
            )
        files = files_below(path)
        images = [file for file in files if is_image(file)]
        for file in files:
            if not is_image(file):
                rule = f"not an image format that is read ({' '.join(IMAGE_SUFFIXES)})"
                notes.add(file, None, "a file in a class folder", rule, "left out")
        if not images:
            raise DataError(
                f"{path}: class folder without images (looked for {' '.join(IMAGE_SUFFIXES)}); "
                "add images, or remove the folder"
            )
        items += [(image, folder, path.name) for image in images]
    return items


def _images_in(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if is_image(path)]
