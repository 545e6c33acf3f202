"""COCO JSON: boxes as xywh, categories whose ids may have gaps, crowd regions.

Category ids become labels 0, 1, 2 ... in the order of the ids; `Annotations.category_ids` maps them
back. The xywh numbers of the file are kept together with their xyxy form, both float64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import listed, quoted
from sightline.formats.paths import is_file, shortened_path
from sightline.formats.pictures import image_size
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Source, split_name

LOOKED_FOR = (
    "COCO: a json file with images, annotations and categories, at the root, in annotations/ or in "
    "train/, val/, test/"
)
_KEYS = ('"images"', '"annotations"', '"categories"')
_PROBE_BYTES = 1 << 20  # the keys of a large file are in its first or last MiB
_JSON_FOLDERS = ("annotations", ".", "train", "val", "valid", "test")


def coco_files(root: Path) -> list[Path]:
    """Return the COCO files of a data set (or `root` itself), empty where there are none.

    Where there is instances_*.json, other files of the COCO releases (captions, keypoints) are left
    out.
    """
    if root.is_file():
        return [root] if root.suffix == ".json" and _has_coco_keys(root) else []
    folders = [root / name for name in _JSON_FOLDERS if (root / name).is_dir()]
    paths = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    found = [path for path in paths if _has_coco_keys(path)]
    return [path for path in found if path.name.startswith("instances")] or found


def _has_coco_keys(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_PROBE_BYTES)
        file.seek(max(0, path.stat().st_size - _PROBE_BYTES))
        text = (head + file.read(_PROBE_BYTES)).decode("utf-8", "replace")
    return text.lstrip().startswith("{") and sum(key in text for key in _KEYS) >= 2


def open_coco(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a COCO data set, or one COCO file.

    The classes are those of all its files, ordered by id, or `class_names`. The split of a file is
    taken from its name or that of its folder (instances_val2017.json,
    valid/_annotations.coco.json).
    """
    paths = coco_files(root)
    if not paths:
        raise DataError(f"{root}: no COCO file; looked for {LOOKED_FOR}")
    category_names = _all_categories(paths)
    names = tuple(class_names or category_names.values())
    id_of = {name: number for number, name in category_names.items()}
    label_of = {id_of[name]: label for label, name in enumerate(names) if name in id_of}
    by_split: dict[str, Path] = {}
    unsplit = []
    for path in paths:
        split = _split_of(path) if root.is_dir() else None
        if split is None:
            unsplit.append(path)
        elif split in by_split:
            raise DataError(
                f"{root}: both {by_split[split]} and {path} are {split}; give one as data.path"
            )
        else:
            by_split[split] = path
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
        splits={split: partial(_items, path, base) for split, path in by_split.items()},
        pool=lambda: [item for path in paths for item in _items(path, base)],
        load=_loader(label_of, category_names),
        category_ids=tuple(id_of.get(name, -1) for name in names),
    )


def _split_of(path: Path) -> str | None:
    words = [*re.split(r"[^A-Za-z0-9]+", path.stem), path.parent.name]
    return next((name for name in map(split_name, words) if name), None)


def _all_categories(paths: Iterable[Path]) -> dict[int, str]:
    """Return id -> name over all files, ordered by id; contradictory files are refused."""
    names: dict[int, str] = {}
    for path in paths:
        for number, category in enumerate(_categories(path)):
            try:
                key, name = int(category["id"]), str(category["name"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path}: categories[{number}] must hold an integer id and a name, got "
                    f"{quoted(category)}"
                ) from error
            if names.setdefault(key, name) != name:
                raise DataError(
                    f"{path}: category id {key} is {quoted(name)} here and {quoted(names[key])} in "
                    "another place; give each class one id"
                )
    if len(set(names.values())) < len(names):
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        raise DataError(
            f"{path}: category name(s) {listed(twice)} have several ids; give each class one id"
        )
    return dict(sorted(names.items()))


def _categories(path: Path) -> list[Any]:
    """Return only the categories, without parsing the whole of a large file."""
    text = _read_text(path)
    start = text.rfind('"categories"')
    bracket = text.find("[", start)
    if start >= 0 and text[start + len('"categories"') : bracket].strip() == ":":
        try:
            return json.JSONDecoder().raw_decode(text, bracket)[0]
        except json.JSONDecodeError:
            pass  # parsing the whole file reports where it is broken
    return _parse(path)["categories"]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not json ({error.msg}); correct the file"
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: a COCO file must hold a list `{key}`")
    return content


