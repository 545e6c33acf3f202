"""Folders of images, one per class, for classification: read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np

from sightline._text import counted, listed
from sightline.formats.losses import Losses, cleaned_names, note_class_list
from sightline.formats.new_folder import new_folder
from sightline.formats.paths import files_below, is_clutter
from sightline.formats.pictures import IMAGE_SUFFIXES, image_name, image_size, is_image
from sightline.formats.records import DataError, Issue, LabelType, Record
from sightline.formats.source import Notes, Source, split_name
from sightline.formats.writing import Sets, checked_sets, known_splits
from sightline.formats.written_pictures import WrittenPictures

LOOKED_FOR = (
    "folders: one folder of images per class (two or more), at the root or in train/, val/, test/"
)
# Folders of the detection formats are not classes.
_NOT_CLASSES = ("images", "labels", "annotations", "jpegimages", "imagesets", "image_2", "label_2")

_FOLDER_OF_CVAT = "obj_*_data"  # of the pictures and labels of a split

Item = tuple[Path, Path, str]  # the image, the folder that its id is relative to, its class


def class_folders(folder: Path) -> list[Path]:
    """Return the folders that represent classes, sorted by name."""
    here = folder.resolve()
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir()
        and _may_be_class(path.name)
        # A link to the folder, or to one above it, would be a class of the images of all others.
        and not (path.is_symlink() and here.is_relative_to(path.resolve()))
    )


def _may_be_class(name: str) -> bool:
    return not (
        is_clutter(name)
        or name.lower() in _NOT_CLASSES
        or fnmatch(name.lower(), _FOLDER_OF_CVAT)
        or split_name(name) is not None
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
    names = {folder.name for folder in folders if any(map(is_image, folder.iterdir()))}
    return len(names) > 1


def open_folders(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open class folders. Classes are `class_names`, or the names of the folders, sorted.

    With splits, the classes are the folders of train, or otherwise of the first split.
    """
    if not has_class_folders(root):
        raise DataError(f"{root}: no class folders; looked for {LOOKED_FOR}")
    splits = split_folders(root)
    first = splits.get("train", next(iter(splits.values()), root))
    names = tuple(class_names or (path.name for path in class_folders(first)))
    notes = notes or Notes()
    listers: dict[str, Callable[[], list[Item]]] = {
        split: partial(_list, folder, names, notes) for split, folder in splits.items()
    }
    label_of = {name: label for label, name in enumerate(names)}

    def load(item: Item) -> tuple[Record, list[Issue]]:
        image, folder, name = item
        width, height = image_size(image, max_pixels=None)
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
            notes.refuse(
                DataError(
                    f"{path}: unknown class {path.name!r}; the classes are {listed(names)}. "
                    "Rename or remove the folder"
                )
            )
            continue
        files = files_below(path)
        images = [file for file in files if is_image(file)]
        for file in files:
            if not is_image(file):
                rule = f"not an image format that is read ({' '.join(IMAGE_SUFFIXES)})"
                notes.add(file, None, "a file in a class folder", rule, "left out")
        if not images:
            notes.refuse(
                DataError(
                    f"{path}: class folder without images (looked for {' '.join(IMAGE_SUFFIXES)}); "
                    "add images, or remove the folder"
                )
            )
        items += [(image, folder, path.name) for image in images]
    return items


def _images_in(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if is_image(path)]


def write_folders(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as <split>/<class>/<image>; return what is lost, one sentence per kind.

    Of a set of boxes, an image belongs to the class of its objects; one without objects is left
    out.

    Args:
        sets: split -> its annotations; None for images of no split.
        folder: the new data set; it must not exist, or be empty.
        images: "copy" or "link".

    Raises:
        DataError: an image has objects of several classes or cannot be read, a class has no image
            in train, or the folder is in use.
        ValueError: the sets have different classes, or `images` is none of these.
    """
    if images == "none":
        raise ValueError("`images` must be copy or link: class folders consist of images")
    losses = Losses("a class folder")
    sets = known_splits(checked_sets(sets, losses), losses, rest=False)
    first = next(iter(sets.values()))
    why = "a name is that of a folder, and of none that formats give a meaning"
    names = cleaned_names(first.class_names, _folder_name, losses, why)
    _refuse_several_classes(sets)
    _refuse_classes_without_training_images(sets)
    note_class_list(sets, names, losses)
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses, has_pixels=False)
        for split, annotations in sets.items():
            place = new / split if split else new
            for record in annotations.records:
                _note_boxes(record, losses)
                if len(record.labels):
                    pictures.place(record, place / names[record.labels[0]], split)
                else:
                    why = "it has no class for them; left out"
                    losses.add("the files", "image without objects", 1, why)
    return losses.sentences()


def _folder_name(name: str) -> str:
    plain = name.replace("/", "_").replace("\\", "_")
    return plain if _may_be_class(plain) else f"class_{plain.lstrip('.')}"


def _refuse_several_classes(sets: Sets) -> None:
    several = [
        (record, annotations)
        for annotations in sets.values()
        for record in annotations.records
        if len(set(record.labels.tolist())) > 1
    ]
    if several:
        record, annotations = several[0]
        classes = listed([annotations.class_names[label] for label in set(record.labels.tolist())])
        name = image_name(record.image) if isinstance(record.image, Path) else record.image_id
        raise DataError(
            f"{counted(len(several), 'image')} {'has' if len(several) == 1 else 'have'} objects of "
            f"several classes, such as {name} "
            f"({classes}), but a class folder holds images of one class; choose another format"
        )


def _refuse_classes_without_training_images(sets: Sets) -> None:
    train = sets.get("train")
    if train is None or not len(train):
        return
    for split, data in sets.items():
        missing = (data.class_counts() > 0) & (train.class_counts() == 0)
        if missing.any():
            names = listed([data.class_names[label] for label in np.flatnonzero(missing)])
            raise DataError(
                f"{names}: there are images of it in {split}, but none in train, whose folders are "
                "the classes; move an image of each class to train, or choose another format"
            )


def _note_boxes(record: Record, losses: Losses) -> None:
    whole = [[0, 0, record.width, record.height]]
    if len(record.boxes) and record.boxes.tolist() != whole:
        why = "it holds the class of each image alone"
        losses.add("the boxes", "object", len(record.boxes), why)
