"""The box, polygons and rotated box of one object in a VOC file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from sightline._text import quoted
from sightline.formats.shapes import Polygons, corners_of_rotated
from sightline.formats.text import number

__all__ = ["Outline", "read_outline"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ROTATED = ("cx", "cy", "w", "h", "angle")
_FARTHEST = 1e8  # pixels, as in the masks that are drawn
_NUMBERED = re.compile(r"[xy]\d+")


@dataclass(frozen=True)
class Outline:
    """What an object says of its place: `box` is xyxy, `rotated` as in `Record.boxes_rotated`."""

    box: Sequence[float] = ()
    shape: Polygons | None = None
    rotated: Sequence[float] | None = None


def read_outline(element: Element) -> tuple[Outline, list[str]]:
    """Return the place of an object, and the rules that it breaks.

    The box is that of <bndbox>, otherwise the one around <robndbox> or <polygon>. It is empty where
    it cannot be read; otherwise what is broken is left out.
    """
    broken = []
    shape, rule = _polygons(element)
    if rule is not None:
        broken.append(rule)
    rotated, rule = _numbers(element, "robndbox", _ROTATED)
    if rotated is not None and not all(abs(value) <= _FARTHEST for value in rotated):
        rule = f"coordinates must be finite, and at most {_FARTHEST:g}, got {quoted(rotated)}"
    elif rotated is not None and min(rotated[2:4]) <= 0:
        rule = f"<w> and <h> must be positive, got {rotated[2]:g} and {rotated[3]:g}"
    if rule is not None:
        broken.append(rule)
        rotated = None
    elif rotated is not None:
        *rest, radians = rotated
        rotated = [*rest, -math.degrees(radians)]  # in roLabelImg angles turn with the clock
    if element.find("bndbox") is not None or (rotated is None and shape is None):
        box, rule = _numbers(element, "bndbox", _CORNERS)
        if box is None:
            rule = rule or f"<bndbox> must hold <{_CORNERS[0]}>"
            return Outline(), [rule] if element.find("bndbox") is not None else [*broken, rule]
        return Outline(box, shape, rotated), broken
    rings = corners_of_rotated([rotated]) if rotated is not None else shape.rings if shape else ()
    return Outline(Polygons(tuple(rings)).hull(), shape, rotated), broken


def _numbers(
    element: Element, tag: str, names: Sequence[str]
) -> tuple[list[float] | None, str | None]:
    """The numbers of the children of a child; None without it, with the rule that it breaks."""
    if element.find(tag) is None:
        return None, None
    values = []
    for name in names:
        text = element.findtext(f"{tag}/{name}")
        if text is None:
            return None, f"<{tag}> must hold <{name}>"
        value = number(text)
        if value is None:
            return None, f"<{name}> must be a number, got {quoted(text)}"
        values.append(value)
    return values, None


def _polygons(element: Element) -> tuple[Polygons | None, str | None]:
    """The polygons of an object, each a ring of it; None without any, and the rule broken."""
    rings = []
    for polygon in element.findall("polygon"):
        words = _words(polygon)
        values = [value for word in words if (value := number(word)) is not None]
        near = all(abs(value) <= _FARTHEST for value in values)
        if len(values) < max(6, len(words)) or len(values) % 2 or not near:
            got = quoted(" ".join(words))
            return None, f"<polygon> must hold x and y of 3 or more points, got {got}"
        rings.append(np.array(values).reshape(-1, 2))
    return (Polygons(tuple(rings)) if rings else None), None


def _words(polygon: Element) -> list[str]:
    """The coordinates in turn, of <x1> <y1> <x2> ..., of <pt> with <x> and <y>, or of text."""
    points = [*polygon.findall("pt"), *polygon.findall("point")]
    if points:
        return [point.findtext(axis) or "" for point in points for axis in ("x", "y")]
    numbered = {child.tag: child.text or "" for child in polygon if _NUMBERED.fullmatch(child.tag)}
    if numbered:
        order = sorted({int(name[1:]) for name in numbered})
        return [numbered.get(f"{axis}{place}", "") for place in order for axis in "xy"]
    return re.split(r"[\s,;]+", (polygon.text or "").strip(" \t\r\n,;"))
