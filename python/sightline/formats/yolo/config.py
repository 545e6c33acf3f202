"""What data.yaml (Ultralytics, Roboflow) and obj.data (Darknet, CVAT) say of a YOLO data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline._text import quoted, shortened, yaml_problem
from sightline.formats.lists import find_file
from sightline.formats.paths import files_in, lies_inside
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name
from sightline.formats.text import read_lines, read_text, whole_number
from sightline.formats.yaml_file import load_yaml

__all__ = ["MOST_CLASSES", "Config", "Keypoints", "class_lines", "config_file", "read_config"]

_YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_KEYS = ("names", "nc", "path", "train", "val", "valid", "test")
# A key at the top level; {} is what separates it from its value.
_KEY = r"^[\"']?(\w+)[\"']?[ \t]*{}"
_ABSENT = ("", "null", "~", "None")  # what YAML and Python write for nothing
MOST_CLASSES = 10_000  # at most, where no file names them


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of each object: `count` of `size` numbers, which are 2 or, with visibility, 3.

    `names` and `mirror` are those of `Annotations`.
    """

    count: int
    size: int
    names: tuple[str, ...] = ()
    mirror: tuple[int, ...] = ()

    @property
    def numbers(self) -> int:
        return self.count * self.size


@dataclass(frozen=True)
class Config:
    """A file that describes a data set.

    `places` maps each split to its folders, lists, images and patterns, as written; they are
    relative to the first of the folders `bases` in which they are. `line_of` maps each key to its
    line. `names` is None where the file gives no names of classes. `task` is "" where it names none
    (Ultralytics knows detect, segment, pose and obb).
    """

    file: Path
    names: list[str] | None
    bases: list[Path]
    places: dict[str, list[str]]
    line_of: Mapping[str, int]
    task: str = ""
    keypoints: Keypoints | None = None


def config_file(root: Path) -> Path | None:
    """Return the file in a folder (or `root` itself) that describes a YOLO data set, or None.

    That is data.yaml or one of its usual names; otherwise a yaml file of any name that has `names`
    and a split; otherwise a file *.data that has them. DataError where several of any name fit.
    """
    if root.is_file():
        return root if root.suffix.lower() in (".yaml", ".yml", ".data") else None
    for name in _YAML_NAMES:
        if (root / name).is_file():
            return root / name
    for suffixes, separator in (((".yaml", ".yml"), ":"), ((".data",), "=")):
        found = [path for path in files_in(root, *suffixes) if _describes(path, separator)]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise DataError(f"{root}: {names} each describe a data set; give one as data.path")
        if found:
            return found[0]
    return None


def _describes(path: Path, separator: str) -> bool:
    try:
        keys = _lines_of_keys(read_text(path), separator)
    except DataError:
        return False
    return "names" in keys and any(split_name(key) for key in keys)


def _lines_of_keys(text: str, separator: str = ":") -> dict[str, int]:
    """The line of each key at the top level, found by a pattern so that broken files have lines."""
    return {
        found[1]: text.count("\n", 0, found.start()) + 1
        for found in re.finditer(_KEY.format(separator), text, re.MULTILINE)
    }


def read_config(path: Path, notes: Notes) -> Config:
    """Read data.yaml or obj.data; what is assumed goes to `notes`.

    Raises:
        DataError: it is not valid, and says where and why.
    """
    return _read_darknet(path, notes) if path.suffix.lower() == ".data" else _read_yaml(path, notes)


def class_lines(path: Path, notes: Notes) -> list[str]:
    """Return the names of classes in a file that has one per line."""
    lines = read_lines(path)
    gap = next((n for place, (n, _) in enumerate(lines, start=1) if n > place), None)
    if gap is not None:
        rule = "a blank line before it is not counted as a class"
        notes.add(path, gap, "a class name", rule, "numbered without it")
    return [line for _, line in lines]


def _read_yaml(path: Path, notes: Notes) -> Config:
    text = read_text(path)
    content = _yaml_content(path, text)
    line_of = _lines_of_keys(text)
    _note_repeated(path, text, line_of, notes)
    bases = _bases(path, content.get("path"), line_of.get("path"), notes)
    names = _names_of(path, content.get("names", ""), bases, notes)
    count = content.get("nc", "")
    if count not in _ABSENT:
        stated = whole_number(count)
        if names is None and stated is not None and 0 < stated <= MOST_CLASSES:
            names = [str(number) for number in range(stated)]
            rule = "there is `nc`, but no `names`"
            notes.add(path, line_of.get("nc"), "classes", rule, "named by their numbers")
        elif names is None or stated != len(names):
            shown = quoted(count) if stated is None else shortened(stated)
            raise DataError(f"{path}: `nc` is {shown}, but `names` lists {len(names or [])}")
    if names is None:
        raise DataError(f"{path}: `names` must list the classes, got {quoted(None)}")
    places: dict[str, list[str]] = {}
    for key, value in content.items():
        split = split_name(str(key))
        if split is None or value in _ABSENT or not value:
            continue
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(place, str) and place.strip() for place in listed):
            raise DataError(
                f"{path}: `{key}` must be a folder, a list file, or a list of them, "
                f"got {quoted(value)}"
            )
        _add_split(
            places, split, [place.strip() for place in listed], path, line_of.get(key), notes
        )
    task = content.get("task")
    task = task.strip().lower() if isinstance(task, str) else ""
    return Config(path, names, bases, places, line_of, task, _keypoints(path, content, notes))


