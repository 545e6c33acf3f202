"""Finds the line of an object in its label file, by its class and box."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sightline.formats.pictures import is_image
from sightline.formats.records import DataError, Record
from sightline.formats.source import Source
from sightline.formats.text import number, read_lines
from sightline.formats.voc.outline import read_outline
from sightline.formats.xml_file import element_lines, parse_xml

__all__ = ["line_of"]

_TOLERANCE = 1e-6  # relative: the reader computes pixels of shares


def line_of(source: Source, file: Path | None, record: Record, index: int) -> int | None:
    """Return the line of object `index` of a record, or None where its format has no lines."""
    find = _LINES.get(source.format)
    if find is None or file is None:
        return None
    name, box = source.class_names[record.labels[index]], record.boxes[index]
    same = (record.labels == record.labels[index]) & _close(record.boxes, box)
    occurrence = int(np.count_nonzero(same[:index]))
    try:
        lines = find(file, record, name, box, source.class_names)
    except DataError:
        return None
    return lines[occurrence] if occurrence < len(lines) else None


def _close(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.isclose(boxes, box, rtol=_TOLERANCE, atol=_TOLERANCE).all(axis=-1)


def _voc(file: Path, record: Record, name: str, box: np.ndarray, _: object) -> list[int]:
    lines = element_lines(file, "object")
    found = []
    for line, element in zip(lines, parse_xml(file).findall("object"), strict=True):
        outline = read_outline(element)[0]
        same_name = (element.findtext("name") or "").strip() == name
        if same_name and outline.box and _close(np.array(outline.box, float), box):
            found.append(line)
    return found


def _yolo(
    file: Path, record: Record, name: str, box: np.ndarray, names: tuple[str, ...]
) -> list[int]:
    shares = box / np.array([record.width, record.height] * 2)
    found = []
    for line_number, line in read_lines(file):
        words = [number(word) for word in line.split()]
        values = np.array([np.nan if value is None else value for value in words])
        if len(values) < 5 or len(names) <= values[0] or names[int(values[0])] != name:
            continue
        if len(values) % 2 and len(values) > 5:  # a polygon
            points = values[1:].reshape(-1, 2)
            corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
        else:
            half = values[3:5] / 2
            corners = np.concatenate([values[1:3] - half, values[1:3] + half])
        if _close(corners, shares):
            found.append(line_number)
    return found


def _kitti(file: Path, record: Record, name: str, box: np.ndarray, _: object) -> list[int]:
    found = []
    for line_number, line in read_lines(file):
        words = line.split()
        corners = [number(word) for word in words[4:8]]
        if words[0] == name and None not in corners and _close(np.array(corners, float), box):
            found.append(line_number)
    return found


def _csv(file: Path, record: Record, name: str, box: np.ndarray, _: object) -> list[int]:
    found = []
    image = record.image.name if isinstance(record.image, Path) else ""
    for line_number, line in _lines_by_image(file, file.stat().st_mtime_ns).get(image, ()):
        words = _cells(line)
        if name not in words:
            continue
        values = np.array([np.nan if (v := number(word)) is None else v for word in words])
        if any(_close(values[at : at + 4], box) for at in range(len(words) - 3)):
            found.append(line_number)
    return found


@functools.lru_cache(maxsize=1)  # one file has the labels of all images
def _lines_by_image(file: Path, _changed: int) -> dict[str, list[tuple[int, str]]]:
    """The lines of a table and their numbers, by the names of images in them."""
    lines: dict[str, list[tuple[int, str]]] = {}
    for line_number, line in read_lines(file, most=None):
        for name in {re.split(r"[/\\]", word)[-1] for word in _cells(line)}:
            if is_image(Path(name)):
                lines.setdefault(name, []).append((line_number, line))
    return lines


def _cells(line: str) -> list[str]:
    return [word.strip().strip('"') for word in re.split("[,;\t]", line)]


_LINES: dict[str, Callable[..., list[int]]] = {
    "voc": _voc,
    "yolo": _yolo,
    "kitti": _kitti,
    "csv": _csv,
}
