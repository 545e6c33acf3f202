"""Writes files so that each is either the old one or the new one, never partly written."""

import contextlib
import errno
import glob
import json
import os
from pathlib import Path
from typing import Any

__all__ = [
    "append_line",
    "atomic_write",
    "copy_file",
    "read_json",
    "remove_temporary",
    "to_json",
    "write_json",
]

_TEMPORARY = ".tmp"


def atomic_write(path: str | os.PathLike, data: bytes | str, *, keeps: str = "") -> None:
    """Write `data` to `path` so that a crash or a full disk leaves the earlier file intact.

    The bytes go to a temporary file in the same folder, are flushed to disk, and then replace
    `path` in one rename.

    Args:
        path: the file to write; its folder must exist.
        data: its whole content; text is written as UTF-8.
        keeps: added to the error where `path` existed before, to say what is still possible.

    Raises:
        OSError: with the original errno; names the file, the reason and the fix. The temporary
            file is removed.
    """
    path = Path(path)
    payload = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        fix = "free some space" if error.errno == errno.ENOSPC else "check the folder"
        before = f"the earlier {path.name} is unchanged; {keeps}" if path.exists() else ""
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror or error} ({len(payload):,} bytes); "
            f"{before}{fix} and try again",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Replace `target` in one step by a copy of `source`, a file in the same folder.

    Where the file system has hard links no bytes are copied: `source` must then only ever be
    replaced as a whole, never written into.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}{_TEMPORARY}")
    try:
        os.link(source, temporary)
    except OSError:  # no hard links here
        atomic_write(target, source.read_bytes())
    else:
        os.replace(temporary, target)
        # Renaming one link of a file to another link of it leaves both.
        temporary.unlink(missing_ok=True)


def remove_temporary(*targets: Path) -> None:
    """Remove temporary files that killed processes left while writing these files, where possible.

    Files of processes that are still running on this host stay.
    """
    for target in targets:
        for path in target.parent.glob(f".{glob.escape(target.name)}.*{_TEMPORARY}"):
            number = path.name.removesuffix(_TEMPORARY).rpartition(".")[2]
            if number.isdecimal() and not _is_alive(int(number)):
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()  # then an earlier process with this number wrote the file


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure, where the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(path: str | os.PathLike, line: str) -> None:
    """Add one line to a log file, which is created where it is missing.

    Raises:
        OSError: the line could not be written; names the file.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise OSError(error.errno, f"could not append to {path}: {error.strerror}") from error


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON, with NaN and infinities as null and arrays as lists."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write_json(path: str | os.PathLike, value: Any, *, indent: int | None = 1) -> None:
    """Write `to_json(value)` through `atomic_write`."""
    atomic_write(path, to_json(value, indent=indent) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file; ValueError, which names the file, where it is not valid JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value
