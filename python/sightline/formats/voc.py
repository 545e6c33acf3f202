"""Pascal VOC XML, as written by labelImg and the VOC devkit.

Coordinates are used as written: a box is (xmin, ymin, xmax, ymax) in continuous pixels, with width
xmax - xmin. The VOC devkit counts pixels from 1 and includes both ends, and labelImg has written
both conventions; a file does not say which, so no shift is applied. A box with xmin = xmax has no
area and is a bad label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.formats.lists import read_list
from sightline.formats.paths import files_in, is_clutter, is_file, lies_inside, shortened_path
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size, is_image
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Notes, Source, split_name
from sightline.formats.text import number, read_lines, truth, whole_number
from sightline.formats.xml_file import element_lines, parse_xml

LOOKED_FOR = (
    "VOC: *.xml in Annotations/ (images in JPEGImages/ or images/) or another folder, or beside "
    "their images, at the root or in train/, val/, test/"
)
_XML_FOLDERS = ("Annotations", "annotations", "labels", ".")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", ".")
_CLASS_FILES = ("classes.txt", "predefined_classes.txt", "labels.txt")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_PRESENT = ("-1", "0", "1")  # what the devkit's lists of one class add to a name

Item = tuple[Path, str | None]  # the label file, and the place where it is listed


@dataclass(frozen=True)
class _Place:
    """A folder of label files, and the images that they may be of."""

    labels: Path
    label_of_stem: dict[str, Path]
    image_folders: list[Path]
    images: dict[str, Path]  # by stem and by name


def label_folders(root: Path) -> dict[str, Path]:
    """Return the folders of label files by split, or the only one by ""; none without any."""
    if not root.is_dir():
        return {}
    named = _named_folder(root)
    if named is not None:
        return {"": named}
    children = [path for path in sorted(root.iterdir()) if path.is_dir()]
    splits = {split_name(path.name): _named_folder(path) for path in children}
    found = {split: path for split, path in splits.items() if split and path}
    if found:
        return found
    others = [path for path in children if not is_clutter(path.name) and _holds_labels(path)]
    return {"": others[0]} if len(others) == 1 else {}


def _named_folder(root: Path) -> Path | None:
    folders = (root / name for name in _XML_FOLDERS)
    return next((folder for folder in folders if files_in(folder, ".xml")), None)


def _holds_labels(folder: Path) -> bool:
    found = files_in(folder, ".xml")
    try:
        return bool(found) and parse_xml(found[0]).tag == "annotation"
    except DataError:
        return False


def open_voc(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a VOC data set.

    The classes are `class_names`, or those of classes.txt at the root (with either, any other name
    is an unknown class), or all names in the XML files, sorted. Official splits are
    ImageSets/Main/{train,val,test,trainval}.txt, with one image name per line, with or without its
    folder and suffix; or the folders train/, val/, test/. An image without a label file is left
    out, with a note in the issues: it may contain objects that are not labelled.
    """
    folders = label_folders(root)
    if not folders:
        raise DataError(f"{root}: no VOC label files; looked for {LOOKED_FOR}")
    notes = Notes()
    places = {split: _place(labels, root, notes) for split, labels in folders.items()}
    label_files = [path for place in places.values() for path in place.label_of_stem.values()]
    names = class_names or _listed_classes(root)
    if names is None:
        names = sorted({name for path in label_files for name in _names_in(path)})
    splits: dict[str, Callable[[], list[Item]]]
    if "" in places:
        splits = _listed_splits(root, places[""], notes)
    else:
        splits = {split: partial(_all_of, [place]) for split, place in places.items()}
    return Source(
        format="voc",
        label_type=LabelType.BOXES,
        class_names=tuple(names),
        splits=splits,
        pool=partial(_all_of, list(places.values())),
        load=_loader(
            {place.labels: place for place in places.values()},
            {name: index for index, name in enumerate(names)},
            notes,
        ),
        notes=notes,
    )


def _place(labels: Path, root: Path, notes: Notes) -> _Place:
    """The labels of a folder, and the images in all folders where such sets keep them."""
    label_of_stem = {path.stem: path for path in files_in(labels, ".xml")}
    base = labels if labels == root or split_name(labels.name) else labels.parent
    siblings = [path for path in sorted(base.iterdir()) if path.is_dir() and base != labels]
    siblings = [path for path in siblings if not (is_clutter(path.name) or split_name(path.name))]
    named = [base / name for name in _IMAGE_FOLDERS]
    image_folders = [*dict.fromkeys([*named, labels, *siblings])]
    images: dict[str, Path] = {}
    unlabelled = []
    for folder in image_folders:
        found = [path for path in files_in(folder, *IMAGE_SUFFIXES) if is_image(path)]
        if any(path.stem in label_of_stem for path in found):
            unlabelled += [path for path in found if path.stem not in label_of_stem]
        for path in found:
            images.setdefault(path.stem, path)
            images.setdefault(path.name, path)
    if unlabelled:
        what = f"{len(unlabelled)} image(s) without a label file, such as {unlabelled[0].name}"
        rule = "only an xml without <object> marks an image without objects"
        notes.add(labels, None, what, rule, "left out")
    return _Place(labels, label_of_stem, image_folders, images)


