"""VoTT: the JSON that it exports, and its projects with one JSON file per asset.

A region is a rectangle (`boundingBox`) or a polygon, whose outline is kept; lines and points have
no box and are left out. An asset that was visited and has no region is an image without objects;
one that was not visited is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from sightline._text import quoted, shortened
from sightline.formats.finder import ImageFinder, label_files
from sightline.formats.image_set import Entry, add_object, open_image_set
from sightline.formats.objects import Objects
from sightline.formats.outline import Outline, polygon
from sightline.formats.paths import files_in
from sightline.formats.records import DataError
from sightline.formats.source import Notes, Source
from sightline.formats.text import has_json_keys, number, read_json, stated_size, whole_number

__all__ = ["LOOKED_FOR", "open_vott", "vott_files"]

LOOKED_FOR = "VoTT: a json file with `assets` and `tags`, or a project *.vott with *-asset.json"
_KEYS = ("assets", "tags")
_ASSET = "-asset.json"
_NOT_VISITED = 0
_NO_BOX = ("POINT", "POLYLINE")
_CORNERS = ("left", "top", "width", "height")


def vott_files(root: Path) -> list[Path]:
    """Return the exported files of a data set, otherwise its projects; or `root` itself."""
    if root.is_file() and root.suffix.lower() == ".vott":
        return [root]
    return label_files(root, ".json", _is_export) or label_files(root, ".vott", _is_export)


def _is_export(path: Path) -> bool:
    return has_json_keys(path, _KEYS)


def open_vott(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a data set by its exported files or projects, or one of these.

    The classes are `class_names`, or the tags of the project in their order.
    """
    paths = vott_files(root)
    if not paths:
        raise DataError(f"{root}: no file of VoTT; looked for {LOOKED_FOR}")
    notes = Notes() if notes is None else notes
    base = root if root.is_dir() else root.parent
    entries: list[Entry] = []
    tags: list[str] = []
    for path in paths:
        content = read_json(path)
        assets = content.get("assets") if isinstance(content, dict) else None
        if not isinstance(assets, dict):
            raise DataError(f"{path}: must hold an object `assets`, got {quoted(assets)}")
        tags += _tags(path, content.get("tags"))
        find = ImageFinder(path, base, notes, "remove its asset").find
        items = _of_project(path, assets) if path.suffix.lower() == ".vott" else assets.values()
        for item in items:
            asset = item.get("asset") if isinstance(item, dict) else None
            regions = item.get("regions") if isinstance(item, dict) else None
            name = asset.get("name") if isinstance(asset, dict) else None
            if not isinstance(asset, dict) or not isinstance(name, str):
                raise DataError(
                    f"{path}: an asset must hold `asset` with `name`, and `regions`, got "
                    f"{quoted(item)}"
                )
            regions = regions if isinstance(regions, list) else []
            if not regions and whole_number(asset.get("state")) == _NOT_VISITED:
                rule = "it was not visited, and has no region"
                notes.add(path, None, f"image {shortened(name)}", rule, "left out")
                continue
            entries.append(_entry(path, asset, name, regions, find))
    used = {
        name for entry in entries for it in entry.regions for name in _names(it) if name not in tags
    }
    names = class_names or [*dict.fromkeys(tags), *sorted(used)]
    return open_image_set("vott", root, entries, partial(_add, notes=notes), names, notes)


def _entry(path: Path, asset: Mapping[str, Any], name: str, regions: list[Any], find: Any) -> Entry:
    where = asset.get("path")
    last = unquote(where).replace("\\", "/").rpartition("/")[2] if isinstance(where, str) else name
    size = asset.get("size")
    size = size if isinstance(size, dict) else {}
    image = find(name, unquote(name), last)
    return Entry(path, image, stated_size(size.get("width"), size.get("height")), regions)


def _tags(path: Path, tags: Any) -> list[str]:
    found = tags if isinstance(tags, list) else []
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in found]
    texts = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    if len(texts) < len(names):
        raise DataError(f"{path}: `tags` must each have a name, got {quoted(tags)}")
    return texts


def _of_project(path: Path, assets: Mapping[str, Any]) -> Iterator[Any]:
    """The assets of a project with their regions, which are in files of their own."""
    files = {file.name.removesuffix(_ASSET): file for file in files_in(path.parent, ".json")}
    for key, asset in assets.items():
        if key in files:
            yield read_json(files[key])
        elif isinstance(asset, dict) and isinstance(asset.get("asset"), dict):
            yield asset
        else:
            yield {"asset": asset, "regions": []}


def _names(region: Any) -> list[str]:
    tags = region.get("tags") if isinstance(region, dict) else None
    found = tags if isinstance(tags, list) else []
    return [tag.strip() for tag in found if isinstance(tag, str) and tag.strip()]


def _add(entry: Entry, found: Objects, *, notes: Notes) -> None:
    for place, region in enumerate(entry.regions, start=1):
        what = f"region {place} of {shortened(entry.image.name)}"
        if not isinstance(region, dict):
            found.bad(what, f"must be an object, got {quoted(region)}")
            continue
        kind = str(region.get("type") or "RECTANGLE").upper()
        if kind in _NO_BOX:
            what = f"a region of type {shortened(kind)}"
            notes.add(entry.file, None, what, "it has no box", "left out")
            continue
        outline = _polygon(region) if kind == "POLYGON" else _rectangle(region)
        add_object(found, _names(region), outline, notes, what)


def _rectangle(region: Mapping[str, Any]) -> Outline | str:
    box = region.get("boundingBox")
    values = [number(box.get(name)) for name in _CORNERS] if isinstance(box, dict) else []
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(_CORNERS):
        return f"boundingBox must have the numbers {', '.join(_CORNERS)}, got {quoted(box)}"
    left, top, width, height = numbers
    return Outline((left, top, left + width, top + height))


def _polygon(region: Mapping[str, Any]) -> Outline | str:
    stated = region.get("points")
    points = stated if isinstance(stated, list) else []
    pairs = [[number(it.get(axis)) for axis in "xy"] for it in points if isinstance(it, dict)]
    numbers = [it for pair in pairs for it in pair if it is not None and math.isfinite(it)]
    if len(pairs) < 3 or len(numbers) < 2 * len(points):
        return f"a polygon needs x and y of 3 or more points, got {quoted(stated)}"
    return polygon(np.array(numbers).reshape(-1, 2))
