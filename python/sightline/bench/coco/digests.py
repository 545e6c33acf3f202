"""Digests of pycocotools' arrays, for data sets on which pycocotools takes minutes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .files import Files

DIGESTS = Path(__file__).parent / "digests.json"
_BY = "pycocotools 2.0.11"


def digest(arrays: Sequence[np.ndarray]) -> str:
    """A digest of shapes and bits."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update((np.ascontiguousarray(array, np.float64) + 0.0).tobytes())
    return found.hexdigest()


def recorded(recipe: str, files: Files) -> dict[str, str] | None:
    """The entry of a recipe; None if there is none for exactly these files."""
    entry = _all().get(recipe)
    return entry if entry and entry["files"] == _digest_of_files(files) else None


def keep(recipe: str, files: Files, arrays: Sequence[np.ndarray], ap: float) -> None:
    entry = {"by": _BY, "files": _digest_of_files(files), "arrays": digest(arrays), "AP": repr(ap)}
    DIGESTS.write_text(json.dumps({**_all(), recipe: entry}, indent=1, sort_keys=True) + "\n")


def _all() -> dict[str, dict[str, str]]:
    return json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}


def _digest_of_files(files: Files) -> str:
    found = hashlib.sha256()
    for path in (files.gt, files.dt):
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
