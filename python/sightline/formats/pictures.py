"""Opens image files for their size, without decoding their pixels; finds those in a folder."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.formats.record import DataError, UnreadableImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "UNREAD_SUFFIXES",
    "Picture",
    "image_name",
    "image_size",
    "images_in",
    "is_image",
    "opened_image",
    "orientation",
    "pillow",
    "shown_size",
    "too_many_pixels",
]

# Of an image that is decoded, unless more are allowed; the bound of Pillow, and 512 MiB in colour.
MAX_PIXELS = 178_956_970

# Only these are decoded. Without this list, Pillow would start Ghostscript for an EPS file named
# .png, and try forty other readers on any file of a data set.
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
IMAGE_SUFFIXES = tuple(_FORMATS)
# Images that people have in their data sets, and that are not decoded.
UNREAD_SUFFIXES = (
    *(".avif", ".heic", ".heif", ".jp2", ".jxl", ".tga", ".psd", ".eps", ".svg", ".pdf"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".exr", ".hdr", ".dcm"),
)
_SUFFIXES = " ".join(IMAGE_SUFFIXES)
_READ = tuple(dict.fromkeys(_FORMATS.values()))
_EXIF_ORIENTATION = 0x0112
_EXIF_IN_TEXT = b"Raw profile type exif"  # as ImageMagick writes it to PNG
_PNG_HEAD = 8  # bytes before the first chunk
_MOST_CHECKED = 64 << 10  # bytes of a chunk whose check sum is computed
_PICTURES = (
    "a path, the bytes of an image file, a file opened for reading bytes, a PIL image, or a uint8 "
    "array [H, W] or [H, W, 1 | 3 | 4] in RGB order"
)

# The types that `read_image` takes; PIL is not imported here, only where images are decoded.
Picture = str | os.PathLike | bytes | bytearray | memoryview | io.IOBase | NDArray[np.uint8] | Any


def pillow() -> Any:
    """Return the PIL.Image module, or raise ImportError that says how to install it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError("reading images needs Pillow: pip install 'sightline[train]'") from error
    return PIL.Image


def is_image(path: Path) -> bool:
    """Whether the file name has the suffix of an image and is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_in(folder: str | os.PathLike) -> list[Path]:
    """Return the images in a folder, sorted by name, without those in its subfolders.

    Raises DataError where there are none.
    """
    found = sorted(path for path in Path(folder).iterdir() if is_image(path) and path.is_file())
    if not found:
        raise DataError(f"{os.fspath(folder)}: no image in this folder (looked for {_SUFFIXES})")
    return found


def image_size(path: str | Path, *, max_pixels: int | None = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) of an image file as shown, without decoding it.

    Raises DataError where it cannot be read, or has more than `max_pixels` pixels (None: no bound).
    """
    with opened_image(path, max_pixels=max_pixels) as image:
        return shown_size(image)


def too_many_pixels(name: str | Path, width: int, height: int, max_pixels: int) -> str:
    """What an error says of an image that exceeds the bound, which names the way to raise it."""
    count = width * height
    return (
        f"{name}: {width:,} x {height:,} = {count:,} pixels, but at most {max_pixels:,} are "
        f"decoded; where memory suffices, data.max_pixels={count} (in Python `max_pixels`) "
        "allows them"
    )


@contextmanager
def opened_image(picture: Picture, *, max_pixels: int | None = MAX_PIXELS) -> Iterator[Any]:
    """A Pillow image of an image in any form; every error names the image.

    Its pixels are not decoded yet. Where it has more than `max_pixels`, DataError says so.
    """
    module = pillow()
    name = image_name(picture)
    try:
        if isinstance(picture, module.Image):  # its creator closes it
            yield picture
            return
        source: Any = picture
        if isinstance(picture, (str, os.PathLike)):
            if Path(picture).stat().st_size == 0:
                raise UnreadableImageError(name, "the image file is empty", _fix(picture))
        elif isinstance(picture, (bytes, bytearray, memoryview)):
            source = io.BytesIO(picture)
        with _opened(module, source) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise DataError(too_many_pixels(name, image.width, image.height, max_pixels))
            yield image
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        fix = "check the path, or the list that names it"
        if any(sign in str(picture) for sign in "*?"):
            fix = "a pattern is not a path: give the folder, or the list of Path(...).glob(...)"
        raise DataError(f"{name}: no such image; {fix}") from error
    except Exception as error:  # on damaged files Pillow's readers raise nearly any exception
        if isinstance(error, module.UnidentifiedImageError):
            what = f"not a readable image of {', '.join(_READ[:-1])} or {_READ[-1]}"
        else:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            what = f"cannot decode the image ({reason})"
        raise UnreadableImageError(name, what, _fix(picture)) from error


