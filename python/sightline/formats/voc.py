"""Pascal VOC XML, as written by labelImg and the VOC devkit.

Coordinates are used as written: a box is (xmin, ymin, xmax, ymax) in continuous pixels, with width
xmax - xmin. The VOC devkit counts pixels from 1 and includes both ends, and labelImg has written
both conventions; a file does not say which, so no shift is applied. A box with xmin = xmax has no
area and is a bad label.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.formats.paths import is_file, lies_inside, shortened_path
from sightline.formats.pictures import image_size, is_image
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Source, split_name

LOOKED_FOR = "VOC: *.xml in Annotations/ (images in JPEGImages/ or images/), or beside their images"
_XML_FOLDERS = ("Annotations", "annotations", "labels", ".")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", ".")
_CLASS_FILES = ("classes.txt", "predefined_classes.txt", "labels.txt")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def xml_folder(root: Path) -> Path | None:
    """Return the folder of the label files, or None where there are none."""
    for name in _XML_FOLDERS:
        folder = root / name
        if folder.is_dir() and any(folder.glob("*.xml")):
            return folder
    return None


def open_voc(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a VOC data set.

    The classes are `class_names`, or those of classes.txt at the root (with either, any other name
    is an unknown class), or all names in the XML files, sorted. Official splits are
    ImageSets/Main/{train,val,test,trainval}.txt, with one image name per line. An image without a
    label file is left out, with a note in the issues: it may contain objects that are not labelled.
    """
    labels = xml_folder(root)
    if labels is None:
        raise DataError(f"{root}: no VOC label files; looked for {LOOKED_FOR}")
    names = class_names or _listed_classes(root)
    if names is None:
        names = sorted({name for path in labels.glob("*.xml") for name in _names_in(path)})
    image_folders = list(dict.fromkeys([*(root / name for name in _IMAGE_FOLDERS), labels]))
    stems = {path.stem for path in labels.glob("*.xml")}
    images: dict[str, Path] = {}
    unlabelled = []
    for folder in image_folders:
        found = [path for path in sorted(folder.glob("*")) if is_image(path)]
        if any(path.stem in stems for path in found):
            unlabelled += [path for path in found if path.stem not in stems]
        for path in found:
            images.setdefault(path.stem, path)
            images.setdefault(path.name, path)
    lists = sorted((root / "ImageSets" / "Main").glob("*.txt"))
    splits = {
        split_name(path.stem) or path.stem: partial(_read_list, path, labels)
        for path in lists
        if split_name(path.stem) or not path.stem.endswith(("_train", "_val", "_trainval", "_test"))
    }
    notes = []
    if unlabelled:
        what = f"{len(unlabelled)} image(s) without a label file, such as {unlabelled[0].name}"
        rule = "only an xml without <object> marks an image without objects"
        notes.append(Issue(labels, None, what, rule, "left out"))
    return Source(
        format="voc",
        label_type=LabelType.BOXES,
        class_names=tuple(names),
        splits=splits,
        pool=lambda: [(path, None) for path in sorted(labels.glob("*.xml"))],
        load=_loader(images, {name: index for index, name in enumerate(names)}, image_folders),
        notes=notes,
    )


def _listed_classes(root: Path) -> list[str] | None:
    for name in _CLASS_FILES:
        if (root / name).is_file():
            lines = (root / name).read_text(encoding="utf-8").splitlines()
            return [line.strip() for line in lines if line.strip()]
    return None


def _names_in(path: Path) -> list[str]:
    return [(name.text or "").strip() for name in _parse(path).findall("object/name") if name.text]


def _read_list(path: Path, labels: Path) -> list[tuple[Path, str]]:
    """Return each listed label file, and the place where it is listed."""
    shown = partial(shortened_path, inside=lies_inside(path, labels.parent))
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        (labels / f"{line.split()[0]}.xml", f"{path}:{number}: lists {shown(line.split()[0])}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        line, _ = error.position
        raise DataError(
            f"{path}:{line}: not well-formed xml ({error}); correct the file"
        ) from error


def _loader(
    images: dict[str, Path], label_of: dict[str, int], image_folders: list[Path]
) -> Callable[[Any], tuple[Record, list[Issue]]]:
    def load(item: tuple[Path, str | None]) -> tuple[Record, list[Issue]]:
        path, listed_at = item
        if not is_file(path):
            raise DataError(
                f"{listed_at}, but there is no such label file in {path.parent}; "
                "remove the line, or add the label file (one without objects is legal)"
            )
        root = _parse(path)
        stated = (root.findtext("filename") or "").strip()
        image = images.get(path.stem) or images.get(stated) or images.get(Path(stated).stem)
        if image is None:
            searched = ", ".join(str(folder) for folder in image_folders)
            raise DataError(
                f"{path}: no image named {path.stem} or {quoted(stated)} in {searched}; "
                "add the image, or remove the label file"
            )
        width, height = _stated_size(root) or image_size(image)
        if image.stat().st_size == 0:
            raise DataError(f"{image}: the image file is empty; replace it, or remove its label")
        boxes, labels, difficult, issues = [], [], [], []
        for number, element in enumerate(root.findall("object")):
            name = (element.findtext("name") or "").strip()
            box, rule = _corners(element)
            if rule is None and box is not None:
                rule = box_rule(box, width, height)
            if name not in label_of:
                rule = f"unknown class {quoted(name)}; the classes are {listed([*label_of])}"
            if rule is not None:
                line = _object_lines(path)[number]
                issues.append(Issue(path, line, f"object {number + 1} ({shortened(name)})", rule))
                continue
            boxes.append(box)
            labels.append(label_of[name])
            difficult.append((element.findtext("difficult") or "0").strip() == "1")
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


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return the <size> of a label file; None for zeros, which some tools write."""
    try:
        width = int(root.findtext("size/width") or 0)
        height = int(root.findtext("size/height") or 0)
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _corners(element: ElementTree.Element) -> tuple[list[float] | None, str | None]:
    box = []
    for name in _CORNERS:
        text = element.findtext(f"bndbox/{name}")
        if text is None:
            return None, f"<bndbox> must hold <{name}>"
        try:
            box.append(float(text))
        except ValueError:
            return None, f"<{name}> must be a number, got {quoted(text)}"
    return box, None


def _object_lines(path: Path) -> list[int]:
    """Return the line of each <object>, by a second parse that is only for reporting bad labels."""
    lines: list[int] = []
    depth = 0
    parser = expat.ParserCreate()

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if name == "object" and depth == 2:
            lines.append(parser.CurrentLineNumber)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(path.read_bytes(), True)
    return lines
