"""COCO JSON: boxes as xywh, categories whose ids may have gaps, crowd regions.

Category ids become labels 0, 1, 2 ... in the order of the ids; `Annotations.category_ids` maps them
back. The xywh numbers of the file are kept together with their xyxy form, both float64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sightline._text import listed, quoted
from sightline.formats.finder import image_finder, split_of_file
from sightline.formats.paths import files_in, folders_in, shortened_path
from sightline.formats.pictures import image_size
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Notes, Source
from sightline.formats.text import (
    has_json_keys,
    number,
    read_json,
    read_text,
    truth,
    whole_number,
)

LOOKED_FOR = (
    "COCO: a json file with images, annotations and categories, at the root, in annotations/ or in "
    "train/, val/, test/"
)
_KEYS = ("images", "annotations", "categories")
_DEFAULTS = (["default"], ["instances_default"])
_JSON_FOLDERS = ("annotations", ".", "train", "val", "valid", "test")


def coco_files(root: Path) -> list[Path]:
    """Return the COCO files of a data set (or `root` itself), empty where there are none.

    Where there is instances_*.json, other files of the COCO releases (captions, keypoints) are left
    out.
    """
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and has_json_keys(root, _KEYS) else []
    folders = [root / name for name in _JSON_FOLDERS if (root / name).is_dir()]
    paths = [path for folder in folders for path in files_in(folder, ".json")]
    found = [path for path in paths if has_json_keys(path, _KEYS)]
    if not found:  # tools give the folder any name
        paths = [path for folder in folders_in(root) for path in files_in(folder, ".json")]
        found = [path for path in paths if has_json_keys(path, _KEYS)]
    return [path for path in found if path.name.startswith("instances")] or found


def open_coco(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a COCO data set, or one COCO file.

    The classes are those of all its files, ordered by id, or `class_names`. The split of a file is
    taken from its name or that of its folder (instances_val2017.json,
    valid/_annotations.coco.json).
    """
    paths = coco_files(root)
    if not paths:
        raise DataError(f"{root}: no COCO file; looked for {LOOKED_FOR}")
    notes = notes or Notes()
    category_names = _all_categories(paths, notes)
    names = tuple(class_names or category_names.values())
    id_of = {name: number for number, name in category_names.items()}
    label_of = {id_of[name]: label for label, name in enumerate(names) if name in id_of}
    by_split: dict[str, Path] = {}
    unsplit = []
    for path in paths:
        split = split_of_file(path) if root.is_dir() else None
        if split is None:
            unsplit.append(path)
        elif split in by_split:
            raise DataError(
                f"{root}: both {by_split[split]} and {path} are {split}; give one as data.path"
            )
        else:
            by_split[split] = path
    if by_split and [path.stem.lower() for path in unsplit] in _DEFAULTS:
        rule = "the images that CVAT lists there are in none of the splits"
        notes.add(unsplit.pop(), None, "a file", rule, "read only if no split is requested")
    if len(unsplit) > 1 or (unsplit and by_split):
        listed = ", ".join(str(path) for path in paths)
        raise DataError(
            f"{root}: cannot tell the splits of {listed}; name them train, val, test, or give one "
            "as data.path"
        )
    base = root if root.is_dir() else root.parent
    return Source(
        format="coco",
        label_type=LabelType.BOXES,
        class_names=names,
        splits={split: partial(_items, path, base, notes) for split, path in by_split.items()},
        pool=lambda: [item for path in paths for item in _items(path, base, notes)],
        load=_loader(label_of, category_names, notes),
        notes=notes,
        category_ids=tuple(id_of.get(name, -1) for name in names),
    )