def _items(path: Path, root: Path) -> list[tuple[Path, Path, dict[str, Any], list[Any]]]:
    """For each image, return the file, the image's path, its entry and its annotations."""
    content = _parse(path)
    by_image: dict[Any, list[Any]] = {}
    for number, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not {"id", "file_name"} <= set(image):
            raise DataError(
                f"{path}: images[{number}] must hold id and file_name, got {quoted(image)}"
            )
        if image["id"] in by_image:
            raise DataError(
                f"{path}: image id {quoted(image['id'])} is there twice; give each its own"
            )
        by_image[image["id"]] = []
    for number, annotation in enumerate(content["annotations"]):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if image_id not in by_image:
            raise DataError(
                f"{path}: annotations[{number}] has image_id {quoted(image_id)}, which is not "
                "among the images; add the image or remove the annotation"
            )
        by_image[image_id].append(annotation)
    find = _image_finder(path, root)
    return [
        (path, find(image["file_name"]), image, by_image[image["id"]])
        for image in content["images"]
    ]


def _image_finder(path: Path, root: Path) -> Callable[[str], Path]:
    """Return a function from file name to path, over the places where COCO sets keep images."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if split_name(word)]
    places = [path.parent, root]
    places += [place / word for place in (root, root / "images") for word in ("images", *words, "")]
    folders = [place for place in dict.fromkeys(places) if place.is_dir()]

    def find(file_name: str) -> Path:
        for number, folder in enumerate(folders):
            candidate = folder / file_name
            if is_file(candidate):
                folders.insert(0, folders.pop(number))  # the others are probably there too
                if candidate.stat().st_size == 0:
                    raise DataError(f"{candidate}: the image file is empty; replace or remove it")
                return candidate
        searched = ", ".join(str(folder) for folder in folders)
        raise DataError(
            f"{path}: no image {shortened_path(file_name)} in {searched}; add it, or remove it "
            "from `images`"
        )

    return find


def _loader(
    label_of: dict[int, int], category_names: dict[int, str]
) -> Callable[[Any], tuple[Record, list[Issue]]]:
    def load(
        item: tuple[Path, Path, dict[str, Any], list[Any]],
    ) -> tuple[Record, list[Issue]]:
        path, image_path, image, annotations = item
        width, height = image.get("width") or 0, image.get("height") or 0
        if not (width and height):
            width, height = image_size(image_path)
        kept, issues = [], []
        for annotation in annotations:
            rule = _annotation_rule(annotation, width, height, label_of, category_names)
            if rule is None:
                kept.append(annotation)
            else:
                what = (
                    f"annotation {quoted(annotation.get('id'))} of image "
                    f"{shortened_path(image['file_name'])}"
                )
                issues.append(Issue(path, None, what, rule))
        xywh = np.array([entry["bbox"] for entry in kept], np.float64).reshape(-1, 4)
        area = [entry.get("area", entry["bbox"][2] * entry["bbox"][3]) for entry in kept]
        record = Record(
            image_path,
            image["id"],
            int(width),
            int(height),
            labels=np.array([label_of[entry["category_id"]] for entry in kept], np.int64),
            boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            iscrowd=np.array([bool(entry.get("iscrowd", 0)) for entry in kept], bool),
            area=np.array(area, np.float64),
            boxes_xywh=xywh,
        )
        return record, issues

    return load


def _annotation_rule(
    annotation: dict[str, Any],
    width: int,
    height: int,
    label_of: dict[int, int],
    category_names: dict[int, str],
) -> str | None:
    """Return the rule that an annotation breaks, or None."""
    category = annotation.get("category_id")
    if category not in category_names:
        return f"unknown class: category_id {quoted(category)} is not among the categories"
    if category not in label_of:
        return f"unknown class {quoted(category_names[category])}, not one of the requested classes"
    box = annotation.get("bbox")
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(value, int | float) for value in box)
    ):
        return f"bbox must be [x, y, width, height], got {quoted(box)}"
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return f"width and height of bbox must be positive, got {quoted(box)}"
    return box_rule((x, y, x + w, y + h), width, height)
