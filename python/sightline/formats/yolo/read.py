"""YOLO text files: one file per image, one `class x_centre y_centre width height` per line.

The four numbers are shares of the image's sides. A line may also hold a class and three or more
points, a polygon that is kept, and is then read as the box around them. The polygons of a set are
the corners of rotated boxes where its data.yaml has `task: obb`, or where all of them have four
points. Where data.yaml has `kpt_shape`, keypoints follow the four numbers.

The label file of .../images/.../a.jpg is .../labels/.../a.txt, or a.txt beside the image. As usual
for YOLO, an image without a label file has no objects; a set without a single label file is
refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from sightline._text import quoted
from sightline.formats.objects import Objects
from sightline.formats.paths import files_below, lies_inside, quoted_line
from sightline.formats.pictures import IMAGE_SUFFIXES, UNREAD_SUFFIXES, image_size
from sightline.formats.records import DataError, LabelType
from sightline.formats.shapes import Polygons, rotated_of_corners
from sightline.formats.source import Notes, Pair, Source
from sightline.formats.text import read_lines, whole_number
from sightline.formats.yolo.config import MOST_CLASSES, Keypoints
from sightline.formats.yolo.layout import (
    LOOKED_FOR,
    Item,
    Layout,
    has_nested_labels,
    read_layout,
    yolo_root,
)
from sightline.formats.yolo.line import GOT, Line, is_polygon, parse_line
from sightline.formats.yolo.shares import pixel_of_share, pixels_of_shares


def open_yolo(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a YOLO data set by its data.yaml or obj.data, or by its folder.

    The classes are the `names` of that file, otherwise the lines of classes.txt or the like,
    otherwise the numbers themselves; `class_names` selects and orders them. Splits are those of
    that file, otherwise the folders images/train, train/images, train, obj_train_data and so on.
    """
    found = yolo_root(root) or (root if has_nested_labels(root) else None)
    if found is None:
        raise DataError(f"{root}: no YOLO data set; looked for {LOOKED_FOR}")
    notes = notes or Notes()
    layout = read_layout(found, notes)
    label_of_image = partial(label_file, images=layout.image_folder, folder=layout.label_folder)

    def labels() -> Iterator[Path]:  # the first of them come without listing the other splits
        return (label_of_image(image) for lister in layout.listers for image, _ in lister())

    names = layout.names
    if names is None:
        names = _numbers_used((path for path in labels() if path.is_file()), notes)
        rule = "no file names the classes (data.yaml, classes.txt, obj.names)"
        notes.add(root, None, "classes", rule, "named by their numbers")
    if not any(path.is_file() for path in labels()):
        raise DataError(f"{root}: none of its images has a label file; looked for {LOOKED_FOR}")
    for path in files_below(found.parent if found.is_file() else found):
        if path.suffix.lower() in UNREAD_SUFFIXES:
            rule = f"not of a kind that is read ({' '.join(IMAGE_SUFFIXES)})"
            notes.add(path, None, "an image", rule, "left out")
    unique = _unique(names, found, notes)
    keypoints = layout.keypoints
    return Source(
        format="yolo",
        label_type=LabelType.BOXES,
        class_names=tuple(class_names or unique),
        splits=layout.splits,
        pool=partial(_pool, layout, found, notes),
        load=partial(
            _load,
            root=root,
            names=names,
            label_of={name: label for label, name in enumerate(class_names or unique)},
            keypoints=keypoints,
            why_rotated=cache(partial(_why_rotated, layout, label_of_image)),
            notes=notes,
            label_of_image=label_of_image,
        ),
        notes=notes,
        label_file=lambda item: label_of_image(item[0]),
        absent=layout.absent,
        keypoint_names=keypoints.names if keypoints is not None else (),
        keypoint_mirror=keypoints.mirror if keypoints is not None else (),
    )


def _pool(layout: Layout, found: Path, notes: Notes) -> list[Item]:
    items = [lister() for lister in layout.listers]
    for split, lister in layout.splits.items():
        if lister in layout.listers and not items[layout.listers.index(lister)]:
            rule = "there is no image in its folder or list"
            notes.add(found, None, f"split {split}", rule, "empty")
    return list(dict.fromkeys(item for part in items for item in part))