def _all_categories(paths: Sequence[Path], notes: Notes) -> dict[int, str]:
    """Return id -> name over all files, ordered by id; contradictory files are refused."""
    names: dict[int, str] = {}
    parents: dict[int, Any] = {}
    for path in paths:
        for place, category in enumerate(_categories(path)):
            key, name = None, None
            if isinstance(category, dict):
                key, name = whole_number(category.get("id")), category.get("name")
            if key is None or not isinstance(name, str | int | float):
                raise DataError(
                    f"{path}: categories[{place}] must hold an integer id and a name, got "
                    f"{quoted(category)}"
                )
            name = str(name)
            parents[key] = category.get("supercategory")
            if names.setdefault(key, name) != name:
                raise DataError(
                    f"{path}: category id {key} is {quoted(name)} here and {quoted(names[key])} "
                    "elsewhere; give each class one id"
                )
    for key in _empty_roots(paths, names, parents):
        what = f"category {quoted(names.pop(key))} of id {key}"
        rule = "it has no annotation, and is the supercategory of the others"
        notes.add(paths[0], None, what, rule, "not used as a class")
    if len(set(names.values())) < len(names):
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        raise DataError(
            f"{path}: category name(s) {listed(twice)} have several ids; give each class one id"
        )
    return dict(sorted(names.items()))


def _empty_roots(
    paths: Sequence[Path], names: dict[int, str], parents: dict[int, Any]
) -> list[int]:
    """The ids of categories that only group others, as Roboflow writes one into each file."""
    roots = [
        key
        for key, name in names.items()
        if parents[key] in (None, "", "none", name)
        and any(parent == name for other, parent in parents.items() if other != key)
    ]
    if not roots:
        return []
    used = {
        whole_number(annotation.get("category_id"))
        for path in paths
        for annotation in _parse(path)["annotations"]
        if isinstance(annotation, dict)
    }
    return [key for key in roots if key not in used]


def _categories(path: Path) -> list[Any]:
    """Return only the categories, where possible without parsing the whole of a large file."""
    text = read_text(path, most=None)
    start = text.find('"categories"')
    bracket = text.find("[", start)
    # Another list of that name may belong to a picture or an annotation.
    once = start >= 0 and text.find('"categories"', start + 1) < 0
    if once and text[start + len('"categories"') : bracket].strip() == ":":
        try:
            return json.JSONDecoder().raw_decode(text, bracket)[0]
        except (ValueError, RecursionError):
            pass  # parsing the whole file reports where it is broken
    return _parse(path)["categories"]


