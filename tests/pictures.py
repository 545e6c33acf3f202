"""Small pictures for the tests of the readers."""

from pathlib import Path

from PIL import Image


def save_picture(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """Write a plain picture of (width, height) pixels, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path
