"""YOLO text files: one file per image, one `class x_centre y_centre width height` per line.

The four numbers are shares of the image's sides. A line may also hold a class and three or more
points (a polygon, or the corners of a rotated box), and is then read as the box around them.

The label file of .../images/.../a.jpg is .../labels/.../a.txt, or a.txt beside the image. As usual
for YOLO, an image without a label file has no objects; a set without a single label file is
refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.paths import files_below, lies_inside, quoted_line
from sightline.formats.pictures import IMAGE_SUFFIXES, UNREAD_SUFFIXES, image_size
from sightline.formats.records import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Notes, Source
from sightline.formats.text import number, read_lines, whole_number
from sightline.formats.yolo.config import MOST_CLASSES
from sightline.formats.yolo.layout import (
    LOOKED_FOR,
    Item,
    has_nested_labels,
    read_layout,
    yolo_root,
)

_SLACK = 1e-6  # files have six decimals, so that a side may end just beyond 1

_GOT = ", got "


def open_yolo(root: Path, class_names: Sequence[str] | None = None) -> Source:
    """Open a YOLO data set by its data.yaml or obj.data, or by its folder.

    The classes are the `names` of that file, otherwise the lines of classes.txt or the like,
    otherwise the numbers themselves; `class_names` selects and orders them. Splits are those of
    that file, otherwise the folders images/train, train/images, train, obj_train_data and so on.
    """
    found = yolo_root(root) or (root if has_nested_labels(root) else None)
    if found is None:
        raise DataError(f"{root}: no YOLO data set; looked for {LOOKED_FOR}")
    notes = Notes()
    layout = read_layout(found, notes)
    label_of_image = partial(label_file, folder=layout.label_folder)

    def labels() -> Iterator[Path]:  # the first of them come without listing the other splits
        return (label_of_image(image) for lister in layout.listers for image, _ in lister())

    names = layout.names
    if names is None:
        names = _numbers_used(path for path in labels() if path.is_file())
        rule = "no file names the classes (data.yaml, classes.txt, obj.names)"
        notes.add(root, None, "classes", rule, "named by their numbers")
    if not any(path.is_file() for path in labels()):
        raise DataError(f"{root}: none of its images has a label file; looked for {LOOKED_FOR}")
    for path in files_below(found.parent if found.is_file() else found):
        if path.suffix.lower() in UNREAD_SUFFIXES:
            rule = f"not of a kind that is read ({' '.join(IMAGE_SUFFIXES)})"
            notes.add(path, None, "an image", rule, "left out")
    unique = _unique(names, found, notes)
    wanted = {name: label for label, name in enumerate(class_names or unique)}
    label_of = {number: wanted[name] for number, name in enumerate(names) if name in wanted}
    return Source(
        format="yolo",
        label_type=LabelType.BOXES,
        class_names=tuple(class_names or unique),
        splits=layout.splits,
        pool=lambda: list(dict.fromkeys(item for lister in layout.listers for item in lister())),
        load=partial(
            _load,
            root=root,
            names=names,
            label_of=label_of,
            notes=notes,
            label_of_image=label_of_image,
        ),
        notes=notes,
        absent=layout.absent,
    )


def _unique(names: Sequence[str], found: Path, notes: Notes) -> list[str]:
    for name in (name for name, count in Counter(names).items() if count > 1):
        rule = f"{quoted(name)} is the name of several numbers"
        notes.add(found, None, "classes", rule, "read as one class")
    return list(dict.fromkeys(names))


def label_file(image: Path, folder: str = "labels") -> Path:
    """Return the path of the label file of an image, whether it exists or not."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() in ("images", "jpegimages"):
            for name in dict.fromkeys((folder, "labels", "Labels", "LABELS")):
                moved = _text_of(Path(*parts[:index], name, *parts[index + 1 :]))
                if moved.is_file():
                    return moved
                flat = _text_of(Path(*parts[:index], name, parts[-1]))
                if flat.is_file() and not moved.parent.is_dir():
                    return flat  # only the images are in the folders of splits
            break
    return _text_of(image)


