"""YOLO text files: one file per image, one `class x_centre y_centre width height` per line.

The four numbers are shares of the image's sides. The label file of .../images/.../a.jpg is
.../labels/.../a.txt, or a.txt beside the image. As usual for YOLO, an image without a label file
has no objects; a set without a single label file is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline._text import quoted, shortened, yaml_problem
from sightline.formats.paths import is_file, lies_inside, quoted_line, shortened_path
from sightline.formats.pictures import image_size, is_image
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Source, split_name

LOOKED_FOR = "YOLO: data.yaml with `names`, or labels/**/*.txt with images/, or *.txt beside images"
_YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_CLASS_FILES = ("classes.txt", "labels/classes.txt", "obj.names", "classes.names")
_NOT_LABELS = ("classes.txt", "readme.txt", "requirements.txt")
_SPLIT_FOLDERS = ("train", "val", "valid", "test")
_SLACK = 1e-6  # files have six decimals, so that a side may end just beyond 1

_GOT = ", got "

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


def open_yolo(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a YOLO data set by its data.yaml or its folder.

    The classes are the `names` of data.yaml, otherwise the lines of classes.txt, otherwise the
    numbers themselves; `class_names` selects and orders them. Splits are those of data.yaml,
    otherwise the folders images/train, train/images and so on.
    """
    found = yolo_root(root)
    if found is None:
        raise DataError(f"{root}: no YOLO data set; looked for {LOOKED_FOR}")
    if found.is_file():
        base, names, splits = _from_yaml(found)
    else:
        base, names, splits = found, None, _from_folders(found)
    whole = base / "images" if (base / "images").is_dir() else base

    def pool() -> list[Item]:
        listed = [item for items in splits.values() for item in items()]
        return list(dict.fromkeys(listed or _images_below(whole)))

    labels = [path for path in (label_file(image) for image, _ in pool()) if path.is_file()]
    if not labels:
        raise DataError(f"{root}: none of its images has a label file; looked for {LOOKED_FOR}")
    names = names or _listed_classes(base) or _numbers_used(labels)
    wanted = {name: label for label, name in enumerate(class_names or names)}
    label_of = {number: wanted[name] for number, name in enumerate(names) if name in wanted}
    return Source(
        format="yolo",
        label_type=LabelType.BOXES,
        class_names=tuple(class_names or names),
        splits=splits,
        pool=pool,
        load=partial(_load, root=root, names=names, label_of=label_of),
    )


def label_file(image: Path) -> Path:
    """Return the path of the label file of an image, whether it exists or not."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            moved = Path(*parts).with_suffix(".txt")
            if moved.is_file():
                return moved
            break
    return image.with_suffix(".txt")


def _from_yaml(
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
            items += _images_below(place)
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


def _from_folders(root: Path) -> dict[str, Callable[[], list[Item]]]:
    splits: dict[str, Callable[[], list[Item]]] = {}
    for name in _SPLIT_FOLDERS:
        for place in (root / "images" / name, root / name / "images", root / name):
            if place.is_dir() and _images_below(place):
                splits[split_name(name) or name] = partial(_images_below, place)
                break
    return splits


def _images_below(folder: Path) -> list[Item]:
    return [(path, folder) for path in sorted(folder.rglob("*")) if is_image(path)]


def _listed_classes(base: Path) -> list[str] | None:
    for name in _CLASS_FILES:
        if (base / name).is_file():
            lines = (base / name).read_text(encoding="utf-8").splitlines()
            return [line.strip() for line in lines if line.strip()]
    return None


def _numbers_used(labels: Sequence[Path]) -> list[str]:
    numbers = [0]
    for path in labels:
        words = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        numbers += [int(word) for word in words if word.isdigit()]
    return [str(number) for number in range(max(numbers) + 1)]


def _load(
    item: Item, *, root: Path, names: Sequence[str], label_of: dict[int, int]
) -> tuple[Record, list[Issue]]:
    image, folder = item
    width, height = image_size(image)
    path = label_file(image)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    boxes, labels, issues = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parsed = _parse_line(line, names, label_of)
        if isinstance(parsed, str):
            if parsed.endswith(_GOT):
                parsed += quoted_line(line, inside=lies_inside(path, root))
            issues.append(Issue(path, number, "object", parsed))
            continue
        label, x, y, w, h = parsed
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        rule = box_rule(box, width, height)
        if rule is not None:
            issues.append(Issue(path, number, "object", rule))
            continue
        boxes.append(box)
        labels.append(label)
    record = Record(
        image,
        image.relative_to(folder).with_suffix("").as_posix(),
        width,
        height,
        labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
    )
    return record, issues


def _parse_line(
    line: str, names: Sequence[str], label_of: dict[int, int]
) -> tuple[int, float, float, float, float] | str:
    """Return label, x, y, w, h of a line, or the broken rule, where the line replaces `_GOT`."""
    words = line.split()
    if len(words) != 5:
        hint = "; a polygon is not a box" if len(words) > 6 else ""
        return f"a line is `class x y w h`, 5 numbers, got {len(words)}{hint}"
    try:
        number = int(words[0])
        x, y, w, h = (float(word) for word in words[1:])
    except ValueError:
        return f"a line is `class x y w h`, an integer and 4 numbers{_GOT}"
    if not 0 <= number < len(names):
        return f"unknown class {shortened(number)}; the classes are 0 to {len(names) - 1}"
    if number not in label_of:
        return f"unknown class {quoted(names[number])}, not one of the classes asked for"
    if not np.isfinite([x, y, w, h]).all():
        return f"coordinates must be finite{_GOT}"
    if w <= 0 or h <= 0:
        return f"width and height must be positive, got {w:g} and {h:g}"
    if min(x, y) < -_SLACK or max(x, y, w, h) > 1 + _SLACK:
        return f"x y w h are shares of the image's sides, in 0 to 1{_GOT}"
    return label_of[number], x, y, w, h
