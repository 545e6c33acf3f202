"""Where a YOLO data set keeps its classes, splits and images: in data.yaml, or by folder names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightline._text import quoted, yaml_problem
from sightline.formats.paths import is_file, lies_inside, shortened_path
from sightline.formats.pictures import is_image
from sightline.formats.records import DataError
from sightline.formats.source import split_name

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

Item = tuple[Path, Path]  # the image, and the folder that its id is relative to


def yolo_root(root: Path) -> Path | None:
    """Return the data.yaml, or otherwise the folder, of a YOLO data set; None without either."""
    if root.is_file():
        return root if root.suffix in (".yaml", ".yml") else None
    for name in _YAML_NAMES:
        if (root / name).is_file():
            return root / name
    places = [root, *(root / name for name in ("labels", *_SPLIT_FOLDERS))]
    places += [root / "labels" / name for name in _SPLIT_FOLDERS]
    places += [root / name / "labels" for name in _SPLIT_FOLDERS]
    for place in places:
        texts = [path for path in place.glob("*.txt") if path.name.lower() not in _NOT_LABELS]
        labelled = place.name == "labels" or "labels" in place.parts[len(root.parts) :]
        if texts and (labelled or any(_image_beside(path) for path in texts)):
            return root
    return None


def _image_beside(label: Path) -> bool:
    return any(is_image(path) for path in label.parent.glob(f"{label.stem}.*"))


def from_yaml(
    path: Path,
) -> tuple[Path, list[str], dict[str, Callable[[], list[Item]]]]:
    content = _read_yaml(path)
    names = content.get("names")
    if isinstance(names, Mapping):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f"{path}: the keys of `names` must be 0, 1, 2 ..., got {quoted([*names])}"
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: `names` must list the classes, got {quoted(names)}")
    names = [str(name) for name in names]
    if content.get("nc", len(names)) != len(names):
        raise DataError(f"{path}: `nc` is {quoted(content['nc'])}, but `names` lists {len(names)}")
    base = path.parent
    if content.get("path"):
        stated = base / str(content["path"])  # an absolute one replaces the base
        base = stated if stated.is_dir() else base
    splits: dict[str, Callable[[], list[Item]]] = {}
    for key, value in content.items():
        split = split_name(str(key))
        if split and value:
            places = [str(place) for place in (value if isinstance(value, list) else [value])]
            splits[split] = partial(_images_of, places, base, path)
    return base, names, splits


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f"reading {path} needs PyYAML: pip install 'sightline[train]'") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not yaml ({yaml_problem(error)}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: must hold `names` and the places of the images, got {quoted(content)}"
        )
    return content


def _images_of(places: list[str], base: Path, path: Path) -> list[Item]:
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
        for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                image = base / line.strip()
                if not is_file(image):
                    missing = shortened_path(image)
                    if not lies_inside(place, path):  # the list may be any file of this machine
                        missing = "image of that name (not shown: the list is not the data set's)"
                    raise DataError(f"{place}:{number}: there is no {missing}; remove the line")
                items.append((image, base))
    return items


def from_folders(root: Path) -> dict[str, Callable[[], list[Item]]]:
    splits: dict[str, Callable[[], list[Item]]] = {}
    for name in _SPLIT_FOLDERS:
        for place in (root / "images" / name, root / name / "images", root / name):
            if place.is_dir() and images_below(place):
                splits[split_name(name) or name] = partial(images_below, place)
                break
    return splits


def images_below(folder: Path) -> list[Item]:
    return [(path, folder) for path in sorted(folder.rglob("*")) if is_image(path)]


def listed_classes(base: Path) -> list[str] | None:
    for name in _CLASS_FILES:
        if (base / name).is_file():
            lines = (base / name).read_text(encoding="utf-8").splitlines()
            return [line.strip() for line in lines if line.strip()]
    return None
