"""The decoded images of a data set, each decoded once where there is room to keep it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.cache import DEFAULT_CACHE_BYTES, MemoryCache
from sightline.data.disk_cache import DiskCache, default_cache_folder
from sightline.data.image import read_image
from sightline.data.preprocess import Preprocess
from sightline.formats.records import DataError, Record

__all__ = ["CACHES", "StoredPictures"]

CACHES = ("memory", "disk", "none")


class StoredPictures:
    """The images of records by index: decoded, reduced or resized, and kept.

    In memory an image is kept for as long as this object, in place of its file. On disk it is kept
    under a key made of the bytes of the file, which are read and hashed each time: a file that
    changes is decoded again, whatever its name, size and date.

    Args:
        records: the images.
        preprocess: the network's input; its `channels` are those of the images.
        zoom: None gives images at the size of the network's input; a number gives them as decoded,
            reduced where augmentation enlarges them at most by this factor
            (`Preprocess.reduction_for`).
        cache: "memory", which forked processes share; "disk", a folder that later runs use as well;
            or "none". Images that are arrays are kept only where they were changed.
        cache_bytes: upper bound of the memory, or of the folder.
        cache_dir: the folder for "disk"; None for `default_cache_folder()`.

    Raises:
        ValueError: another `cache`.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        records: Sequence[Record],
        preprocess: Preprocess,
        *,
        zoom: float | None = None,
        cache: str = "memory",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        cache_dir: str | os.PathLike | None = None,
    ) -> None:
        if cache not in CACHES:
            raise ValueError(f"`cache` must be one of {', '.join(CACHES)}, got {cache!r}")
        self.records = records
        self.preprocess = preprocess
        self.zoom = zoom
        self._memory: MemoryCache | None = None
        self._disk: DiskCache | None = None
        if cache == "memory" and cache_bytes:
            self._memory = MemoryCache(self._sizes(), cache_bytes)
        elif cache == "disk" and cache_bytes:
            self._disk = DiskCache(cache_dir or default_cache_folder(), cache_bytes)

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> NDArray[np.uint8]:
        """Return an image, uint8 [h, w, channels], which is not to be written into.

        Raises:
            DataError: it cannot be read; the message names it.
        """
        if self._memory is not None:
            found = self._memory.get(index)
            if found is not None:
                return found
        record = self.records[index]
        if self._disk is not None and not isinstance(record.image, np.ndarray):
            return self._from_disk(record, record.image, self._disk)
        image = self._decoded(record, record.image)
        if self._memory is not None and image is not record.image:
            self._memory.put(index, image)
        return image

    def reduction(self, height: int, width: int) -> int:
        """By how much the sides of an image of that size are divided; 1 with `zoom=None`."""
        if self.zoom is None:
            return 1
        return self.preprocess.reduction_for(height, width, zoom=self.zoom)

    def _decoded(self, record: Record, source: Any) -> NDArray[np.uint8]:
        image = read_image(
            source,
            channels=self.preprocess.channels,
            size=(record.width, record.height),
            reduction=self.reduction(record.height, record.width),
            max_pixels=self.preprocess.max_pixels,
        )
        return image if self.zoom is not None else self.preprocess.resize(image)[0]

    def _from_disk(self, record: Record, path: Path, disk: DiskCache) -> NDArray[np.uint8]:
        try:
            data = Path(path).read_bytes()
        except OSError:
            return self._decoded(record, path)  # raises the error that names the image
        key = blake2b(data, digest_size=20, key=self._form(record)).hexdigest()
        image = disk.get(key)
        if image is None:
            try:
                image = self._decoded(record, data)
            except DataError:
                return self._decoded(record, path)
            disk.put(key, image)
        return image

    def _form(self, record: Record) -> bytes:
        """What the pixels depend on besides the file, in at most 64 bytes."""
        parts: tuple[Any, ...] = (
            _decoder_versions(),
            self.preprocess.channels,
            record.width,
            record.height,
            self.reduction(record.height, record.width),
        )
        if self.zoom is None:
            parts += self.preprocess.size, self.preprocess.mode, self.preprocess.fill
        return blake2b(repr(parts).encode(), digest_size=32).digest()

    def _sizes(self) -> NDArray[np.int64]:
        """The bytes of each image."""
        channels = self.preprocess.channels
        if self.zoom is None:
            height, width = self.preprocess.size
            return np.full(len(self.records), height * width * channels, np.int64)
        sizes = getattr(self.records, "sizes", None)  # of a table, without making its records
        if sizes is None:
            sizes = np.array([(record.width, record.height) for record in self.records])
        pixels = []
        for width, height in sizes.reshape(-1, 2).tolist():
            reduction = self.reduction(height, width)
            pixels.append(-(-height // reduction) * -(-width // reduction))
        return np.array(pixels, np.int64) * channels


@functools.cache
def _decoder_versions() -> tuple[str | None, ...]:
    """Other versions of them may give other pixels."""
    versions: list[str | None] = []
    for name in ("sightline", "pillow", "simplejpeg"):
        try:
            versions.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            versions.append(None)
    return tuple(versions)
