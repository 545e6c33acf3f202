"""Creates a folder with all that belongs into it, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.formats.records import DataError

__all__ = ["new_folder", "write_lines", "write_text"]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the target, which takes the target's place once all is written.

    After an error, or where the process is interrupted, there is no target, and what was written is
    removed.

    Raises:
        DataError: the target is a file, or a folder with anything in it.
    """
    target = Path(os.path.realpath(folder))
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        what = "is not empty" if target.is_dir() else "exists and is no folder"
        raise DataError(f"{folder}: {what}; nothing is overwritten, so give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if is_empty:
            target.rmdir()
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    r"""Write a file in UTF-8 with lines that end in \n, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a file of lines; without any it is empty."""
    write_text(path, "".join(f"{line}\n" for line in lines))
