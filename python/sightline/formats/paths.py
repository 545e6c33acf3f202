"""Paths that come from the files of a data set, and so may lead anywhere."""

from pathlib import Path

from sightline._text import quoted, shortened

__all__ = ["is_file", "lies_inside", "quoted_line", "shortened_path"]

_PATH_LENGTH = 200
_HIDDEN = "something not shown here, as the file lies outside the data set"


def lies_inside(path: Path, root: Path) -> bool:
    """Whether a file lies in the folder of a data set, after following links."""
    return path.resolve().is_relative_to((root if root.is_dir() else root.parent).resolve())


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