def _all_of(places: list[_Place]) -> list[Item]:
    return [(path, None) for place in places for path in place.label_of_stem.values()]


def _listed_splits(root: Path, place: _Place, notes: Notes) -> dict[str, Callable[[], list[Item]]]:
    lists = files_in(root / "ImageSets" / "Main", ".txt")
    splits: dict[str, Callable[[], list[Item]]] = {
        split_name(path.stem) or path.stem: partial(
            _read_list, path, place.labels, place.label_of_stem, notes
        )
        for path in lists
        if split_name(path.stem) or not path.stem.endswith(("_train", "_val", "_trainval", "_test"))
    }
    # CVAT lists all images in default.txt where its user has made no subsets.
    return {} if [*splits] == ["default"] else splits


def _listed_classes(root: Path) -> list[str] | None:
    for name in _CLASS_FILES:
        if (root / name).is_file():
            return [line for _, line in read_lines(root / name)]
    return None


def _names_in(path: Path) -> list[str]:
    found = parse_xml(path).findall("object/name")
    return [name.text.strip() for name in found if name.text and name.text.strip()]


def _read_list(
    path: Path, labels: Path, label_of_stem: dict[str, Path], notes: Notes
) -> list[Item]:
    """Return each listed label file, and the place where it is listed."""

    def find(line: str, _: int) -> tuple[Path, str]:
        present = line.split()[-1]
        for words in (line, line[: -len(present)].rstrip() if present in _PRESENT else line):
            last = words.replace("\\", "/").rpartition("/")[2]
            stem, dot, suffix = last.rpartition(".")
            if last not in label_of_stem and f"{dot}{suffix}".lower() in (*IMAGE_SUFFIXES, ".xml"):
                last = stem
            if last in label_of_stem:
                return label_of_stem[last], last
        return labels / f"{line}.xml", line

    shown = partial(shortened_path, inside=lies_inside(path, labels.parent))
    return [
        (label, f"{path}:{number}: lists {shown(name)}")
        for number, (label, name) in read_list(path, find, notes)
    ]


def _loader(
    place_of: dict[Path, _Place], label_of: dict[str, int], notes: Notes
) -> Callable[[Any], tuple[Record, list[Issue]]]:
    def load(item: Item) -> tuple[Record, list[Issue]]:
        path, listed_at = item
        if not is_file(path):
            raise DataError(
                f"{listed_at}, but there is no such label file in {path.parent}; "
                "remove the line, or add the label file (one without objects is legal)"
            )
        root = parse_xml(path, notes)
        stated = (root.findtext("filename") or "").strip()
        images = place_of[path.parent].images
        image = images.get(path.stem) or images.get(stated) or images.get(Path(stated).stem)
        if image is None:
            searched = ", ".join(str(folder) for folder in place_of[path.parent].image_folders)
            raise DataError(
                f"{path}: no image named {path.stem} or {quoted(stated)} in {searched}; "
                "add the image, or remove the label file"
            )
        width, height = _stated_size(root) or image_size(image)
        if image.stat().st_size == 0:
            raise DataError(f"{image}: the image file is empty; replace it, or remove its label")
        boxes, labels, difficult, issues = [], [], [], []
        for place, element in enumerate(root.findall("object")):
            name = (element.findtext("name") or "").strip()
            box, rule = _corners(element)
            if rule is None and box is not None:
                rule = box_rule(box, width, height)
            flag = truth(element.findtext("difficult"))
            if flag is None:
                rule = f"<difficult> must be 0 or 1, got {quoted(element.findtext('difficult'))}"
            if name not in label_of:
                rule = f"unknown class {quoted(name)}; the classes are {listed([*label_of])}"
            if rule is not None:
                line = element_lines(path, "object")[place]
                issues.append(Issue(path, line, f"object {place + 1} ({shortened(name)})", rule))
                continue
            boxes.append(box)
            labels.append(label_of[name])
            difficult.append(flag)
        record = Record(
            image,
            path.stem,
            width,
            height,
            labels=np.array(labels, np.int64),
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            difficult=np.array(difficult, bool),
        )
        return record, issues

    return load


def _stated_size(root: Element) -> tuple[int, int] | None:
    """Return the <size> of a label file; None where it is none (zeros, -1, null)."""
    width = whole_number(root.findtext("size/width")) or 0
    height = whole_number(root.findtext("size/height")) or 0
    return (width, height) if width > 0 and height > 0 else None


def _corners(element: Element) -> tuple[list[float] | None, str | None]:
    box = []
    for name in _CORNERS:
        text = element.findtext(f"bndbox/{name}")
        if text is None:
            return None, f"<bndbox> must hold <{name}>"
        value = number(text)
        if value is None:
            return None, f"<{name}> must be a number, got {quoted(text)}"
        box.append(value)
    return box, None
