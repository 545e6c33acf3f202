"""Pascal VOC XML, as written by labelImg and the VOC devkit.

Coordinates are used as written: a box is (xmin, ymin, xmax, ymax) in continuous pixels, with width
xmax - xmin. The VOC devkit counts pixels from 1 and includes both ends, and labelImg has written
both conventions; a file does not say which, so no shift is applied. A box with xmin = xmax has no
area and is a bad label.

<polygon> (of Roboflow and LabelMe) and <robndbox> (of roLabelImg) are kept with the object, whose
box is the one around them where it has no <bndbox>. The boxes of its parts are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sightline._text import listed, quoted, shortened
from sightline.formats.lists import read_list, spellings
from sightline.formats.objects import Objects
from sightline.formats.paths import files_in, is_file, lies_inside, shortened_path
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size
from sightline.formats.record import UnreadableImageError
from sightline.formats.records import DataError, Issue, LabelType, Record
from sightline.formats.source import Notes, Source, split_name
from sightline.formats.text import number, stated_size, truth
from sightline.formats.voc.layout import Layout, listed_classes, read_layout
from sightline.formats.voc.outline import read_outline
from sightline.formats.xml_file import element_lines, parse_xml

_NO_POSE = "Unspecified"  # what labelImg writes for every object
_OF_A_LABEL = ("filename", "size", "object")  # elements that make one of any root
_PRESENT = ("-1", "0", "1")  # what lists of one class in the devkit add to a name


@dataclass(frozen=True)
class Item:
    """A label file, and the place where it is listed; the same file in two lists is one item."""

    path: Path
    listed_at: str | None = field(default=None, compare=False)


def open_voc(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a VOC data set.

    The classes are `class_names`, or those of classes.txt or labelmap.txt at the root (with any of
    them, any other name is an unknown class), or all names in the XML files, sorted. Official
    splits are ImageSets/Main/{train,val,test,trainval}.txt, with one image name per line, with or
    without its folder and suffix; otherwise the folders train, val, test that hold label files. An
    image without a label file is left out, with a note in the issues: it may contain objects that
    are not labelled.
    """
    notes = notes or Notes()
    layout = read_layout(root, notes)
    names = class_names or listed_classes(root)
    if names is None:
        names = sorted({name for path in layout.ids for name in _names_in(path, notes)})
    splits = _listed_splits(root, layout, notes) or {
        split: partial(_unlisted, paths) for split, paths in layout.splits.items()
    }
    return Source(
        format="voc",
        label_type=LabelType.BOXES,
        class_names=tuple(names),
        splits=splits,
        pool=partial(_unlisted, layout.ids),
        load=_loader(layout, {name: index for index, name in enumerate(names)}, notes),
        notes=notes,
        label_file=attrgetter("path"),
    )


def _unlisted(paths: Iterable[Path]) -> list[Item]:
    return [Item(path) for path in paths]


def _listed_splits(root: Path, layout: Layout, notes: Notes) -> dict[str, Callable[[], list[Item]]]:
    """The splits of ImageSets/Main, without the lists of a single class.

    CVAT's default.txt is no split: it lists what has not been put into any.
    """
    lists = files_in(root / "ImageSets" / "Main", ".txt")
    of_class = ("_train", "_val", "_trainval", "_test")
    of_one = [p for p in lists if not split_name(p.stem) and p.stem.endswith(of_class)]
    lists = [path for path in lists if path not in of_one]
    if of_one and not lists:
        rule = "a list of one class is no split, and there is no list of a whole split"
        notes.add(of_one[0], None, "a list", rule, "not read")
    default = [path for path in lists if path.stem.lower() == "default"]
    for path in default if len(lists) > 1 else ():
        rule = "what it lists is in none of the splits"
        notes.add(path, None, "a list", rule, "read only if no split is requested")
    by_name = {name: path for path, name in layout.ids.items()}
    stems = Counter(path.stem for path in layout.ids)
    by_name |= {path.stem: path for path in layout.ids if stems[path.stem] == 1}
    return {
        split_name(path.stem) or path.stem: partial(_read_list, path, root, by_name, notes)
        for path in lists
        if path not in default
    }


def _names_in(path: Path, notes: Notes) -> list[str]:
    try:
        found = parse_xml(path).findall("object/name")
    except DataError as error:
        notes.refuse(error)
        return []
    return [name.text.strip() for name in found if name.text and name.text.strip()]


