"""YOLO text files: one file per image, one `class x_centre y_centre width height` per line.

The four numbers are shares of the image's sides. The label file of .../images/.../a.jpg is
.../labels/.../a.txt, or a.txt beside the image. As usual for YOLO, an image without a label file
has no objects; a set without a single label file is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.paths import lies_inside, quoted_line
from sightline.formats.pictures import image_size
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Source
from sightline.formats.yolo_layout import (
    LOOKED_FOR,
    Item,
    from_folders,
    from_yaml,
    images_below,
    listed_classes,
    yolo_root,
)

_SLACK = 1e-6  # files have six decimals, so that a side may end just beyond 1

_GOT = ", got "


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
        base, names, splits = from_yaml(found)
    else:
        base, names, splits = found, None, from_folders(found)
    whole = base / "images" if (base / "images").is_dir() else base

    def pool() -> list[Item]:
        listed = [item for items in splits.values() for item in items()]
        return list(dict.fromkeys(listed or images_below(whole)))

    labels = [path for path in (label_file(image) for image, _ in pool()) if path.is_file()]
    if not labels:
        raise DataError(f"{root}: none of its images has a label file; looked for {LOOKED_FOR}")
    names = names or listed_classes(base) or _numbers_used(labels)
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
        return f"unknown class {quoted(names[number])}, not one of the requested classes"
    if not np.isfinite([x, y, w, h]).all():
        return f"coordinates must be finite{_GOT}"
    if w <= 0 or h <= 0:
        return f"width and height must be positive, got {w:g} and {h:g}"
    if min(x, y) < -_SLACK or max(x, y, w, h) > 1 + _SLACK:
        return f"x y w h are shares of the image's sides, in 0 to 1{_GOT}"
    return label_of[number], x, y, w, h
