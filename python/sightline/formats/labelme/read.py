"""LabelMe JSON: one file per image, whose shapes are rectangles, polygons, circles and masks.

Rectangles are used as written, in any order of their corners. Of other shapes the outline is kept
(a circle as a polygon of 32 sides), and the box is the one around it. As in LabelMe, shapes of one
label and `group_id` are one object; points of the `group_id` of an object are its keypoints. Other
points and lines have no box and are left out. All of these are noted in the issues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import quoted, shortened
from sightline.formats.labelme.outline import (
    OUTLINED,
    Outline,
    joined,
    read_outline,
    read_points,
)
from sightline.formats.lists import find_file
from sightline.formats.objects import Objects
from sightline.formats.paths import files_below, files_in, folders_in, is_inside, shortened_path
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size
from sightline.formats.records import DataError, LabelType
from sightline.formats.source import Notes, Pair, Source, split_name
from sightline.formats.text import has_json_keys, read_json, stated_size, truth

__all__ = ["LOOKED_FOR", "labelme_folders", "open_labelme"]

LOOKED_FOR = "LabelMe: *.json with `shapes` and `imagePath`"
_KEYS = ("shapes", "imagePath")
_FILES_TRIED = 20  # to recognise the format: some may be damaged
_BOXED = ("rectangle", *OUTLINED)


def labelme_folders(root: Path) -> list[Path]:
    """Return the folders with label files: of the root and those right below, or two below."""
    if not root.is_dir():
        return []
    below = folders_in(root)
    folders = [root, *below, *(inner for folder in below for inner in folders_in(folder))]
    return [folder for folder in folders if _holds_labels(folder)]


def _holds_labels(folder: Path) -> bool:
    return any(has_json_keys(path, _KEYS) for path in files_in(folder, ".json")[:_FILES_TRIED])


def _is_of_labelme(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and ("imagePath" in content)
    )


def open_labelme(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a LabelMe data set.

    The classes are `class_names`, or all labels, sorted. Splits are the folders train, val, test
    that hold label files. The image of a label file is its `imagePath`, otherwise that of its name.
    """
    notes = notes or Notes()
    contents: dict[Path, Mapping[str, Any]] = {}
    for path in files_below(root):
        if path.suffix.lower() == ".json":
            try:
                content = read_json(path)
            except DataError as error:
                notes.refuse(error)
                continue
            if _is_of_labelme(content):
                contents[path] = {key: content[key] for key in content if key != "imageData"}
            else:
                rule = "it has no `shapes` and `imagePath`"
                notes.add(path, None, "a json file", rule, "not read")
    if not contents:
        raise DataError(f"{root}: no LabelMe label files; looked for {LOOKED_FOR}")
    used: set[str] = set()
    points: set[str] = set()
    for content in contents.values():
        shapes = [shape for shape in content["shapes"] if isinstance(shape, dict)]
        keypoints = _keypoints(shapes)
        points |= {_label(shape) for shape in keypoints}
        ids = set(map(id, keypoints))
        used |= {_label(shape) for shape in shapes if id(shape) not in ids}
    names = tuple(class_names or sorted(used))
    point_names = tuple(sorted(points))
    by_split: dict[str, list[Path]] = {}
    for path in contents:
        split = next(filter(None, map(split_name, path.relative_to(root).parts[:-1])), None)
        by_split.setdefault(split or "", []).append(path)
    unsplit = by_split.pop("", [])
    for path in unsplit if by_split else ():
        rule = "it is outside the folders of the splits"
        notes.add(path, None, "a label file", rule, "in no split")
    return Source(
        format="labelme",
        label_type=LabelType.BOXES,
        class_names=names,
        splits={split: partial(list, paths) for split, paths in by_split.items()},
        pool=partial(list, contents),
        load=partial(
            _load,
            root=root,
            contents=contents,
            label_of={name: index for index, name in enumerate(names)},
            point_names=point_names,
            notes=notes,
        ),
        notes=notes,
        label_file=Path,
        keypoint_names=point_names,
    )


def _label(shape: Mapping[str, Any]) -> str:
    return str(shape.get("label", "")).strip()


