"""Keeps decoded images in a folder, for later runs."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DiskCache", "default_cache_folder"]

_MAGIC = b"sightln1"
_HEADER = struct.Struct("<8s3I")  # magic, height, width, channels; then the CRC-32 of all else
_CHECKSUM = struct.Struct("<I")
_SUFFIX = ".pixels"
_TEMPORARY = ".partial"
_ABANDONED = 3600  # seconds after which a partly written file belongs to no process any more
_KEPT = 0.8  # the share of the bytes that is kept where room is made: then it is made rarely


def default_cache_folder() -> Path:
    """The folder of cached images of this user: $XDG_CACHE_HOME or ~/.cache, sightline/images."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "sightline" / "images"


class DiskCache:
    """Images by key, in files of a folder that several processes may use at once.

    A file is written under another name and renamed, and has a checksum: one that is damaged, or
    was cut off by a full disk, is removed and counts as not there. Where the bytes exceed
    `max_bytes`, images that were not used since this object was made are removed, the longest
    unused first; if all were used, no more are added.

    Args:
        folder: made where it does not exist.
        max_bytes: upper bound of the files together.

    Raises:
        OSError: the folder cannot be made or written; the message says how to choose another.
    """

    def __init__(self, folder: str | os.PathLike, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._started = time.time_ns()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise OSError(
                error.errno,
                f"{self.folder}: cannot keep decoded images in this folder ({error.strerror}); "
                "choose another with data.cache_dir=, or data.cache=memory",
            ) from error
        # Bytes in use, and whether all of them are in use by now; shared with forked processes.
        # Two that add at once may count one of them, until room is made.
        self._used = np.frombuffer(mmap.mmap(-1, 16), np.int64)
        self._used[0] = sum(size for _, size, _ in self._entries())

    def __reduce__(self) -> Any:
        return DiskCache, (self.folder, self.max_bytes)

    def get(self, key: str) -> NDArray[np.uint8] | None:
        """The image of a key, or None."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        image = _parsed(data)
        with contextlib.suppress(OSError):
            if image is None:
                path.unlink()
            else:
                _mark_used(path)
        return image

    def put(self, key: str, image: NDArray[np.uint8]) -> None:
        """Keep an image [H, W, C] where there is room; nothing is raised where it cannot be."""
        pixels = np.ascontiguousarray(image).data
        size = _HEADER.size + _CHECKSUM.size + pixels.nbytes
        if self._used[0] + size > self.max_bytes and not self._make_room(size):
            return
        header = _HEADER.pack(_MAGIC, *image.shape)
        path = self._path(key)
        # A full or read-only disk stops no training: the image is decoded again.
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(_TEMPORARY, dir=path.parent)
            try:
                with open(handle, "wb") as file:
                    file.write(header + _CHECKSUM.pack(zlib.crc32(pixels, zlib.crc32(header))))
                    file.write(pixels)
                _mark_used(temporary)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
            self._used[0] += size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{_SUFFIX}"

    def _entries(self) -> list[tuple[int, int, str]]:
        """The time of last use in ns, the bytes and the path of each file."""
        found = []
        with os.scandir(self.folder) as folders:
            names = [entry.path for entry in folders if len(entry.name) == 2]
        for name in names:
            with contextlib.suppress(OSError), os.scandir(name) as files:
                for entry in files:
                    status = entry.stat()
                    left = entry.name.endswith(_TEMPORARY)
                    if left and time.time() - status.st_mtime > _ABANDONED:
                        os.unlink(entry.path)
                    elif left or entry.name.endswith(_SUFFIX):
                        found.append((status.st_mtime_ns, status.st_size, entry.path))
        return found

    def _make_room(self, size: int) -> bool:
        """Remove what was not used since the start; whether `size` more bytes fit now."""
        if self._used[1]:
            return False
        entries = sorted(self._entries())
        used = sum(bytes_ for _, bytes_, _ in entries)
        for when, bytes_, path in entries:
            if when >= self._started or used + size <= _KEPT * self.max_bytes:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                used -= bytes_
        self._used[:] = used, used + size > self.max_bytes
        return not self._used[1]


def _mark_used(path: str | Path) -> None:
    # The time that the system itself sets may be some ms earlier than that of `time`.
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _parsed(data: bytes) -> NDArray[np.uint8] | None:
    """The image in the bytes of a file; None where they are not what was written."""
    view = memoryview(data)
    header, pixels = view[: _HEADER.size], view[_HEADER.size + _CHECKSUM.size :]
    if len(header) < _HEADER.size or header[: len(_MAGIC)] != _MAGIC:
        return None
    _, height, width, channels = _HEADER.unpack(header)
    if len(pixels) != height * width * channels:
        return None
    if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(pixels, zlib.crc32(header)):
        return None
    return np.frombuffer(pixels, np.uint8).reshape(height, width, channels)
