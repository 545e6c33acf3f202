"""Label Studio: its JSON and JSON-MIN exports.

Coordinates there are shares of the sides in percent. Rectangles (also rotated ones), polygons and
ellipses become objects; points that belong to one become its keypoints; other points, and brushed
masks, are left out. Where a task has several annotations, the last that was not cancelled counts.
Without any region, the choice of a task is the class of the whole image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.finder import ImageFinder, label_files
from sightline.formats.image_set import (
    Entry,
    add_object,
    chosen_attribute,
    open_image_set,
)
from sightline.formats.objects import Objects
from sightline.formats.outline import Outline, ellipse, polygon, rotated_rectangle
from sightline.formats.pictures import IMAGE_SUFFIXES
from sightline.formats.records import DataError
from sightline.formats.source import Notes, Source
from sightline.formats.text import has_json_keys, number, read_json, stated_size, truth

__all__ = ["LOOKED_FOR", "label_studio_files", "open_label_studio"]

LOOKED_FOR = "Label Studio: a json file that is a list of tasks with `data` and `annotations`"
_KEYS = (("data", "annotations"), ("data", "completions"), ("annotation_id", "annotator"))
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # that Label Studio puts before the names of uploads
_IMAGE_KEYS = ("image", "img", "picture", "photo", "url")
_DECIMALS = 9  # percent of a side rarely gives the pixel exactly
_LABELS = "labels"  # the end of the key of the classes of a region, as in rectanglelabels
_OF_TASK = (  # keys of a task in JSON-MIN that are neither its data nor its labels
    *("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"),
)


def label_studio_files(root: Path) -> list[Path]:
    """Return the exported files of a data set, or `root` itself."""
    return label_files(root, ".json", _is_export)


def _is_export(path: Path) -> bool:
    return any(has_json_keys(path, keys, opening="[") for keys in _KEYS)


def open_label_studio(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a data set by its exported files, or one of these.

    The classes are `class_names`, or all that are used, sorted; an export does not list others.
    """
    paths = label_studio_files(root)
    if not paths:
        raise DataError(f"{root}: no export of Label Studio; looked for {LOOKED_FOR}")
    notes = Notes() if notes is None else notes
    base = root if root.is_dir() else root.parent
    entries = [entry for path in paths for entry in _entries(path, base, notes)]
    points: set[str] = set()
    used: set[str] = set()
    for entry in entries:
        of_points = points if any(map(_is_box, entry.regions)) else set()
        for result in entry.regions:
            (of_points if _is_keypoint(result) else used).update(_names(result))
        used.update(entry.labels)
    point_names = sorted(points)
    names = class_names or sorted(used)
    add = partial(_add, point_names=point_names, notes=notes)
    return open_image_set("label_studio", root, entries, add, names, notes, point_names)


def _entries(path: Path, base: Path, notes: Notes) -> Iterator[Entry]:
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise DataError(f"{path}: must hold a list of tasks, got {quoted(content)}")
    find = ImageFinder(path, base, notes, "remove its task").find
    minimal = not any("annotations" in task or "completions" in task for task in content)
    choice = _choice_of_minimal(content, path) if minimal else None
    for place, task in enumerate(content, start=1):
        what = f"task {shortened(task.get('id', place))}"
        data = task if minimal else task.get("data")
        url = _image_url(data if isinstance(data, dict) else {}, task.get("file_upload"))
        if url is None:
            raise DataError(f"{path}: {what} names no image, got {quoted(data)}; remove the task")
        results = _minimal_results(task) if minimal else _results(path, task, what, notes)
        if results is None:
            rule = "it has no annotation that was not cancelled"
            notes.add(path, None, f"a task ({shortened(url)})", rule, "left out")
            continue
        labels = _texts(_choices(task.get(choice))) if choice else []
        labels += _labels_of_image(results)
        image = find(*_names_of_file(url))
        sizes = (stated_size(it.get("original_width"), it.get("original_height")) for it in results)
        size = next(filter(None, sizes), None)
        entry = Entry(path, image, size, _regions(results), labels=tuple(dict.fromkeys(labels)))
        yield entry


