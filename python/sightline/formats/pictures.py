"""Opens image files for their size, without decoding their pixels; finds those in a folder."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.formats.records import DataError

__all__ = [
    "IMAGE_SUFFIXES",
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
]

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


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) of an image file as shown, without decoding it where possible."""
    with opened_image(path) as image:
        return shown_size(image)


@contextmanager
def opened_image(picture: Picture) -> Iterator[Any]:
    """A Pillow image of an image in any form; every error names the image."""
    module = pillow()
    name = image_name(picture)
    try:
        if isinstance(picture, module.Image):  # its creator closes it
            yield picture
            return
        source: Any = picture
        if isinstance(picture, (str, os.PathLike)):
            if Path(picture).stat().st_size == 0:
                raise DataError(f"{name}: the image file is empty; {_fix(picture)}")
        elif isinstance(picture, (bytes, bytearray, memoryview)):
            source = io.BytesIO(picture)
        with module.open(source, formats=_READ) as image:
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
        raise DataError(f"{name}: {what}; {_fix(picture)}") from error


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
    if image.format == "PNG" and "exif" not in image.info:
        image.load()  # in a PNG, EXIF may follow the pixels
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError):  # unreadable EXIF is disregarded
        return 1


def shown_size(image: Any) -> tuple[int, int]:
    width, height = image.size
    # Orientations 5 to 8 swap width and height.
    return (height, width) if orientation(image) in (5, 6, 7, 8) else (width, height)