def _text_of(image: Path) -> Path:
    lower, upper = image.with_suffix(".txt"), image.with_suffix(".TXT")
    return upper if not lower.is_file() and upper.is_file() else lower


def _numbers_used(labels: Iterable[Path]) -> list[str]:
    words = (line.split()[0] for path in labels for _, line in read_lines(path))
    numbers = (whole_number(word) for word in words)
    # A larger number is reported with its line, as an unknown class.
    known = [number for number in numbers if number is not None and 0 <= number < MOST_CLASSES]
    return [str(number) for number in range(max(known, default=0) + 1)]


def _load(
    item: Item,
    *,
    root: Path,
    names: Sequence[str],
    label_of: dict[int, int],
    label_of_image: Callable[[Path], Path],
    notes: Notes,
) -> tuple[Record, list[Issue]]:
    image, folder = item
    width, height = image_size(image)
    path = label_of_image(image)
    boxes, labels, issues = [], [], []
    inside = None
    first_points = None
    for line_number, line in read_lines(path) if path.is_file() else ():
        parsed = _parse_line(line, names, label_of)
        if isinstance(parsed, str):
            if parsed.endswith(_GOT):
                inside = lies_inside(path, root) if inside is None else inside
                parsed += quoted_line(line, inside=inside)
            issues.append(Issue(path, line_number, "object", parsed))
            continue
        label, x1, y1, x2, y2, points = parsed
        box = (x1 * width, y1 * height, x2 * width, y2 * height)
        rule = box_rule(box, width, height)
        if rule is not None:
            issues.append(Issue(path, line_number, "object", rule))
            continue
        if points and first_points is None:
            first_points = line_number
        boxes.append(box)
        labels.append(label)
    if first_points is not None:
        rule = "a box is `class x y w h`"
        notes.add(path, first_points, "polygons", rule, "read as the boxes around them")
    record = Record(
        image,
        _image_id(image, folder),
        width,
        height,
        labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
    )
    return record, issues


def _image_id(image: Path, folder: Path) -> str:
    inside = image.is_relative_to(folder)
    return (image.relative_to(folder) if inside else image).with_suffix("").as_posix()


def _parse_line(
    line: str, names: Sequence[str], label_of: dict[int, int]
) -> tuple[int, float, float, float, float, bool] | str:
    """Return label, x1, y1, x2, y2 as shares and whether the line holds points; or the broken rule.

    The line itself is to be added to a rule that ends with `_GOT`.
    """
    first, *others = line.split()
    points = len(others) >= 6 and len(others) % 2 == 0
    if len(others) != 4 and not points:
        return (
            f"a line is `class x y w h`, 5 numbers, got {len(others) + 1}; "
            "or a class and 3 or more points, x and y of each"
        )
    label = whole_number(first)
    values = [value for word in others if (value := number(word)) is not None]
    if label is None or len(values) < len(others):
        return f"a line is `class x y w h`, an integer and 4 numbers{_GOT}"
    if not 0 <= label < len(names):
        return f"unknown class {shortened(label)}; the classes are 0 to {len(names) - 1}"
    if label not in label_of:
        return f"unknown class {quoted(names[label])}, not one of the requested classes"
    if not all(map(math.isfinite, values)):
        return f"coordinates must be finite{_GOT}"
    if not points and min(values[2:]) <= 0:
        return f"width and height must be positive, got {values[2]:g} and {values[3]:g}"
    if min(values) < -_SLACK or max(values) > 1 + _SLACK:
        what = "x and y of points" if points else "x y w h"
        return f"{what} are shares of the image's sides, in 0 to 1{_GOT}"
    if points:
        xs, ys = values[::2], values[1::2]
        return label_of[label], min(xs), min(ys), max(xs), max(ys), True
    x, y, w, h = values
    return label_of[label], x - w / 2, y - h / 2, x + w / 2, y + h / 2, False