def _image_url(data: Mapping[str, Any], upload: Any) -> str | None:
    """The value of a task that names its image."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    named = [texts[key] for key in _IMAGE_KEYS if key in texts]
    of_images = [text for text in texts.values() if _looks_like_an_image(text)]
    return next(iter([*named, *of_images]), upload if isinstance(upload, str) else None)


def _looks_like_an_image(text: str) -> bool:
    return text.split("?")[0].lower().endswith(IMAGE_SUFFIXES) or text.lower().endswith(
        IMAGE_SUFFIXES
    )


def _names_of_file(url: str) -> list[str]:
    """The names that the file of a url may have: of local files, of uploads with and without the
    prefix that Label Studio gives them, and the end of any other."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
    except ValueError:  # a broken address
        return [url]
    local = query.get("d", [""])[0]
    name = unquote(local or parts.path or url).lstrip("/")
    last = name.replace("\\", "/").rpartition("/")[2]
    return list(dict.fromkeys(filter(None, (name, last, _PREFIX.sub("", last), url))))


def _results(path: Path, task: Mapping[str, Any], what: str, notes: Notes) -> list[Any] | None:
    """The results of the annotation that counts; None where there is none."""
    stated = task.get("annotations", task.get("completions"))
    found = [it for it in stated if isinstance(it, dict)] if isinstance(stated, list) else []
    valid = [it for it in found if not truth(it.get("was_cancelled"))]
    if len(valid) > 1:
        rule = f"it has {len(valid)} annotations"
        notes.add(path, None, what, rule, "the last that was not cancelled is read")
    if not valid:
        return None
    results = valid[-1].get("result")
    return [it for it in results if isinstance(it, dict)] if isinstance(results, list) else []


def _minimal_results(task: Mapping[str, Any]) -> list[Any]:
    """The results of a task in JSON-MIN, in the form of the full export."""
    return [
        {**it, "value": it}
        for key, value in task.items()
        if key not in _OF_TASK and isinstance(value, list)
        for it in value
        if isinstance(it, dict)
    ]


def _choice_of_minimal(tasks: Sequence[Mapping[str, Any]], path: Path) -> str | None:
    """The key of the class of whole images in JSON-MIN, where no task has a region."""
    if any(_regions(_minimal_results(task)) for task in tasks):
        return None
    there = {
        key: None
        for task in tasks
        for key, value in task.items()
        if key not in (*_OF_TASK, *_IMAGE_KEYS)
        and _texts(_choices(value))
        and not (isinstance(value, str) and _looks_like_an_image(value))
    }
    usual = [key for key in there if key.lower() in ("choice", "choices")]
    return usual[0] if usual else chosen_attribute(there, path, "tasks")


def _choices(value: Any) -> Any:
    return value.get("choices") if isinstance(value, dict) else value


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _is_region(result: Mapping[str, Any]) -> bool:
    value = _value(result)
    return any(key in value for key in ("x", "points", "rle"))


def _is_keypoint(result: Mapping[str, Any]) -> bool:
    return "keypointlabels" in _value(result) or result.get("type") == "keypoint"


def _is_box(result: Mapping[str, Any]) -> bool:
    return not _is_keypoint(result) and "rle" not in _value(result)