def _note_repeated(path: Path, text: str, line_of: Mapping[str, int], notes: Notes) -> None:
    found = Counter(match[1] for match in re.finditer(_KEY.format(":"), text, re.MULTILINE))
    for key in (key for key, count in found.items() if count > 1):
        notes.add(path, line_of[key], f"`{key}`", "the key occurs twice", "the last one read")


def _keypoints(path: Path, content: Mapping[str, Any], notes: Notes) -> Keypoints | None:
    """What `kpt_shape`, `flip_idx` and `kpt_names` say; None without the first of them."""
    shape = content.get("kpt_shape", "")
    if shape in _ABSENT:
        return None
    count, size = (
        map(whole_number, shape) if isinstance(shape, list) and len(shape) == 2 else (0, 0)
    )
    if not count or count < 0 or size not in (2, 3):
        raise DataError(
            f"{path}: `kpt_shape` must be [number of keypoints, 2 or 3], got {quoted(shape)}"
        )
    flips = content.get("flip_idx") or []
    numbers = [whole_number(value) for value in flips] if isinstance(flips, list) else []
    mirror = tuple(number for number in numbers if number is not None)
    fits = len(mirror) == count and sorted(mirror) == [*range(count)]
    if flips and flips not in _ABSENT and not fits:
        raise DataError(
            f"{path}: `flip_idx` must have each of 0 ... {count - 1} once, since `kpt_shape` says "
            f"{count}, got {quoted(flips)}"
        )
    names = _keypoint_names(content.get("kpt_names"))
    if names and len(names) != count:
        rule = f"`kpt_names` has {len(names)} names for {count} keypoints, or differs by class"
        notes.add(path, None, "names of keypoints", rule, "not read")
        names = ()
    return Keypoints(count, size or 0, names, mirror)


def _keypoint_names(stated: object) -> tuple[str, ...]:
    """The names of a list, or of one for each class; those of all classes where they differ."""
    lists: Sequence[Any] = [*stated.values()] if isinstance(stated, Mapping) else [stated]
    found = [tuple(map(str, names)) for names in lists if isinstance(names, list)]
    return found[0] if len(set(found)) == 1 else tuple(name for names in found for name in names)


def _add_split(
    places: dict[str, list[str]],
    split: str,
    new: list[str],
    path: Path,
    line: int | None,
    notes: Notes,
) -> None:
    if places.get(split, new) != new:
        rule = f"an earlier key of the file gives the places of {split}"
        notes.add(path, line, "a split", rule, "left out")
    places.setdefault(split, new)


def _yaml_content(path: Path, text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f"reading {path} needs PyYAML: pip install 'sightline[train]'") from error
    try:
        content = load_yaml(text, as_text=True)  # a class may be called `no` or 1.0
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not yaml ({yaml_problem(error)}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: must hold `names` and the places of the images, got {quoted(content)}"
        )
    return content


def _bases(path: Path, stated: object, line: int | None, notes: Notes) -> list[Path]:
    """The folders that places are relative to: `path` where it is here, and that of the file."""
    if not isinstance(stated, str) or stated in _ABSENT:
        return [path.parent]
    place = path.parent / stated.replace("\\", "/")  # an absolute one replaces the folder
    if stated.startswith("~"):
        place = Path.home() / stated[1:].lstrip("/\\")
    try:
        there = place.is_dir()
    except (OSError, ValueError):
        there = False
    if there:
        return list(dict.fromkeys((place, path.parent)))
    rule = "there is no such folder on this machine"
    notes.add(path, line, "`path`", rule, f"the folder of {path.name} used")
    return [path.parent]


def _names_of(path: Path, names: Any, bases: list[Path], notes: Notes) -> list[str] | None:
    """The classes, listed or numbered; or those of the file that `names` is the path of."""
    if isinstance(names, str):
        if names in _ABSENT:
            return None
        found = _names_file(names, path, bases)
        if found is not None and found.suffix.lower() in (".names", ".txt"):
            return class_lines(found, notes)
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


def _names_file(name: str, path: Path, bases: list[Path]) -> Path | None:
    """The file that lists the classes; None outside the data set, so that no error quotes it."""
    found = find_file(name, bases, lambda _: None, suffixes=False)
    return found if found is not None and lies_inside(found, path) else None


def _read_darknet(path: Path, notes: Notes) -> Config:
    """Read `key = value` lines. A path there may begin with data/, which is the folder itself."""
    values: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for number, line in read_lines(path):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise DataError(f"{path}:{number}: a line is `key = value`, got {quoted(line)}")
        values[key.lower()], line_of[key.lower()] = value, number
    bases = [path.parent]
    named = values.get("names", "")
    found = _names_file(named, path, bases) if named else None
    names = class_lines(found, notes) if found is not None else None
    if names is None and named:
        rule = f"there is no such file of class names ({shortened(named)})"
        notes.add(path, line_of["names"], "`names`", rule, "classes named by their numbers")
    stated = whole_number(values.get("classes"))
    if names is not None and stated is not None and stated != len(names):
        raise DataError(
            f"{path}:{line_of['classes']}: `classes` is {shortened(stated)}, but {found} lists "
            f"{len(names)}; correct one of them"
        )
    places: dict[str, list[str]] = {}
    for key, value in values.items():
        split = split_name(key)
        if split and value:
            _add_split(places, split, [value], path, line_of[key], notes)
    return Config(path, names, bases, places, line_of)