# Pillow bounds the pixels of a header by a global of its own, which is lifted while it opens a
# file. After a fork, no process is left with the lock of a thread that it does not have.
_opening = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_opening.acquire,
        after_in_parent=_opening.release,
        after_in_child=_opening.release,
    )


def _opened(module: Any, source: Any) -> Any:
    with _opening:
        bound, module.MAX_IMAGE_PIXELS = module.MAX_IMAGE_PIXELS, None
        try:
            return module.open(source, formats=_READ)
        finally:
            module.MAX_IMAGE_PIXELS = bound


def image_name(picture: Picture) -> str:
    """The name of an image in errors; TypeError for anything that is not an image."""
    if isinstance(picture, (str, os.PathLike)):
        return os.fsdecode(picture)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return f"picture of {memoryview(picture).nbytes:,} bytes"
    if isinstance(picture, pillow().Image):
        file = getattr(picture, "filename", "")
        width, height = picture.size
        return os.fsdecode(file) or f"PIL image of mode {picture.mode}, {width} x {height}"
    if hasattr(picture, "read") and not isinstance(picture, io.TextIOBase):
        file = getattr(picture, "name", None)
        return file if isinstance(file, str) else f"picture in a {type(picture).__name__}"
    got = f"{type(picture).__module__}.{type(picture).__qualname__}".removeprefix("builtins.")
    hint = ""
    if got == "torch.Tensor":
        hint = "; of a uint8 tensor [3, H, W] pass tensor.permute(1, 2, 0).numpy()"
    elif isinstance(picture, io.TextIOBase):
        hint = "; open it with mode 'rb'"
    raise TypeError(f"a picture is {_PICTURES}; got {got}{hint}")


def _fix(picture: Picture) -> str:
    if isinstance(picture, (str, os.PathLike)):
        return "replace the file, or leave it out (with its label, in a data set)"
    return "pass a whole and undamaged image"


def orientation(image: Any) -> int:
    """The EXIF orientation of an opened image, 1 where it has none that can be read."""
    module = pillow()
    if image.format == "PNG" and "exif" not in image.info and image.fp is not None:
        found = _png_exif(image.fp)
        if found == _EXIF_IN_TEXT:
            image.load()
        elif found is not None:
            image.info["exif"] = found
    try:
        # The method of Pillow's PNG image would decode the pixels to look behind them.
        return int(module.Image.getexif(image).get(_EXIF_ORIENTATION, 1))
    except Exception:  # unreadable EXIF is disregarded
        return 1


def _png_exif(file: Any) -> bytes | None:
    """Return the EXIF of a PNG, or `_EXIF_IN_TEXT` where a text after the pixels has it.

    Pixels are skipped, but for the first of their chunks: that is checked, to notice damage early.
    """
    here = file.tell()
    pixels = False
    try:
        file.seek(_PNG_HEAD)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return bytes(file.read(length))
            if kind == b"IEND":
                return None
            if kind == b"IDAT" and not pixels and length <= _MOST_CHECKED:
                _check_chunk(kind, length, file.read(length + 4))
            else:
                name = kind in (b"tEXt", b"zTXt", b"iTXt") and file.read(len(_EXIF_IN_TEXT))
                if pixels and name == _EXIF_IN_TEXT:
                    return _EXIF_IN_TEXT
                file.seek(length + 4 - len(name or b""), os.SEEK_CUR)
            pixels |= kind == b"IDAT"
        return None
    finally:
        file.seek(here)


def _check_chunk(kind: bytes, length: int, data: bytes) -> None:
    if len(data) < length + 4:
        raise OSError("the file ends within its pixels")
    if zlib.crc32(kind + data[:length]) != int.from_bytes(data[length:], "big"):
        raise OSError("its pixels do not have their check sum")


def shown_size(image: Any) -> tuple[int, int]:
    """Return (width, height) with the EXIF orientation applied."""
    width, height = image.size
    # Orientations 5 to 8 swap width and height.
    return (height, width) if orientation(image) in (5, 6, 7, 8) else (width, height)