def _regions(results: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The results with a place, with the classes that others give to the same region."""
    names: dict[str, list[str]] = {}
    for result in results:
        if not _is_region(result) and result.get("id") is not None:
            value = _value(result)
            given = _texts(value.get("labels")) or _texts(value.get("choices"))
            names.setdefault(str(result["id"]), []).extend(given)
    return [
        {**result, "names": _own_names(result) or names.get(str(result.get("id")), [])}
        for result in results
        if _is_region(result)
    ]


def _labels_of_image(results: Sequence[Mapping[str, Any]]) -> list[str]:
    of_regions = {str(result.get("id")) for result in results if _is_region(result)}
    return [
        name
        for result in results
        if str(result.get("id")) not in of_regions
        for name in _texts(_value(result).get("choices"))
    ]


def _own_names(result: Mapping[str, Any]) -> list[str]:
    value = _value(result)
    keys = [key for key in value if key.endswith(_LABELS)]
    return [name for key in keys for name in _texts(value[key])]


def _names(region: Mapping[str, Any]) -> list[str]:
    return list(region["names"])


def _add(entry: Entry, found: Objects, *, point_names: Sequence[str], notes: Notes) -> None:
    points = _points_by_parent(entry, found, point_names, notes)
    for place, region in enumerate(entry.regions, start=1):
        value = _value(region)
        what = f"region {place} of {shortened(entry.image.name)}"
        if "rle" in value:
            rule = "masks that are drawn with a brush are not read"
            notes.add(entry.file, None, "a brushed region", rule, "left out")
        elif not _is_keypoint(region):
            outline = _outline(region, value, found.width, found.height)
            mine = points.get(str(region.get("id")))
            add_object(found, _names(region), outline, notes, what, points=mine)


def _points_by_parent(
    entry: Entry, found: Objects, point_names: Sequence[str], notes: Notes
) -> dict[str, Any]:
    """The keypoints [K, 3] of each region that has any."""
    parents = {str(region.get("id")) for region in entry.regions if _is_box(region)}
    points: dict[str, Any] = {}
    for region in filter(_is_keypoint, entry.regions):
        value, parent = _value(region), str(region.get("parentID"))
        xy = [number(value.get(axis)) for axis in "xy"]
        names = [name for name in _names(region) if name in point_names]
        if parent not in parents or not names:
            notes.add(entry.file, None, "a keypoint", "it belongs to no region", "left out")
        elif xy[0] is None or xy[1] is None or not math.isfinite(xy[0] + xy[1]):
            found.bad(f"a keypoint ({names[0]})", f"x and y must be numbers, got {quoted(value)}")
        else:
            rows = points.setdefault(parent, np.zeros((len(point_names), 3)))
            place = _pixels(xy[0], xy[1], found.width, found.height)
            rows[point_names.index(names[0])] = *place, 2
    return points


def _pixels(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    return round(x * width / 100, _DECIMALS), round(y * height / 100, _DECIMALS)


def _outline(
    region: Mapping[str, Any], value: Mapping[str, Any], width: int, height: int
) -> Outline | str:
    turn = number(region.get("image_rotation") or 0)
    if turn is None or turn % 360:
        return "the labels of an image that was turned in Label Studio are not read"
    if "points" in value:
        stated = value["points"]
        pairs = stated if isinstance(stated, list) else []
        known = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        values = [number(it) for pair in pairs for it in pair] if known else [None]
        numbers = [it for it in values if it is not None and math.isfinite(it)]
        if len(pairs) < 3 or len(numbers) < len(values):
            return f"a polygon needs 3 or more points [x, y], got {quoted(stated)}"
        xy = np.array(numbers).reshape(-1, 2) * [width, height] / 100
        return polygon(np.round(xy, _DECIMALS))
    is_ellipse = "radiusX" in value
    needed = ("x", "y", *(("radiusX", "radiusY") if is_ellipse else ("width", "height")))
    values = [number(value.get(name)) for name in needed]
    numbers = [it for it in values if it is not None and math.isfinite(it)]
    degrees = number(value.get("rotation") or 0)
    if len(numbers) < 4 or degrees is None or not math.isfinite(degrees):
        got = quoted({name: value.get(name) for name in (*needed, "rotation")})
        return f"a region must have the numbers {', '.join(needed)} and rotation, got {got}"
    x, y = _pixels(numbers[0], numbers[1], width, height)
    w, h = _pixels(numbers[2], numbers[3], width, height)
    if min(w, h) <= 0:
        return f"{needed[2]} and {needed[3]} must be positive, got {w:g} and {h:g}"
    if is_ellipse:
        return ellipse((x, y), (w, h), degrees)
    if degrees % 360 == 0:
        x2, y2 = _pixels(numbers[0] + numbers[2], numbers[1] + numbers[3], width, height)
        return Outline((x, y, x2, y2))
    return rotated_rectangle(x, y, w, h, degrees, (x, y))