def _why_rotated(layout: Layout, label_of_image: Callable[[Path], Path]) -> str | None:
    """Why the polygons of a set are the corners of rotated boxes, or None where they are not."""
    if layout.task:
        return "`task` is obb" if layout.task == "obb" else None
    for lister in layout.listers:
        try:
            paths = [label_of_image(image) for image, _ in lister()]
            lines = (line for path in paths if path.is_file() for _, line in read_lines(path))
            counts = (len(line.split()) - 1 for line in lines)
            if any(count != 8 for count in counts if is_polygon(count)):
                return None
        except DataError:  # what cannot be read is an error only where it is asked for
            continue
    return "all of them have 4 points"


def _unique(names: Sequence[str], found: Path, notes: Notes) -> list[str]:
    for name in (name for name, count in Counter(names).items() if count > 1):
        rule = f"{quoted(name)} is the name of several numbers"
        notes.add(found, None, "classes", rule, "read as one class")
    return list(dict.fromkeys(names))


def label_file(image: Path, images: str = "images", folder: str = "labels") -> Path:
    """Return the path of the label file of an image, whether it exists or not."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == images or parts[index].lower() in ("images", "jpegimages"):
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


def _numbers_used(labels: Iterable[Path], notes: Notes) -> list[str]:
    words = (line.split()[0] for path in labels for _, line in _lines(path, notes))
    numbers = (whole_number(word) for word in words)
    # A larger number is reported with its line, as an unknown class.
    known = [number for number in numbers if number is not None and 0 <= number < MOST_CLASSES]
    return [str(number) for number in range(max(known, default=0) + 1)]


def _lines(path: Path, notes: Notes) -> list[tuple[int, str]]:
    try:
        return read_lines(path)
    except DataError as error:
        notes.refuse(error)
        return []


def _load(
    item: Item,
    *,
    root: Path,
    names: Sequence[str],
    label_of: dict[str, int],
    keypoints: Keypoints | None,
    why_rotated: Callable[[], str | None],
    label_of_image: Callable[[Path], Path],
    notes: Notes,
) -> Pair:
    image, folder = item
    width, height = image_size(image, max_pixels=None)
    path = label_of_image(image)
    found = Objects(path, width, height, label_of)
    first_polygon = None
    for line_number, line in read_lines(path) if path.is_file() else ():
        parsed = parse_line(line, names, keypoints)
        if isinstance(parsed, Line) and parsed.name not in label_of:
            parsed = f"unknown class {quoted(parsed.name)}, not one of the requested classes"
        if isinstance(parsed, str):
            if parsed.endswith(GOT):
                parsed += quoted_line(line, inside=lies_inside(path, root))
            found.bad("object", parsed, line_number)
            continue
        if _add(found, parsed, line_number, why_rotated) and parsed.polygon is not None:
            first_polygon = first_polygon or line_number
    if first_polygon is not None:
        why = why_rotated()
        rule = f"{why}: corners of rotated boxes" if why else "a box is `class x y w h`"
        notes.add(path, first_polygon, "polygons", rule, "kept, and read as the boxes around them")
    return found.pair(image, _image_id(image, folder))


def _add(
    found: Objects, line: Line, line_number: int, why_rotated: Callable[[], str | None]
) -> bool:
    """Add the object of a line, in pixels; return whether it could be added."""
    sides = found.width, found.height
    to_pixels = partial(pixels_of_shares, width=found.width, height=found.height)
    polygon = rotated = points = None
    if line.polygon is not None:
        polygon = to_pixels(line.polygon)
        if len(polygon) == 4 and why_rotated():
            rotated = rotated_of_corners(polygon)[0].tolist()
    if line.points is not None:
        points = np.concatenate([to_pixels(line.points[:, :2]), line.points[:, 2:]], axis=1)
    return found.add(
        line.name,
        [pixel_of_share(share, side) for share, side in zip(line.box, sides * 2, strict=True)],
        what="object",
        line=line_number,
        shape=Polygons((polygon,)) if polygon is not None else None,
        points=points,
        rotated=rotated,
    )


def _image_id(image: Path, folder: Path) -> str:
    inside = image.is_relative_to(folder)
    return (image.relative_to(folder) if inside else image).with_suffix("").as_posix()
