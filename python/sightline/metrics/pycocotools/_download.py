"""Downloads the images of a data set; names and addresses in its file are not trusted."""

import contextlib
import os
import shutil
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

_SCHEMES = ("http", "https")
# The default opener of urllib also reads file: and data: and follows redirections to ftp:.
_HANDLERS = (
    *(urllib.request.ProxyHandler, urllib.request.UnknownHandler),
    *(urllib.request.HTTPHandler, urllib.request.HTTPSHandler),
    *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler),
    urllib.request.HTTPErrorProcessor,
)
_SHOWN = 100


def fetch_missing(images: Iterable[Mapping[str, Any]], folder: str) -> Iterator[None]:
    """Download each image that is not in the folder yet; yields once per image.

    All names and addresses are checked before the first download. An image appears under its name
    only when it is complete.

    Raises:
        ValueError: a `file_name` that leads out of the folder, or a `coco_url` that is neither
            http nor https.
    """
    images = list(images)
    paths = [_path_inside(folder, image["file_name"]) for image in images]
    for image, path in zip(images, paths):
        if not os.path.exists(path):
            _check_address(image["coco_url"], image["file_name"])
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    for image, path in zip(images, paths):
        if not os.path.exists(path):
            _fetch(opener, image["coco_url"], path)
        yield


def _path_inside(folder: str, name: Any) -> str:
    """The path of the image of that name."""
    posix, windows = PurePosixPath(str(name)), PureWindowsPath(str(name))
    leaves = (
        not isinstance(name, str)
        or any(path.anchor or ".." in path.parts for path in (posix, windows))
        or "\\" in name
        or "\0" in name
    )
    path = os.path.join(folder, str(name))
    home = os.path.realpath(folder)
    if not leaves:  # links in the folder are followed
        there = os.path.realpath(path)
        leaves = there == home or os.path.commonpath([home, there]) != home
    if leaves:
        raise ValueError(
            f"`file_name` {_shown(name)} leads out of {folder}; it must be a relative path with /, "
            "without .. and without links that lead outside"
        )
    return path


def _check_address(address: Any, name: str) -> None:
    scheme = urlsplit(address).scheme if isinstance(address, str) else ""
    if scheme not in _SCHEMES:
        raise ValueError(
            f"`coco_url` of {_shown(name)} must begin with http:// or https://, "
            f"got {_shown(address)}"
        )


def _fetch(opener: urllib.request.OpenerDirector, address: str, path: str) -> None:
    part = f"{path}.{os.getpid()}.part"
    try:
        with opener.open(address) as answer, open(part, "xb") as file:
            shutil.copyfileobj(answer, file)
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
