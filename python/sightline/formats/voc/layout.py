"""Where a VOC data set keeps its label files, images and splits, by the names of folders.

Known are the layouts of the VOC devkit, labelImg, CVAT, Roboflow and VoTT, and label files beside
their images or in a folder of any name beside that of the images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline._text import counted
from sightline.formats.paths import files_below, files_in, folders_in, subfolder
from sightline.formats.pictures import IMAGE_SUFFIXES, is_image
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name
from sightline.formats.text import read_lines
from sightline.formats.xml_file import parse_xml

__all__ = ["LOOKED_FOR", "Layout", "has_nested_xml", "has_xml", "listed_classes", "read_layout"]

LOOKED_FOR = (
    "VOC: *.xml in Annotations/ (images in JPEGImages/ or images/), in a folder beside that of "
    "their images, or beside their images; also in train/, val/, test/"
)
_XML_FOLDERS = ("annotations", "labels")  # also in upper case
_IMAGE_FOLDERS = ("jpegimages", "images")
_CLASS_FILES = ("classes.txt", "predefined_classes.txt", "labels.txt", "labelmap.txt")


@dataclass(frozen=True)
class Place:
    """A folder of label files, the folders of their images, and the split that they are of."""

    labels: Path
    images: tuple[Path, ...]
    split: str | None = None
    deep: bool = True  # whether the label files may be in folders below
    usual: bool = True  # whether its name says that its xml files are label files

    def label_files(self) -> list[Path]:
        if not self.deep:
            return files_in(self.labels, ".xml")
        return [path for path in files_below(self.labels) if path.suffix.lower() == ".xml"]


@dataclass(frozen=True)
class Layout:
    """The label files of a data set, and where their images are.

    `ids` maps each label file to the id of its image: its path below its folder, without the
    suffix. `splits` has the label files of each split that the names of folders tell.
    """

    ids: dict[Path, str]
    splits: dict[str, list[Path]]
    image_folders: list[Path]
    images: dict[Path, Mapping[str, Path]]  # of each label file: the images of its place, by name

    def image_of(self, label: Path, stated: str) -> Path | None:
        """Return the image with the name of a label file, otherwise that of its <filename>."""
        images, inside = self.images[label], self.ids[label]
        stated = stated.replace("\\", "/")
        last = stated.rpartition("/")[2]
        stem = last.rpartition(".")[0]
        names = [*_ends(inside), *_ends(stated), stem]
        if stem == label.stem:  # it has the suffix, too
            names = [*_ends(f"{inside.rpartition('/')[0]}/{last}"), *names]
        return next((images[name] for name in names if name in images), None)


def _ends(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def has_xml(root: Path) -> bool:
    """Whether label files are where tools put them: in usual folders, or in any right below."""
    return bool(_usual_places(root)) or any(
        any(map(_is_label, files_in(folder, ".xml")[:1])) for folder in folders_in(root)
    )


def has_nested_xml(root: Path) -> bool:
    """Whether there is a label file in any folder below, however deep."""
    return root.is_dir() and any(
        path.suffix.lower() == ".xml" and _is_label(path) for path in files_below(root)
    )


def _is_label(path: Path) -> bool:
    try:
        return parse_xml(path).tag == "annotation"
    except DataError:
        return False


def _usual_places(root: Path) -> list[Place]:
    """The place of the whole set, otherwise those of its splits."""
    whole = _place(root)
    if whole is not None:
        return [whole]
    splits = [(path, split_name(path.name)) for path in folders_in(root)]
    places = [_place(path, split) for path, split in splits if split is not None]
    return [place for place in places if place is not None]


def _place(root: Path, split: str | None = None) -> Place | None:
    images = tuple(folder for name in _IMAGE_FOLDERS if (folder := subfolder(root, name)).is_dir())
    for name in _XML_FOLDERS:
        labels = subfolder(root, name)
        place = Place(labels, (*images, root, labels), split)
        if place.labels.is_dir() and place.label_files():
            return place
    return Place(root, (*images, root), split, deep=False) if files_in(root, ".xml") else None


def read_layout(root: Path, notes: Notes) -> Layout:
    """Return the label files of a data set and their images; what is left out goes to `notes`.

    Raises DataError where there is no label file.
    """
    every = [path for path in files_below(root) if path.suffix.lower() == ".xml"]
    places = _usual_places(root)
    if not places:  # any xml there may be something else
        found = [path for path in every if _is_label(path)]
        if not found:
            raise DataError(f"{root}: no VOC label files; looked for {LOOKED_FOR}")
        places = [
            Place(Path(os.path.commonpath([path.parent for path in found])), (root,), usual=False)
        ]
    ids: dict[Path, str] = {}
    splits: dict[str, list[Path]] = {}
    images: dict[Path, Mapping[str, Path]] = {}
    for place in places:
        labels = [path for path in place.label_files() if place.usual or _is_label(path)]
        by_name = _images_by_name(place, root, labels, notes)
        for path in labels:
            inside = path.relative_to(place.labels)
            ids[path] = inside.with_suffix("").as_posix()
            images[path] = by_name
            split = place.split or next(filter(None, map(split_name, inside.parts[:-1])), None)
            if split is not None:
                splits.setdefault(split, []).append(path)
    in_split = {path for paths in splits.values() for path in paths}
    for path in every:
        if path not in ids:
            rule = "it is outside the folders of label files, or no readable <annotation>"
            notes.add(path, None, "an xml file", rule, "not read")
        elif splits and path not in in_split:
            rule = "it is outside the folders of the splits"
            notes.add(path, None, "a label file", rule, "in no split")
    folders = dict.fromkeys(folder for place in places for folder in place.images)
    return Layout(ids, splits, [*folders], images)


def _images_by_name(
    place: Place, root: Path, labels: list[Path], notes: Notes
) -> Mapping[str, Path]:
    """The images of a place by the ends of their paths, with and without suffix.

    An end that several images of one folder have names none of them.
    """
    stems = {path.stem for path in labels}
    found: dict[str, Path] = {}
    unlabelled = []
    for folder in place.images:
        below = place.deep and (folder != root or len(place.images) == 1)
        files = files_below(folder) if below else files_in(folder, *IMAGE_SUFFIXES)
        images = [path for path in files if is_image(path)]
        if any(path.stem in stems for path in images):
            unlabelled += [path for path in images if path.stem not in stems]
        of_name: dict[str, list[Path]] = {}
        for path in images:
            parts = path.relative_to(folder).parts
            for start in range(len(parts)):
                end = Path(*parts[start:])
                of_name.setdefault(end.as_posix(), []).append(path)
                of_name.setdefault(end.with_suffix("").as_posix(), []).append(path)
        for name, paths in of_name.items():
            if len({path.parent for path in paths}) == 1:
                found.setdefault(name, paths[0])
    if unlabelled:
        count = counted(len(unlabelled), "image")
        what = f"{count} without a label file, such as {unlabelled[0].name}"
        rule = "only an xml without <object> marks an image without objects"
        notes.add(place.labels, None, what, rule, "left out")
    return found


def listed_classes(root: Path) -> list[str] | None:
    """Return the classes that a file at the root lists; None without one."""
    for name in _CLASS_FILES:
        if (root / name).is_file():
            lines = [line for _, line in read_lines(root / name)]
            if name != "labelmap.txt":
                return lines
            # Of CVAT: a comment, then `label:color:parts:actions`, also for the background.
            names = [line.split(":")[0].strip() for line in lines if not line.startswith("#")]
            return [name for name in names if name and name != "background"]
    return None
