"""Lists of pictures, one name per line, as tools of any system write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from sightline.formats.paths import is_file
from sightline.formats.pictures import IMAGE_SUFFIXES
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name
from sightline.formats.text import read_lines

__all__ = ["find_file", "read_list", "spellings"]

T = TypeVar("T", bound=Hashable)

_MOST_BYTES = 256 << 20  # of a list: a few million pictures
_MOST_PARTS = 16  # of another machine's path, to try
_DRIVE = re.compile(r"^(?:[A-Za-z]:)?/+")


def read_list(path: Path, find: Callable[[str, int], T], notes: Notes) -> list[tuple[int, T]]:
    """Return (line number, what the line names) for each line of a list.

    Args:
        path: the list.
        find: a function of a line, without blanks at its ends, and its number; returns what the
            line names.
        notes: gets the lines that name what an earlier line named; they are left out.
    """
    found: dict[T, int] = {}
    for number, line in read_lines(path, _MOST_BYTES):
        try:
            item = find(line, number)
        except DataError as error:
            notes.refuse(error)
            continue
        if item in found:
            rule = "an earlier line of the list names the same picture"
            notes.add(path, number, "a line", rule, "read once")
        else:
            found[item] = number
    return [(number, item) for item, number in found.items()]


def spellings(name: str) -> Iterator[str]:
    r"""Yield what a path in a file may mean here: as written, with / for \, and its ends.

    The ends are for the paths of other machines, absolute or below another folder. None leaves out
    the folder of a split, without which it could name a picture of another split.

    >>> [*spellings("C:\\set\\images\\a.jpg")]
    ['C:\\set\\images\\a.jpg', 'C:/set/images/a.jpg', 'set/images/a.jpg', 'images/a.jpg', 'a.jpg']
    """
    yield name
    slashed = name.replace("\\", "/")
    if slashed != name:
        yield slashed
    parts = [part for part in _DRIVE.sub("", slashed).split("/") if part not in ("", ".")]
    for start in range(max(0, len(parts) - _MOST_PARTS), len(parts)):
        end = "/".join(parts[start:])
        if end not in (name, slashed):
            yield end
        if split_name(parts[start]):
            return


def find_file(
    name: str,
    folders: list[Path],
    noted: Callable[[str], None],
    suffixes: bool = True,
    allowed: Callable[[Path], bool] = lambda _: True,
) -> Path | None:
    """Return the file that a name in a list or label file means, or None.

    Args:
        name: as written; `spellings` of it are tried in every folder before the next spelling.
        folders: where it is looked for, in this order.
        noted: called with the spelling found, where that leaves out folders of the name.
        suffixes: whether an image may be named without the suffix of its file.
        allowed: whether a file at a path may be the one that is meant.
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    for spelling in spellings(name):
        for folder in folders:
            path = folder / spelling
            found = _existing(path, suffixes) if allowed(path) else None
            if found is not None:
                if spelling != name and PurePosixPath(spelling) != plain:
                    noted(spelling)
                return found
    return None


def _existing(path: Path, suffixes: bool) -> Path | None:
    if is_file(path):
        return path
    if suffixes and path.suffix.lower() not in IMAGE_SUFFIXES:
        for suffix in (*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES)):
            with_suffix = path.parent / f"{path.name}{suffix}"
            if is_file(with_suffix):
                return with_suffix
    return None