def _parse(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: a COCO file must hold a list `{key}`")
    return content


class Item(NamedTuple):
    path: Path  # of the COCO file
    image_path: Path
    image_id: str | int
    image: dict[str, Any]
    annotations: list[Any]


def _items(path: Path, root: Path, notes: Notes) -> list[Item]:
    """Return the images of a COCO file, each with its annotations."""
    content = _parse(path)
    by_image: dict[str | int, list[Any]] = {}
    for place, image in enumerate(content["images"]):
        key = _image_key(image.get("id")) if isinstance(image, dict) else None
        if key is None or not isinstance(image.get("file_name"), str):
            raise DataError(
                f"{path}: images[{place}] must hold id and file_name, got {quoted(image)}"
            )
        if key in by_image:
            raise DataError(
                f"{path}: image id {quoted(image['id'])} occurs twice; give each image its own"
            )
        by_image[key] = []
    _assign(path, content["annotations"], by_image)
    find = image_finder(path, root, notes, "remove it from `images`")
    found: dict[Path, Item] = {}
    for (image_id, entries), image in zip(by_image.items(), content["images"], strict=True):
        image_path = find(image["file_name"])
        if image_path in found:
            # As two records, it could be in both training and validation.
            rule = "two entries of `images` have the same file"
            what = f"image {shortened_path(image['file_name'])}"
            notes.add(path, None, what, rule, "read once, with the annotations of both")
            mine = found[image_path].annotations
            known = {_box_key(annotation) for annotation in mine}
            mine += [entry for entry in entries if _box_key(entry) not in known]
        else:
            found[image_path] = Item(path, image_path, image_id, image, entries)
    return [*found.values()]


def _image_key(value: object) -> str | int | None:
    """The id by which an image is looked up: a text as it is, or a whole number."""
    return value if isinstance(value, str) else whole_number(value)


def _assign(path: Path, annotations: list[Any], by_image: dict[str | int, list[Any]]) -> None:
    """Add each annotation to its image; 7 and "7" are the same unless both occur."""
    by_number: dict[int | None, list[str | int]] = {}
    for name in by_image:
        by_number.setdefault(whole_number(name), []).append(name)
    key: str | int | None
    for place, annotation in enumerate(annotations):
        stated = annotation.get("image_id") if isinstance(annotation, dict) else None
        key = _image_key(stated)
        if key not in by_image:
            same = by_number.get(whole_number(key), [])
            key = same[0] if len(same) == 1 and whole_number(key) is not None else None
        if key is None:
            raise DataError(
                f"{path}: annotations[{place}] has image_id {quoted(stated)}, which is not "
                "among the images; add the image or remove the annotation"
            )
        by_image[key].append(annotation)


def _box_key(annotation: dict[str, Any]) -> str:
    return repr((annotation.get("category_id"), annotation.get("bbox")))


def _loader(
    label_of: dict[int, int], category_names: dict[int, str], notes: Notes
) -> Callable[[Any], tuple[Record, list[Issue]]]:
    def load(item: Item) -> tuple[Record, list[Issue]]:
        path, image_path, image_id, image, annotations = item
        width, height = (whole_number(image.get(side)) or 0 for side in ("width", "height"))
        if width <= 0 or height <= 0:
            width, height = image_size(image_path, max_pixels=None)
        labels, boxes, crowds, areas, issues = [], [], [], [], []
        for annotation in annotations:
            parsed = _parse_annotation(annotation, width, height, label_of, category_names)
            if isinstance(parsed, str):
                what = (
                    f"annotation {quoted(annotation.get('id'))} of image "
                    f"{shortened_path(image['file_name'])}"
                )
                issues.append(Issue(path, None, what, parsed))
                continue
            label, box, crowd = parsed
            labels.append(label)
            boxes.append(box)
            crowds.append(crowd)
            area = number(annotation.get("area"))
            if area is None or not math.isfinite(area) or area < 0:
                area = box[2] * box[3]
                if annotation.get("area") is not None:
                    rule = "area must be a number that is not negative"
                    notes.add(path, None, "an annotation", rule, "width * height used")
            areas.append(area)
        xywh = np.array(boxes, np.float64).reshape(-1, 4)
        record = Record(
            image_path,
            image_id,
            width,
            height,
            labels=np.array(labels, np.int64),
            boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            iscrowd=np.array(crowds, bool),
            area=np.array(areas, np.float64),
            boxes_xywh=xywh,
        )
        return record, issues

    return load


def _parse_annotation(
    annotation: dict[str, Any],
    width: int,
    height: int,
    label_of: dict[int, int],
    category_names: dict[int, str],
) -> tuple[int, list[float], bool] | str:
    """Return label, xywh and crowd flag of an annotation; or the rule that it breaks."""
    category = whole_number(annotation.get("category_id"))
    if category is None or category not in category_names:
        stated = quoted(annotation.get("category_id"))
        return f"unknown class: category_id {stated} is not among the categories"
    if category not in label_of:
        return f"unknown class {quoted(category_names[category])}, not one of the requested classes"
    box = annotation.get("bbox")
    values = [number(value) for value in box] if isinstance(box, list) else []
    xywh = [value for value in values if value is not None]
    if len(values) != 4 or len(xywh) != 4:
        return f"bbox must be [x, y, width, height], got {quoted(box)}"
    x, y, w, h = xywh
    if w <= 0 or h <= 0:
        return f"width and height of bbox must be positive, got {quoted(box)}"
    crowd = truth(annotation.get("iscrowd"))
    if crowd is None:
        return f"iscrowd must be 0 or 1, got {quoted(annotation['iscrowd'])}"
    rule = box_rule((x, y, x + w, y + h), width, height)
    return (label_of[category], xywh, crowd) if rule is None else rule
