"""Files that a data set's own files name, which may lie anywhere and be called anything."""

from pathlib import Path

from sightline._text import quoted, shortened

__all__ = ["is_file", "lies_inside", "quoted_line", "shortened_path"]

_PATH_LENGTH = 200
_HIDDEN = "something not shown here, as the file lies outside the data set"


def lies_inside(path: Path, root: Path) -> bool:
    """Whether a file lies in the folder of a data set, also after its links are followed."""
    return path.resolve().is_relative_to((root if root.is_dir() else root.parent).resolve())


def is_file(path: Path) -> bool:
    """Whether there is such a file; no path of a file's making is an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, say
        return False


def quoted_line(line: str, *, inside: bool) -> str:
    """A line as an error may quote it: not at all where its file is not the data set's."""
    return quoted(line.strip()) if inside else _HIDDEN


def shortened_path(path: str | Path, *, inside: bool = True) -> str:
    """A path that a file names, as an error may show it: not where that file is another's."""
    return shortened(path, _PATH_LENGTH) if inside else _HIDDEN
