"""LabelMe JSON: one file per image, whose shapes are rectangles, polygons and circles in pixels.

Rectangles are used as written, in any order of their corners; polygons and circles are read as the
box around them. Points and lines have no box and are left out. Both are noted in the issues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.formats.lists import find_file
from sightline.formats.paths import files_below, files_in, folders_in, shortened_path
from sightline.formats.pictures import IMAGE_SUFFIXES, image_size
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Notes, Pair, Source, split_name
from sightline.formats.text import has_json_keys, number, read_json, whole_number

__all__ = ["LOOKED_FOR", "labelme_folders", "open_labelme"]

LOOKED_FOR = "LabelMe: *.json with `shapes` and `imagePath`"
_KEYS = ("shapes", "imagePath")
_HULLS = ("polygon", "circle", "oriented_rectangle")
_FEWEST = {"rectangle": 2, "circle": 2}  # points; 3 for a polygon


def labelme_folders(root: Path) -> list[Path]:
    """Return the folders with label files: of the root and those right below, or two below."""
    if not root.is_dir():
        return []
    below = folders_in(root)
    folders = [root, *below, *(inner for folder in below for inner in folders_in(folder))]
    return [folder for folder in folders if _holds_labels(folder)]


def _holds_labels(folder: Path) -> bool:
    return any(has_json_keys(path, _KEYS) for path in files_in(folder, ".json")[:1])


def _is_of_labelme(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and ("imagePath" in content)
    )


def open_labelme(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a LabelMe data set.

    The classes are `class_names`, or all labels, sorted. Splits are the folders train, val, test
    that hold label files. The image of a label file is its `imagePath`, otherwise that of its name.
    """
    notes = Notes()
    contents: dict[Path, Mapping[str, Any]] = {}
    for path in files_below(root):
        if path.suffix.lower() == ".json":
            content = read_json(path)
            if _is_of_labelme(content):
                contents[path] = {key: content[key] for key in content if key != "imageData"}
            else:
                rule = "it has no `shapes` and `imagePath`"
                notes.add(path, None, "a json file", rule, "not read")
    if not contents:
        raise DataError(f"{root}: no LabelMe label files; looked for {LOOKED_FOR}")
    shapes = [shape for content in contents.values() for shape in content["shapes"]]
    used = {_label(shape) for shape in shapes if isinstance(shape, dict)}
    names = tuple(class_names or sorted(used))
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
            notes=notes,
        ),
        notes=notes,
    )


def _label(shape: Mapping[str, Any]) -> str:
    return str(shape.get("label", "")).strip()


def _image_of(path: Path, stated: object, root: Path, notes: Notes) -> Path:
    def noted(_: str) -> None:
        rule = "no such path, but the data set has a file at the end of it"
        notes.add(path, None, "imagePath", rule, "that image used")

    folders = [path.parent, path.parent.parent, *folders_in(path.parent.parent)]
    folders = [folder for folder in folders if folder.is_relative_to(root)]
    same = [path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
    found = find_file(stated, folders, noted, suffixes=False) if isinstance(stated, str) else None
    found = found or next((image for image in same if image.is_file()), None)
    if found is None:
        shown = shortened_path(str(stated))
        raise DataError(f"{path}: no image {shown}; add it, or remove the label file")
    return found


def _load(
    path: Path,
    *,
    root: Path,
    contents: Mapping[Path, Mapping[str, Any]],
    label_of: dict[str, int],
    notes: Notes,
) -> Pair:
    content = contents[path]
    image = _image_of(path, content["imagePath"], root, notes)
    width, height = _stated_size(content) or image_size(image)
    boxes, labels, issues = [], [], []
    for place, shape in enumerate(content["shapes"], start=1):
        if not isinstance(shape, dict):
            issues.append(
                Issue(path, None, f"shape {place}", f"must be an object, got {quoted(shape)}")
            )
            continue
        kind, name = str(shape.get("shape_type") or "polygon"), _label(shape)
        if kind not in ("rectangle", *_HULLS):
            notes.add(path, None, f"a shape of type {shortened(kind)}", "it has no box", "left out")
            continue
        box, rule = _box(kind, shape.get("points"), width, height)
        if name not in label_of:
            rule = f"unknown class {quoted(name)}; the classes are {listed([*label_of])}"
        if rule is not None:
            issues.append(Issue(path, None, f"shape {place} ({shortened(name)})", rule))
            continue
        if kind != "rectangle":
            rule = "a box is a rectangle"
            notes.add(path, None, f"a {kind}", rule, "read as the box around it")
        boxes.append(box)
        labels.append(label_of[name])
    record = Record(
        image,
        path.relative_to(root).with_suffix("").as_posix(),
        width,
        height,
        labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
    )
    return record, issues


def _stated_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    width = whole_number(content.get("imageWidth")) or 0
    height = whole_number(content.get("imageHeight")) or 0
    return (width, height) if width > 0 and height > 0 else None


def _box(kind: str, points: Any, width: int, height: int) -> tuple[list[float], str | None]:
    """Return the box around a shape, and the rule that it breaks."""
    fewest = _FEWEST.get(kind, 3)
    pairs = points if isinstance(points, list) else []
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        pairs = []
    values = [number(value) for pair in pairs for value in pair]
    numbers = [value for value in values if value is not None]
    if len(pairs) < fewest or len(numbers) < len(values):
        return [], f"a {kind} needs {fewest} points [x, y] or more, got {quoted(points)}"
    xy = np.array(numbers).reshape(-1, 2)
    if kind == "circle":  # its centre, and a point on it
        radius = float(np.hypot(*(xy[1] - xy[0])))
        xy = np.stack([xy[0] - radius, xy[0] + radius])
    box = [*xy.min(0).tolist(), *xy.max(0).tolist()]
    return box, box_rule(box, width, height)
