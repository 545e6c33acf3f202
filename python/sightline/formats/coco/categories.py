"""The classes of a data set from the categories of all its files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sightline._text import listed, quoted
from sightline.formats.record import DataError
from sightline.formats.source import Notes
from sightline.formats.text import sniffed_encoding, whole_number

__all__ = ["all_categories", "categories_if_once", "keypoints_of", "mirror_of"]

_KEY = b'"categories"'
_CHUNK = 1 << 20  # bytes read at a time


def all_categories(
    by_file: dict[Path, list[Any]], used: Callable[[Path], set[int | None]], notes: Notes
) -> dict[int, str]:
    """Return id -> name over all files, ordered by id; contradictory files are refused.

    Args:
        by_file: the categories of each file.
        used: a function of a file that returns the category ids of its annotations; called only
            where a category looks like one that groups the others.
        notes: gets the categories that are no classes.
    """
    names: dict[int, str] = {}
    parents: dict[int, Any] = {}
    for path, categories in by_file.items():
        for place, category in enumerate(categories):
            key, name = None, None
            if isinstance(category, dict):
                key, name = whole_number(category.get("id")), category.get("name")
            if key is None or not isinstance(name, str | int | float):
                raise DataError(
                    f"{path}: categories[{place}] must hold an integer id and a name, got "
                    f"{quoted(category)}"
                )
            if not -(2**63) <= key < 2**63:
                raise DataError(
                    f"{path}: categories[{place}] has id {quoted(key)}, which has more than 64 "
                    "bits; give it a smaller one"
                )
            name = str(name)
            parents[key] = category.get("supercategory")
            if names.setdefault(key, name) != name:
                raise DataError(
                    f"{path}: category id {key} is {quoted(name)} here and {quoted(names[key])} "
                    "elsewhere; give each class one id"
                )
    roots = _roots(names, parents)
    if roots:
        seen = set().union(*map(used, by_file))
        for key in roots:
            if key not in seen:
                what = f"category {quoted(names.pop(key))} of id {key}"
                rule = "it has no annotation, and is the supercategory of the others"
                notes.add(next(iter(by_file)), None, what, rule, "not used as a class")
    if len(set(names.values())) < len(names):
        twice = sorted({name for name in names.values() if [*names.values()].count(name) > 1})
        raise DataError(
            f"{path}: category names have several ids: {listed(twice)}; give each class one id"
        )
    return dict(sorted(names.items()))


def _roots(names: dict[int, str], parents: dict[int, Any]) -> list[int]:
    """The ids of categories that group others, as Roboflow writes one into each file."""
    grouped = Counter(parent for parent in parents.values() if isinstance(parent, str))
    return [
        key
        for key, name in names.items()
        if parents[key] in (None, "", "none", name) and grouped[name] > (parents[key] == name)
    ]


def categories_if_once(path: Path) -> list[Any] | None:
    """Return the categories of a file of any size without parsing the rest of it.

    None where another list may be meant: one of that name may belong to an image or an annotation.
    """
    with path.open("rb") as file:
        place = _only_place(file)
        if place is None:
            return None
        file.seek(place + len(_KEY))
        text, wanted = b"", _CHUNK
        while True:
            more = file.read(wanted)
            text += more
            try:
                spelt = text.decode().lstrip()
                if spelt.startswith(":") and spelt[1:].lstrip().startswith("["):
                    return json.JSONDecoder().raw_decode(spelt[1:].lstrip())[0]
                if len(spelt) > _CHUNK // 2:
                    return None
            except (ValueError, RecursionError):
                pass  # cut off, or parsing the whole file reports where it is broken
            if not more:
                return None
            wanted *= 4


def _only_place(file: Any) -> int | None:
    """The place of the only key of the name in an open file, or None."""
    found: list[int] = []
    tail, base = b"", 0
    while chunk := file.read(_CHUNK):
        if base == 0 and sniffed_encoding(chunk) not in (None, "utf-8-sig"):
            return None
        text = tail + chunk
        start = text.find(_KEY)
        while start >= 0:
            found.append(base - len(tail) + start)
            start = text.find(_KEY, start + 1)
        if len(found) > 1:
            return None
        base += len(chunk)
        tail = text[1 - len(_KEY) :]
    return found[0] if found else None


def keypoints_of(
    by_file: dict[Path, list[Any]], notes: Notes
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the names of keypoints, and the pairs of them (from 0) that are joined.

    They are those of the first category that has any; others are noted.
    """
    chosen: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] = ((), ())
    for path, categories in by_file.items():
        for category in categories:
            found = _keypoints(category) if isinstance(category, dict) else ((), ())
            differs = found[0] != chosen[0] or (found[1] and found[1] != chosen[1])
            if chosen[0] and found[0] and differs:
                rule = "a data set has one list of names of keypoints"
                what = "categories with different keypoints"
                notes.add(path, None, what, rule, "those of the first are used")
            chosen = chosen if chosen[0] else found
    return chosen


def _keypoints(category: dict[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    names, joined = category.get("keypoints"), category.get("skeleton")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return (), ()
    pairs = []
    for pair in joined if isinstance(joined, list) else []:
        ends = [whole_number(end) for end in pair] if isinstance(pair, list) else []
        known = [end - 1 for end in ends if end is not None and 1 <= end <= len(names)]
        if len(ends) == len(known) == 2:
            pairs.append((known[0], known[1]))
    return tuple(names), tuple(pairs)


def mirror_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the point that each becomes in a mirrored image, where names say left and right.

    Empty where none does, or where one lacks its counterpart.

    >>> mirror_of(["nose", "left_eye", "right_eye"]), mirror_of(["nose", "left_eye"])
    ((0, 2, 1), ())
    """
    other = {"left": "right", "right": "left", "l": "r", "r": "l"}
    place = {name.lower(): number for number, name in enumerate(names)}
    mirror = []
    for name in place:
        words = re.split(r"([^a-z]+)", name)
        swapped = "".join(other.get(word, word) for word in words)
        mirror.append(place.get(swapped, -1))
    return tuple(mirror) if -1 not in mirror and sorted(mirror) != mirror else ()
