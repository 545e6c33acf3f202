"""Paths that come from the files of a data set, and so may lead anywhere; files in its folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from sightline._text import quoted, shortened
from sightline.formats.record import DataError

__all__ = [
    "files_below",
    "files_in",
    "folders_in",
    "is_clutter",
    "is_file",
    "is_inside",
    "lies_inside",
    "quoted_line",
    "shortened_path",
    "subfolder",
]

_PATH_LENGTH = 200
# What systems and archivers leave behind in folders; macOS and Windows ignore the case of names.
_CLUTTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir")
_HIDDEN = "something not shown here, as the file lies outside the data set"


def lies_inside(path: Path, root: Path) -> bool:
    """Whether a file lies in the folder of a data set, after following links."""
    return path.resolve().is_relative_to((root if root.is_dir() else root.parent).resolve())


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path leads into a folder by its words: links in the folder may lead anywhere."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


def is_file(path: Path) -> bool:
    """Whether the file exists; an invalid path does not raise an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, say
        return False


def quoted_line(line: str, *, inside: bool) -> str:
    """A line as quoted in an error: hidden where its file is outside the data set."""
    return quoted(line.strip()) if inside else _HIDDEN


def shortened_path(path: str | Path, *, inside: bool = True) -> str:
    """A path from a file, as shown in an error: hidden where that file is outside the data set."""
    return shortened(path, _PATH_LENGTH) if inside else _HIDDEN


def is_clutter(name: str) -> bool:
    """Whether a file or folder is hidden, or left behind by a system or archiver."""
    return name.startswith(".") or name.lower() in _CLUTTER


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files in a folder that have one of the (lower-case) suffixes, in order of name.

    Upper case counts as lower case. Clutter is left out; a missing folder has no files.
    """
    try:
        names = [
            name
            for name, is_folder in _listed(folder)
            if os.path.splitext(name)[1].lower() in suffixes and not is_folder
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names)]


def _listed(folder: Path) -> list[tuple[str, bool]]:
    """The names in a folder without clutter, and whether they are of folders.

    Raises DataError where the folder may not be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [(it.name, _is_folder(it)) for it in entries if not is_clutter(it.name)]
    except PermissionError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); allow that, or leave it out"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, in order of path, following links and without clutter.

    A link to the folder, or to one above it, is not followed: files would be found twice.
    """
    above = Path(os.path.realpath(os.path.dirname(os.path.abspath(folder))))
    return sorted(_files_below(folder, frozenset(map(str, (above, *above.parents)))))


def _files_below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:  # a link to a folder above it
        return
    for name, is_folder in _listed(folder):
        if is_folder:
            yield from _files_below(folder / name, above | {here})
        else:
            yield folder / name


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order of name, without clutter."""
    found = _listed(folder) if folder.is_dir() else ()
    return sorted(folder / name for name, is_folder in found if is_folder)


def subfolder(folder: Path, name: str) -> Path:
    """Return the folder of a (lower-case) name in another, where the name may be in upper case."""
    exact = folder / name
    if exact.is_dir() or not folder.is_dir():
        return exact
    found = (path for path in folder.iterdir() if path.name.lower() == name and path.is_dir())
    return min(found, default=exact)
