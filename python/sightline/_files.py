"""Files that are either the old ones or the new ones, never half of one."""

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
    """Write `data` to `path` so that a crash or a full disk leaves the file that was there.

    The bytes go to a temporary name in the same folder, are flushed to the disk, and then take
    the place of `path` in one rename.

    Args:
        path: the file to write; its folder must exist.
        data: its whole content; text is written as UTF-8.
        keeps: added to the error where `path` was there before, to say what is still possible.

    Raises:
        OSError: with the original errno, naming the file, the reason and the fix. The temporary
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
        before = f"the {path.name} that was there is unchanged; {keeps}" if path.exists() else ""
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
    """Let `target` be what `source` is now; a file in the same folder, replaced in one step.

    Without copying its bytes where the file system has hard links: `source` is then to be replaced
    as a whole, never written into.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}{_TEMPORARY}")
    try:
        os.link(source, temporary)
    except OSError:  # no hard links here
        atomic_write(target, source.read_bytes())
    else:
        os.replace(temporary, target)
        # A rename of two names of one file leaves both.
        temporary.unlink(missing_ok=True)


def remove_temporary(*targets: Path) -> None:
    """Remove what `atomic_write` to these files left in killed processes, as far as it can be.

    Files of processes that are alive (on this host) stay.
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
    return process != os.getpid()  # an earlier process of the same number wrote the file


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(path: str | os.PathLike, line: str) -> None:
    """Add one line to a log file, which is made where it is missing.

    Raises:
        OSError: naming the file, where the line could not be written.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise OSError(error.errno, f"could not append to {path}: {error.strerror}") from error


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON; NaN and infinities become null, arrays become lists."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def write_json(path: str | os.PathLike, value: Any, *, indent: int | None = 1) -> None:
    """Write `to_json(value)` through `atomic_write`."""
    atomic_write(path, to_json(value, indent=indent) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file; a file that is no JSON is a ValueError that names it."""
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
