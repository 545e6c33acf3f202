"""Where a YOLO data set keeps its classes, splits and images: in data.yaml, or by folder names."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightline._text import quoted, shortened, yaml_problem
from sightline.formats.lists import find_file, read_list
from sightline.formats.paths import (
    files_below,
    files_in,
    lies_inside,
    shortened_path,
    subfolder,
)
from sightline.formats.pictures import is_image
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name
from sightline.formats.text import read_lines, read_text, whole_number
from sightline.formats.yaml_file import load_yaml

__all__ = [
    "LOOKED_FOR",
    "Item",
    "from_folders",
    "from_yaml",
    "images_below",
    "listed_classes",
    "yolo_root",
]

LOOKED_FOR = "YOLO: data.yaml with `names`, or labels/**/*.txt with images/, or *.txt beside images"
_YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_CLASS_FILES = ("classes.txt", "labels/classes.txt", "obj.names", "classes.names")
_NOT_LABELS = ("classes.txt", "readme.txt", "requirements.txt")
_SPLIT_FOLDERS = ("train", "val", "valid", "test")
_ABSENT = ("", "null", "~", "None")  # what YAML and Python write for nothing

Item = tuple[Path, Path]  # the image, and the folder that its id is relative to


def yolo_root(root: Path) -> Path | None:
    """Return the data.yaml, or otherwise the folder, of a YOLO data set; None without either."""
    if root.is_file():
        return root if root.suffix in (".yaml", ".yml") else None
    for name in _YAML_NAMES:
        if (root / name).is_file():
            return root / name
    places = [root, *(subfolder(root, name) for name in ("labels", *_SPLIT_FOLDERS))]
    places += [subfolder(subfolder(root, "labels"), name) for name in _SPLIT_FOLDERS]
    places += [subfolder(subfolder(root, name), "labels") for name in _SPLIT_FOLDERS]
    for place in places:
        texts = [path for path in files_in(place, ".txt") if path.name.lower() not in _NOT_LABELS]
        labelled = "labels" in map(str.lower, place.parts[len(root.parts) :])
        if texts and (labelled or any(_image_beside(path) for path in texts)):
            return root
    return None


def _image_beside(label: Path) -> bool:
    return any(is_image(path) for path in label.parent.glob(f"{glob.escape(label.stem)}.*"))


def from_yaml(
    path: Path, notes: Notes
) -> tuple[Path, list[str], dict[str, Callable[[], list[Item]]]]:
    content = _read_yaml(path)
    names = _names_of(path, content.get("names"))
    count = content.get("nc", "")
    if count not in _ABSENT and whole_number(count) != len(names):
        stated = whole_number(count)
        shown = quoted(count) if stated is None else shortened(stated)
        raise DataError(f"{path}: `nc` is {shown}, but `names` lists {len(names)}")
    base = path.parent
    place = content.get("path")
    if isinstance(place, str) and place not in _ABSENT:
        stated_base = base / place  # an absolute one replaces the base
        base = stated_base if stated_base.is_dir() else base
    splits: dict[str, Callable[[], list[Item]]] = {}
    for key, value in content.items():
        split = split_name(str(key))
        if split is None or value in _ABSENT or not value:
            continue
        places = value if isinstance(value, list) else [value]
        if not all(isinstance(place, str) for place in places):
            raise DataError(
                f"{path}: `{key}` must be a folder, a list file, or a list of them, "
                f"got {quoted(value)}"
            )
        splits[split] = partial(_images_of, places, base, path, notes)
    return base, names, splits


def _names_of(path: Path, names: Any) -> list[str]:
    if isinstance(names, Mapping):
        by_number = {whole_number(key): name for key, name in names.items()}
        if set(by_number) != set(range(len(names))):
            raise DataError(
                f"{path}: the keys of `names` must be 0, 1, 2 ..., got {quoted([*names])}"
            )
        names = [by_number[number] for number in range(len(names))]
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and name.strip() for name in names)
    ):
        raise DataError(f"{path}: `names` must list the classes, got {quoted(names)}")
    return [name.strip() for name in names]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f"reading {path} needs PyYAML: pip install 'sightline[train]'") from error
    try:
        content = load_yaml(read_text(path), as_text=True)  # a class may be called `no` or 1.0
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not yaml ({yaml_problem(error)}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: must hold `names` and the places of the images, got {quoted(content)}"
        )
    return content


def _images_of(places: list[str], base: Path, path: Path, notes: Notes) -> list[Item]:
    """Return the images of one split of data.yaml, given as folders or as text files of paths."""
    items: list[Item] = []
    for text in places:
        # Some exports write ../train/images for a folder next to data.yaml.
        candidates = [base / text, base / text.removeprefix("../")]
        place = next((candidate for candidate in candidates if candidate.exists()), None)
        if place is None:
            missing = shortened_path(base / text)
            raise DataError(f"{path}: there is no {missing}; correct the path in data.yaml")
        if place.is_dir():
            items += images_below(place)
            continue
        find = partial(_listed_image, place, base, path, notes)
        items += [(image, base) for _, image in read_list(place, find, notes)]
    return items


def _listed_image(
    place: Path, base: Path, path: Path, notes: Notes, line: str, line_number: int
) -> Path:
    def noted(_: str) -> None:
        rule = "the path is not there, but its end is, below the data set"
        notes.add(place, line_number, "a line", rule, "that picture taken")

    image = find_file(line, [*dict.fromkeys((base, place.parent))], noted)
    if image is None:
        missing = shortened_path(base / line)
        if not lies_inside(place, path):  # the list may be any file of this machine
            missing = "image of that name (not shown: the list is not the data set's)"
        raise DataError(f"{place}:{line_number}: there is no {missing}; remove the line")
    return image


def from_folders(root: Path) -> dict[str, Callable[[], list[Item]]]:
    splits: dict[str, Callable[[], list[Item]]] = {}
    for name in _SPLIT_FOLDERS:
        split = subfolder(root, name)
        places = (subfolder(subfolder(root, "images"), name), subfolder(split, "images"), split)
        for place in places:
            if place.is_dir() and images_below(place):
                splits[split_name(name) or name] = partial(images_below, place)
                break
    return splits


def images_below(folder: Path) -> list[Item]:
    return [(path, folder) for path in files_below(folder) if is_image(path)]


def listed_classes(base: Path) -> list[str] | None:
    for name in _CLASS_FILES:
        if (base / name).is_file():
            return [line for _, line in read_lines(base / name)]
    return None
