"""The images of a data set that is being written: their names there, and their files."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline._text import shortened
from sightline.formats.losses import Losses
from sightline.formats.pictures import IMAGE_SUFFIXES, opened_image, orientation, pillow
from sightline.formats.records import DataError, Record

__all__ = ["IMAGES", "Placed", "WrittenPictures"]

IMAGES = ("copy", "link", "none")
_SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "GIF": ".gif"}
_SUFFIX_OF |= {"TIFF": ".tif", "PPM": ".ppm"}
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Placed:
    """An image in the data set that is being written.

    `new` is False where the same file was placed in the same folder before. `size` is (width,
    height) as stored, `turn` the EXIF orientation (1 for none).
    """

    name: str
    new: bool
    size: tuple[int, int]
    channels: int
    turn: int = 1

    @property
    def stem(self) -> str:
        return os.path.splitext(self.name)[0]

    @property
    def shown_size(self) -> tuple[int, int]:
        return self.size[::-1] if self.turn in _TURNED else self.size


class WrittenPictures:
    """Gives each image a name that is unique in its folder, and writes its file."""

    def __init__(
        self,
        images: str,
        losses: Losses,
        reserved: Collection[str] = (),
        *,
        keeps_ids: bool = False,
        has_pixels: bool = True,
    ) -> None:
        """Set up without writing anything.

        Args:
            images: "copy", "link" (a hard link, otherwise a symbolic one), or "none".
            losses: gets the images whose names change, and those with an EXIF orientation.
            reserved: names without suffix, in lower case, that no image may have.
            keeps_ids: whether the format has ids of images beside their names.
            has_pixels: whether labels have pixels of the image, so that EXIF matters to them.
        """
        if images not in IMAGES:
            raise ValueError(f"`images` must be one of {', '.join(IMAGES)}, got {images!r}")
        self._images, self._losses, self._reserved = images, losses, reserved
        self._keeps_ids, self._has_pixels = keeps_ids, has_pixels
        self._taken: dict[Path, set[str]] = {}  # of each folder: stems in lower case
        self._placed: dict[tuple[Path, Path], Placed] = {}

    def place(self, record: Record, folder: Path, split: str | None = None) -> Placed:
        """Write the image of a record into a folder, which is created where it is missing.

        Names differ in more than suffix and case, since label files have those of their images and
        some file systems ignore case.

        Raises:
            DataError: the image cannot be read, or not be linked.
        """
        source = record.image
        if not isinstance(source, np.ndarray):
            key = (folder, Path(source))
            if key not in self._placed:
                self._placed[key] = self._place_file(Path(source), folder)
                self._note_id(str(record.image_id), Path(source))
                return self._placed[key]
            return replace(self._placed[key], new=False)
        return self._place_array(source, str(record.image_id), folder, split)

    def _place_file(self, source: Path, folder: Path) -> Placed:
        with opened_image(source, max_pixels=None) as image:  # nothing is decoded
            size, channels = image.size, len(image.getbands())
            turn, kind = orientation(image), str(image.format)
        suffix = source.suffix
        if suffix.lower() not in IMAGE_SUFFIXES:
            suffix = _SUFFIX_OF.get(kind, ".png")
        name = self._unique(source.stem, suffix, folder, source.parent.name)
        if name != source.name:
            shown = shortened(f"{source.parent.name}/{source.name}")
            self._note_name(f"{shown} is written as {shortened(name)}")
        if turn != 1 and self._has_pixels:
            why = "labels refer to the image as shown; programs that ignore EXIF see it otherwise"
            self._losses.add("the EXIF orientation", "image", 1, why, shortened(source.name))
        if self._images != "none":
            folder.mkdir(parents=True, exist_ok=True)
            self._write_file(source, folder / name)
        return Placed(name, True, size, channels, turn)

    def _place_array(
        self, pixels: NDArray[np.uint8], name: str, folder: Path, split: str | None
    ) -> Placed:
        stem = name.rpartition("/")[2] or "image"
        found = self._unique(stem, ".png", folder, split or "image")
        if found != f"{name}.png":
            self._note_name(f"{shortened(name)} is written as {shortened(found)}")
        if self._images != "none":
            folder.mkdir(parents=True, exist_ok=True)
            flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
            pillow().fromarray(np.ascontiguousarray(flat)).save(folder / found)
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return Placed(found, True, (pixels.shape[1], pixels.shape[0]), channels)

    def _note_id(self, image_id: str, source: Path) -> None:
        last = image_id.rpartition("/")[2]
        if not self._keeps_ids and last not in (source.name, source.stem):
            why = f"{self._losses.format_name} knows images by their names"
            self._losses.add("the ids", "image", 1, why, f"{image_id} is {source.name}")

    def _note_name(self, example: str) -> None:
        why = "in one folder they differ in more than suffix and case, and are plain text"
        self._losses.add("the file names", "image", 1, why, example)

    def _unique(self, stem: str, suffix: str, folder: Path, prefix: str) -> str:
        """A name that no other image of the folder has, if need be with a prefix or a number."""
        taken = self._taken.setdefault(folder, set(self._reserved))
        plain = _plain(stem)
        candidate, number = plain, 1
        while candidate.casefold() in taken:
            begin = _plain(f"{prefix}_{plain}")
            candidate = begin if number == 1 else f"{begin}-{number}"
            number += 1
        taken.add(candidate.casefold())
        return candidate + suffix

    def _write_file(self, source: Path, target: Path) -> None:
        source = source.resolve()
        try:
            if self._images == "copy":
                shutil.copyfile(source, target)
                return
            try:
                os.link(source, target)
            except OSError:  # another file system, or one without hard links
                os.symlink(source, target)
        except OSError as error:
            fix = "use images=copy" if self._images == "link" else "check the disk"
            reason = error.strerror or error
            raise DataError(f"{source}: cannot {self._images} it ({reason}); {fix}") from error


def _plain(stem: str) -> str:
    """A name that lists and label files can hold: without controls, and blanks at its ends."""
    text = "".join("_" if char in "/\\" or _is_control(char) else char for char in stem).strip()
    text = text or "image"
    return f"_{text[1:]}" if text.startswith(".") else text


def _is_control(char: str) -> bool:
    """Whether it is a control character, ends a line, or is a byte that is not text."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