def _kind(shape: Mapping[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _group(shape: Mapping[str, Any]) -> str | None:
    group = shape.get("group_id")
    return None if group is None else str(group)


def _keypoints(shapes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that are of the group of one object and no other."""
    labels: dict[str, set[str]] = {}
    for shape in shapes:
        group = _group(shape)
        if group is not None and _kind(shape) in _BOXED:
            labels.setdefault(group, set()).add(_label(shape))
    return [
        shape
        for shape in shapes
        if _kind(shape) == "point" and len(labels.get(_group(shape) or "", ())) == 1
    ]


def _image_of(path: Path, stated: object, root: Path, notes: Notes) -> Path:
    def noted(_: str) -> None:
        rule = "no such path, but the data set has a file at the end of it"
        notes.add(path, None, "imagePath", rule, "that image used")

    folders = [path.parent, path.parent.parent, *folders_in(path.parent.parent)]
    folders = [folder for folder in folders if folder.is_relative_to(root)]
    same = [path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
    inside = partial(is_inside, root=root)
    found = None
    if isinstance(stated, str):
        found = find_file(stated, folders, noted, suffixes=False, allowed=inside)
    found = found or next((image for image in same if image.is_file()), None)
    if found is None:
        shown = shortened_path(str(stated))
        raise DataError(f"{path}: no image {shown}; add it, or remove the label file")
    return found


@dataclass
class _Object:
    """The shapes of one object: what the first of them says, and the outlines of all."""

    what: str
    label: str
    group: str | None
    difficult: bool
    outlines: list[Outline]


def _load(
    path: Path,
    *,
    root: Path,
    contents: Mapping[Path, Mapping[str, Any]],
    label_of: dict[str, int],
    point_names: Sequence[str],
    notes: Notes,
) -> Pair:
    content = contents[path]
    image = _image_of(path, content["imagePath"], root, notes)
    stated = stated_size(content.get("imageWidth"), content.get("imageHeight"))
    width, height = stated or image_size(image, max_pixels=None)
    found = Objects(path, width, height, label_of)
    shapes = [shape for shape in content["shapes"] if isinstance(shape, dict)]
    points_of = _points_by_group(path, _keypoints(shapes), point_names, found, notes)
    for thing in _objects(path, content["shapes"], found, notes):
        outline = joined(thing.outlines, (height, width))
        found.add(
            thing.label,
            outline.box,
            what=thing.what,
            difficult=thing.difficult,
            shape=outline.shape,
            points=points_of.get(thing.group or ""),
            rotated=outline.rotated,
        )
    return found.pair(image, path.relative_to(root).with_suffix("").as_posix())


def _objects(path: Path, shapes: Sequence[Any], found: Objects, notes: Notes) -> list[_Object]:
    """The objects of a file, in the order of their first shapes; bad shapes become issues."""
    objects: list[_Object] = []
    of_group: dict[tuple[str, str], _Object] = {}
    keypoints = _keypoints([shape for shape in shapes if isinstance(shape, dict)])
    ids = set(map(id, keypoints))
    for place, shape in enumerate(shapes, start=1):
        if not isinstance(shape, dict):
            found.bad(f"shape {place}", f"must be an object, got {quoted(shape)}")
            continue
        kind, label, group = _kind(shape), _label(shape), _group(shape)
        if kind not in _BOXED:
            if id(shape) not in ids:
                what = f"a shape of type {shortened(kind)}"
                notes.add(path, None, what, "it has no box", "left out")
            continue
        what = f"shape {place} ({shortened(label)})"
        outline, rule = read_outline(kind, shape, found.width, found.height)
        if outline is None:
            found.bad(what, rule or "")
            continue
        if kind != "rectangle":
            action = "its outline is kept, its box is the one around it"
            notes.add(path, None, f"a {kind}", "a box is a rectangle", action)
        whole = None if group is None else of_group.get((label, group))
        if whole is not None:
            whole.outlines.append(outline)
            rule = "in LabelMe they are parts of one object"
            notes.add(path, None, "shapes of one label and group_id", rule, "joined")
            continue
        objects.append(
            _Object(what, label, group, truth(shape.get("difficult")) is True, [outline])
        )
        if group is not None:
            of_group[label, group] = objects[-1]
    return objects


def _points_by_group(
    path: Path,
    keypoints: Sequence[Mapping[str, Any]],
    point_names: Sequence[str],
    found: Objects,
    notes: Notes,
) -> dict[str, NDArray[np.float64]]:
    """The keypoints [K, 3] of each group; bad points become issues."""
    by_group: dict[str, NDArray[np.float64]] = {}
    for shape in keypoints:
        name = _label(shape)
        xy = read_points("point", shape.get("points"))
        if isinstance(xy, str):
            found.bad(f"point ({shortened(name)})", xy)
            continue
        points = by_group.setdefault(_group(shape) or "", np.zeros((len(point_names), 3)))
        row = points[point_names.index(name)]
        if row[2]:
            rule = "its object has another of the same label"
            notes.add(path, None, f"a point ({shortened(name)})", rule, "left out")
            continue
        # X-AnyLabeling marks hidden points as difficult.
        row[:] = *xy[0], 1 if truth(shape.get("difficult")) else 2
    return by_group
