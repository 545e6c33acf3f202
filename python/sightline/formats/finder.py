"""Finds the images that one label file names, and the split that the file is of."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePath

from sightline.formats.lists import find_file
from sightline.formats.paths import folders_in, is_file, shortened_path
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name

__all__ = ["image_finder", "split_of_file"]


def split_of_file(path: Path) -> str | None:
    """Return the split that is a word of the name of a file, or the name of its folder."""
    words = [*re.split(r"[^A-Za-z0-9]+", path.stem), path.parent.name]
    return next((name for name in map(split_name, words) if name), None)


def image_finder(path: Path, root: Path, notes: Notes, fix: str) -> Callable[[str], Path]:
    """Return a function that finds the image that a label file of many images names.

    Args:
        path: the label file.
        root: the folder of the data set.
        notes: gets the names that are found only by their end.
        fix: what to do about an image that is not there, other than to add it.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if split_name(word)]
    places = [path.parent, root]
    places += [place / word for place in (root, root / "images") for word in ("images", *words, "")]
    # Folders of any name too, but not of another split, which may have pictures of the same names.
    places += [place for place in folders_in(root) if not split_name(place.name)]
    folders = [place for place in dict.fromkeys(places) if place.is_dir()]

    def noted(_: str) -> None:
        rule = "no such path, but the data set has a file at the end of it"
        notes.add(path, None, "the name of an image", rule, "that image used")

    def find(file_name: str) -> Path:
        candidate = next((f / file_name for f in folders if is_file(f / file_name)), None)
        candidate = candidate or find_file(file_name, folders, noted)
        if candidate is None:
            searched = ", ".join(str(folder) for folder in folders)
            notes.refuse(
                DataError(
                    f"{path}: no image {shortened_path(file_name)} in {searched}; add it, or {fix}"
                )
            )
            return path.parent / PurePath(file_name).name
        if candidate.parent in folders:  # the others are probably there too
            folders.remove(candidate.parent)
            folders.insert(0, candidate.parent)
        if candidate.stat().st_size == 0:
            notes.refuse(DataError(f"{candidate}: the image file is empty; replace or remove it"))
        return candidate

    return find
