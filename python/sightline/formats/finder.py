"""Finds the images that one label file names, and the split that the file is of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath

from sightline._text import counted
from sightline.formats.lists import find_file
from sightline.formats.paths import files_in, folders_in, is_file, is_inside, shortened_path
from sightline.formats.pictures import IMAGE_SUFFIXES
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name

__all__ = ["ImageFinder", "label_files", "note_unlisted", "split_of_file"]

_MOST_PROBED = 16  # files of one folder


def split_of_file(path: Path) -> str | None:
    """Return the split that is a word of the name of a file, or the name of its folder."""
    words = [*re.split(r"[^A-Za-z0-9]+", path.stem), path.parent.name]
    return next((name for name in map(split_name, words) if name), None)


def label_files(root: Path, suffix: str, is_one: Callable[[Path], bool]) -> list[Path]:
    """Return the label files of many images at the root or in the folders right below.

    Args:
        root: a folder, or the label file itself.
        suffix: of the files, in lower case.
        is_one: whether a file is a label file; asked for a few files of each folder, since a folder
            of many is one of label files of one image each.
    """
    if root.is_file():
        return [root] if root.suffix.lower() == suffix and is_one(root) else []
    folders = [root, *folders_in(root)]
    files = [path for folder in folders for path in files_in(folder, suffix)[:_MOST_PROBED]]
    return [path for path in files if is_one(path)]


def note_unlisted(images: Iterable[Path], root: Path, notes: Notes, what: str, rule: str) -> None:
    """Note the images beside those of a label file that it does not list.

    Args:
        images: those that it lists.
        root: the data set; nothing is noted where that is a single file.
        notes: gets the note.
        what: such as "without a row".
        rule: what marks an image without objects.
    """
    known = set(images)
    folders = dict.fromkeys(image.parent for image in known)
    beside = [
        path
        for folder in folders
        for path in files_in(folder, *IMAGE_SUFFIXES)
        if path not in known
    ]
    if beside and root.is_dir():
        text = f"{counted(len(beside), 'image')} {what}, such as {beside[0].name}"
        notes.add(beside[0].parent, None, text, rule, "left out")


class ImageFinder:
    """Finds the images that a label file of many images names.

    A name that leads out of the data set finds nothing there; a link inside it may lead anywhere.
    Folders are listed once, where looking at each file would take seconds for 100,000 images.

    Args:
        path: the label file.
        root: the folder of the data set.
        notes: gets the names that are found only by their end.
        fix: what to do about an image that is not there, other than to add it; with "{it}" for it.
        absolute: whether an absolute path may lead out of the data set.
    """

    def __init__(
        self, path: Path, root: Path, notes: Notes, fix: str, *, absolute: bool = False
    ) -> None:
        words = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if split_name(word)]
        places = [path.parent, root]
        inside = (root, root / "images")
        places += [place / word for place in inside for word in ("images", *words, "")]
        # Folders of any name too, but not of another split, which may have pictures of the same
        # names.
        places += [place for place in folders_in(root) if not split_name(place.name)]
        self._path, self._notes, self._fix = path, notes, fix
        self._root, self._absolute = root, absolute
        self._folders = [place for place in dict.fromkeys(places) if place.is_dir()]
        self._listed: dict[str, frozenset[str]] = {}

    def find(self, file_name: str, *others: str, line: int | None = None) -> Path:
        """Return an image, by other names too; DataError where it is not there, or empty.

        `line` of the label file names the image; errors name the line.
        """
        found = next(filter(None, map(self._found, (file_name, *others))), None)
        if found is None:
            return Path(self._refused(file_name, line))
        self._refuse_empty(found)
        return Path(found)

    def find_all(self, file_names: Sequence[str]) -> list[str]:
        """Return the paths of images; DataError counts those that are not there.

        Unlike `find`, it looks for empty files only where errors are collected.
        """
        found: list[str | None] = []
        front, names = "", frozenset[str]()
        for name in file_names:
            if name in names:  # as most are, in the folder where others are
                found.append(front + name)
                continue
            found.append(self._found(name))
            if self._folders:
                front = os.path.join(self._folders[0], "")
                names = self._names_in(str(self._folders[0]))
        missing = [name for name, path in zip(file_names, found, strict=True) if path is None]
        if len(missing) > 1 and self._notes.errors is None:
            said = f"{len(missing):,} of {len(found):,} images are not there, first "
            said += self._missing(missing[0]).removeprefix("no ")
            raise DataError(f"{self._path}: {said}; add them, or {self._fix.format(it='them')}")
        if self._notes.errors is not None:
            for path in found:
                if path is not None:
                    self._refuse_empty(path)
        return [
            self._refused(name) if path is None else path
            for name, path in zip(file_names, found, strict=True)
        ]

    def _refused(self, file_name: str, line: int | None = None) -> str:
        """Raise the error of an image that is not there, or collect it and return some path."""
        fix = self._fix.format(it="it")
        add = "add it"
        if any(is_file(folder / file_name) for folder in self._folders):
            add = "it lies outside the data set: move it there, or link to it"
        place = self._path if line is None else f"{self._path}:{line}"
        said = f"{place}: {self._missing(file_name)}; {add}, or {fix}"
        self._notes.refuse(DataError(said))
        name = PurePath(file_name.encode("utf-8", "replace").decode()).name
        return os.path.join(self._path.parent, name)

    def _refuse_empty(self, found: str) -> None:
        if os.stat(found).st_size == 0:
            rule = "the image file is empty; replace or remove it"
            self._notes.refuse(DataError(f"{found}: {rule}"))

    def _missing(self, file_name: str) -> str:
        searched = ", ".join(str(folder) for folder in self._folders)
        return f"no image {shortened_path(file_name)} in {searched}"

    def _found(self, file_name: str) -> str | None:
        name = os.path.basename(file_name)
        for folder in self._folders:
            found = os.path.join(folder, file_name)
            parent = str(folder) if name == file_name else os.path.dirname(found)
            if name and name in self._names_in(parent) and self._allowed(found):
                if name != file_name:
                    found = str(Path(found))  # without "./" and "//"
                    folder = Path(found).parent
                return self._at(folder, found)
        candidate = find_file(file_name, self._folders, self._noted, allowed=self._allowed)
        return None if candidate is None else self._at(candidate.parent, str(candidate))

    def _allowed(self, candidate: str | Path) -> bool:
        path = Path(candidate)
        plain = ".." not in path.parts
        if plain and any(path.parent == folder for folder in self._folders):
            return True
        return is_inside(path, self._root) or (self._absolute and plain)

    def _at(self, folder: Path, found: str) -> str:
        if folder != self._folders[0] and folder in self._folders:
            self._folders.remove(folder)  # the others are probably there too
            self._folders.insert(0, folder)
        return found

    def _names_in(self, folder: str) -> frozenset[str]:
        """The names of the files in a folder."""
        names = self._listed.get(folder)
        if names is None:
            try:
                with os.scandir(folder) as entries:
                    names = frozenset(entry.name for entry in entries if entry.is_file())
            except (OSError, ValueError):  # no folder, or no name of one
                names = frozenset()
            self._listed[folder] = names
        return names

    def _noted(self, _: str) -> None:
        rule = "no such path, but the data set has a file at the end of it"
        self._notes.add(self._path, None, "the name of an image", rule, "that image used")
