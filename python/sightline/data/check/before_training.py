"""What can be told in a moment, before training, of splits that are read already."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sightline._text import counted, listed, quoted, shortened
from sightline.data.check.boxes import duplicate_boxes, partly_outside
from sightline.formats.records import Annotations

__all__ = ["before_training"]

_MOST_OPENED = 20_000  # files of which a piece is read: about a second
_MOST_BYTES = 1 << 28  # that are read to compare files whose pieces are equal
_PIECE = 4096


def before_training(train: Annotations, others: Mapping[str, Annotations]) -> list[str]:
    """Return sentences on what would spoil training or its scores; empty where nothing is found.

    It looks for images of train in another split (the same file, or one of the same content),
    classes that only other splits have, duplicate boxes, and boxes partly outside their image.
    Files are opened only where two splits have files of one size, and then at most 20,000 for each
    split; a sentence says how many images were not compared.

    Args:
        train: the set to train on.
        others: the sets to evaluate on, by name, with the same classes.
    """
    sentences = []
    for name, other in others.items():
        shared, left = _shared(train, other)
        if shared:
            count = f"{counted(len(shared), 'image')} of {name}"
            some = f"such as {shortened(shared[0])}" if len(shared) > 1 else shortened(shared[0])
            said = "is" if len(shared) == 1 else "are"
            sentences.append(f"{count} {said} in train too, {some}: the score will be too good")
        if left:
            images = f"{counted(left, 'image')} of {name}"
            were = "was" if left == 1 else "were"
            rule = "too many files have the same size"
            sentences.append(f"{images} {were} not compared with those of train: {rule}")
    sentences += _untrained(train, others)
    counts = {"duplicate box": 0, "box partly outside its image": 0}
    for split in (train, *others.values()):
        counts["duplicate box"] += sum(iou == 1 for *_, iou in duplicate_boxes(split.table))
        counts["box partly outside its image"] += len(partly_outside(split.table))
    suspicious = [
        f"{count:,} {kind if count == 1 else kind.replace('box', 'boxes')}"
        for kind, count in counts.items()
        if count
    ]
    if suspicious:
        sentences.append(" and ".join(suspicious))
    return sentences


def _untrained(train: Annotations, others: Mapping[str, Annotations]) -> Iterator[str]:
    trained = train.class_counts()
    if not trained.any():  # there is nothing to train on, which is an error of its own
        return
    missing: dict[tuple[str, ...], list[str]] = {}
    for label, name in enumerate(train.class_names):
        has = tuple(split for split, other in others.items() if other.class_counts()[label])
        if has and not trained[label]:
            missing.setdefault(has, []).append(quoted(name))
    for has, names in missing.items():
        classes = f"class {names[0]}" if len(names) == 1 else f"{len(names)} classes, "
        classes += listed(names) if len(names) > 1 else ""
        yield f"train has no label of {classes}, but {' and '.join(has)} has"


def _shared(train: Annotations, other: Annotations) -> tuple[list[str], int]:
    """The images of a split that are in train too, and the number of those not compared.

    The rarest sizes of files come first, until the files or bytes to read are too many.
    """
    mine, theirs = _files_by_size(train), _files_by_size(other)
    sizes = [size for size in theirs if size in mine]
    files, data = _MOST_OPENED, _MOST_BYTES
    shared, left = [], 0
    for size in sorted(sizes, key=lambda size: len(mine[size]) + len(theirs[size])):
        known = set(mine[size])
        others = [path for path in theirs[size] if path not in known]
        shared += [path.name for path in theirs[size] if path in known]
        if not others:
            continue
        files -= len(known) + len(others)
        if files < 0:
            left += len(others)
            continue
        by_piece: dict[bytes, list[Path]] = defaultdict(list)
        for path in known:
            by_piece[_digest(path, _PIECE)].append(path)
        for path in others:
            alike = by_piece.get(_digest(path, _PIECE), [])
            data -= size * (len(alike) + 1) if alike else 0
            if data < 0:
                left += 1
            elif alike and _digest(path) in map(_digest, alike):
                shared.append(path.name)
    return shared, left


def _files_by_size(annotations: Annotations) -> dict[int, list[Path]]:
    by_size: dict[int, list[Path]] = defaultdict(list)
    for row in range(len(annotations.table)):
        image = annotations.table.image(row)
        if isinstance(image, np.ndarray):
            continue
        try:
            by_size[image.stat().st_size].append(image)
        except OSError:  # the loader reports it
            continue
    return by_size


def _digest(path: Path, piece: int | None = None) -> bytes:
    """A hash of a file, or of a piece in its middle; headers are often the same."""
    try:
        with path.open("rb") as file:
            if piece is not None:
                file.seek(max(0, path.stat().st_size - piece) // 2)
                return hashlib.sha256(file.read(piece)).digest()
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return str(path).encode()
