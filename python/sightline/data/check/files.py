"""Finds images that no label names, and labels without an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightline.data.check.findings import Finding, found
from sightline.data.check.gather import Gathered
from sightline.data.check.messages import finding_of_error
from sightline.formats.paths import files_in
from sightline.formats.pictures import IMAGE_SUFFIXES
from sightline.formats.records import DataError
from sightline.formats.text import number, read_lines

__all__ = ["check_files"]


def check_files(data: Gathered) -> Iterator[Finding]:
    """Yield images beside those of the set that have no label, and label files without image."""
    images: set[Path] = set()
    labels: set[Path] = set()
    for part in data.parts.values():
        table = part.labelled.table
        for row, label in enumerate(part.label_files):
            image = table.image(row)
            if isinstance(image, Path):
                images.add(image)
                if label is not None:
                    labels.add(label)
                    if data.source.format == "yolo" and not label.is_file():
                        rule = f"there is no {label.name}, so it counts as one without objects"
                        yield found("image without label file", image, None, "image", rule)
    if data.source.label_file is None:
        return
    refused = {finding_of_error(error).file.stem for error in data.errors}
    for folder in sorted({image.parent for image in images}):
        for path in files_in(folder, *IMAGE_SUFFIXES):
            if path not in images and path.stem not in refused:
                yield found("image without label", path, None, "image", "no label names it")
    if data.source.format == "yolo":
        for folder in sorted({label.parent for label in labels}):
            for path in files_in(folder, ".txt"):
                if path not in labels and path.stem not in refused and _holds_boxes(path):
                    rule = "there is no image of its name"
                    yield found("label without image", path, None, "label file", rule)


def _holds_boxes(path: Path) -> bool:
    try:
        lines = read_lines(path)
    except DataError:
        return False
    words = lines[0][1].split() if lines else []
    return len(words) >= 5 and None not in map(number, words)
