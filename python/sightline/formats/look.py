"""Describes, for an error, what is in a folder that is not a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sightline._text import counted, listed, shortened
from sightline.formats.paths import is_clutter
from sightline.formats.pictures import IMAGE_SUFFIXES

__all__ = ["kinds_of_labels", "said_found"]

_MOST_ENTRIES = 10_000  # of a folder, to count
_FOLDERS_SHOWN = 8
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
# What people give in place of a data set, and what to do about it.
_HINTS = {
    **dict.fromkeys(_ARCHIVES, "unpack it, and give the folder"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), "save the images of the video"),
    **dict.fromkeys(
        (".tfrecord", ".parquet", ".arrow", ".h5", ".hdf5", ".npz", ".lmdb"),
        "not read; save images, and labels in one of the formats below",
    ),
    **dict.fromkeys((".safetensors", ".pt", ".pth", ".onnx"), "weights of a model, not data"),
    ".ipynb": "a notebook; give the folder that it reads",
}
_OF_A_RUN = ("config.yaml", "weights")  # in the folder of a run


def said_found(root: Path) -> str:
    """Return what is at a path: the kinds of files in a folder and in those below it.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> said_found(root)
    'found there: nothing'
    >>> _ = (root / "notes.md").write_text("")
    >>> said_found(root)
    'found there: 1 .md'
    """
    if root.is_file():
        text = f"found there: a file of type {shortened(root.suffix) or 'without suffix'}"
        hint = _HINTS.get(root.suffix.lower())
        return f"{text}: {hint}" if hint else text
    folders, kinds = _content(root)
    everywhere = _kinds_everywhere(root)
    parts = [_kinds(kinds)] if kinds else []
    for folder in folders[:_FOLDERS_SHOWN]:
        below, inside = _content(folder)
        words = [_kinds(inside)] if inside else []
        if below:
            words.append(counted(len(below), "folder"))
        parts.append(f"{shortened(folder.name)}/ ({', '.join(words) or 'empty'})")
    if len(folders) > _FOLDERS_SHOWN:
        parts.append(f"{len(folders) - _FOLDERS_SHOWN:,} more folders")
    text = f"found there: {', '.join(parts) or 'nothing'}"
    archives = [path.name for path in _entries(root) if path.suffix.lower() in _ARCHIVES]
    if archives:
        return f"{text}; unpack {listed(archives, 3)}"
    if all((root / name).exists() for name in _OF_A_RUN):
        return f"{text}: a run; its config.yaml names the data"
    if everywhere and set(everywhere) <= set(IMAGE_SUFFIXES):
        return f"{text}: pictures, but no label files"
    hints = dict.fromkeys(filter(None, map(_HINTS.get, everywhere)))
    return f"{text}: {', '.join(hints)}" if hints else text


def kinds_of_labels(root: Path) -> set[str]:
    """Return the suffixes of the files at a path that may hold labels.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("a.JPG", "a.xml"):
    ...     _ = (root / name).write_text("")
    >>> kinds_of_labels(root)
    {'.xml'}
    """
    kinds = {root.suffix.lower()} if root.is_file() else {*_kinds_everywhere(root)}
    return kinds - {*IMAGE_SUFFIXES, *_HINTS}


def _kinds_everywhere(root: Path) -> Counter[str]:
    folders, kinds = _content(root)
    return kinds + Counter(kind for folder in folders for kind in _content(folder)[1])


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in islice(folder.iterdir(), _MOST_ENTRIES))
    except OSError:
        return


def _content(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The folders in a folder, and the number of files of each suffix."""
    entries = [path for path in sorted(_entries(folder)) if not is_clutter(path.name)]
    folders = [path for path in entries if path.is_dir()]
    files = set(entries) - set(folders)
    return folders, Counter(path.suffix.lower() or "no suffix" for path in files)


def _kinds(kinds: Counter[str]) -> str:
    common = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{count:,} {kind}" for kind, count in common], 4)