def _read_list(path: Path, root: Path, by_name: dict[str, Path], notes: Notes) -> list[Item]:
    """Return each listed label file, and the place where it is listed."""

    def find(line: str, _: int) -> tuple[Path, str]:
        present = line.split()[-1]
        for words in (line, line[: -len(present)].rstrip() if present in _PRESENT else line):
            for name in spellings(words):
                stem, dot, suffix = name.rpartition(".")
                if name not in by_name and f"{dot}{suffix}".lower() in (*IMAGE_SUFFIXES, ".xml"):
                    name = stem
                if name in by_name:
                    return by_name[name], name
        return root / f"{line}.xml", line

    shown = partial(shortened_path, inside=lies_inside(path, root))
    return [
        Item(label, f"{path}:{number}: lists {shown(name)}")
        for number, (label, name) in read_list(path, find, notes)
    ]


def _loader(
    layout: Layout, label_of: dict[str, int], notes: Notes
) -> Callable[[Any], tuple[Record, list[Issue]]]:
    def load(item: Item) -> tuple[Record, list[Issue]]:
        path = item.path
        if path not in layout.ids or not is_file(path):
            folders = listed([*dict.fromkeys(label.parent for label in layout.ids)], 3)
            raise DataError(
                f"{item.listed_at}, but there is no such label file in {folders}; "
                "remove the line, or add the label file (one without objects is legal)"
            )
        root = parse_xml(path, notes)
        if root.tag.lower() != "annotation" and all(root.find(it) is None for it in _OF_A_LABEL):
            rule = "no annotation; correct it, or remove it with its image"
            raise DataError(f"{path}:1: an XML file of <{shortened(root.tag)}>, {rule}")
        stated = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
        image = layout.image_of(path, stated)
        if image is None:
            searched = ", ".join(str(folder) for folder in layout.image_folders)
            raise DataError(
                f"{path}: no image named {path.stem} or {quoted(stated)} in {searched}; "
                "add the image, or remove the label file"
            )
        if not is_file(image):
            rule = "not a file, or a link that leads to none; replace it, or remove its label"
            raise DataError(f"{image}: {rule}")
        stated_sides = stated_size(root.findtext("size/width"), root.findtext("size/height"))
        width, height = stated_sides or image_size(image, max_pixels=None)
        if image.stat().st_size == 0:
            raise UnreadableImageError(
                str(image), "the image file is empty", "replace it, or remove its label"
            )
        found = Objects(path, width, height, label_of)
        lines: list[int] = []

        def line_of(place: int) -> int:
            lines[:] = lines or element_lines(path, "object")
            return lines[place]

        for place, element in enumerate(root.findall("object")):
            _add_object(found, element, place, partial(line_of, place), notes)
        return found.pair(image, layout.ids[path])

    return load


def _add_object(
    found: Objects, element: Element, place: int, line: Callable[[], int], notes: Notes
) -> None:
    name = (element.findtext("name") or "").strip()
    what = f"object {place + 1} ({shortened(name)})"
    outline, broken = read_outline(element)
    rule = None if outline.box else broken[0]
    rule = rule if name else "it must have a class in <name>"
    flag = truth(element.findtext("difficult"))
    if flag is None:
        rule = f"<difficult> must be 0 or 1, got {quoted(element.findtext('difficult'))}"
    if truth(element.findtext("deleted")):
        notes.add(found.file, line(), "an object", "<deleted> is 1", "left out")
        return
    added = found.add(
        name,
        outline.box,
        rule,
        what=what,
        line=line,
        difficult=bool(flag),
        shape=outline.shape,
        rotated=outline.rotated,
        extra=_extra(element),
    )
    for rule in broken if added else ():
        notes.add(found.file, line(), what, rule, "only its box is read")


def _extra(element: Element) -> dict[str, Any]:
    """What an object says besides its class and place, where it says anything."""
    extra: dict[str, Any] = {}
    for name in ("truncated", "occluded"):
        text = element.findtext(name)
        value = number(text)  # a share in some sets
        extra[name] = truth(text) if value is None and text else value
    pose = (element.findtext("pose") or "").strip()
    return extra | {"pose": pose if pose != _NO_POSE else ""}
