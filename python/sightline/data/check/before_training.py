"""What can be told in a moment, before training, of splits that are read already."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sightline._text import listed, quoted, shortened
from sightline.data.check.boxes import duplicate_boxes, partly_outside
from sightline.formats.records import Annotations

__all__ = ["before_training"]

_MOST_OPENED = 20_000  # files of which a piece is read: about a second
_MOST_BYTES = 1 << 28  # that are read to compare files whose pieces are equal
_PIECE = 4096


def before_training(train: Annotations, others: Mapping[str, Annotations]) -> list[str]:
    """Return sentences on what would spoil training or its scores; empty where nothing is found.

    Looked for are images of train in another split (the same file, or one of the same content),
    classes that only other splits have, duplicate boxes, and boxes partly outside their image.
    Files are opened only where two splits have files of one size, and then at most 20,000.

    Args:
        train: the set to train on.
        others: the sets to evaluate on, by name, with the same classes.
    """
    sentences = []
    for name, other in others.items():
        shared = [*_shared(train, other)]
        if shared:
            count = f"{len(shared):,} image{'' if len(shared) == 1 else 's'} of {name}"
            some = f"such as {shortened(shared[0])}" if len(shared) > 1 else shortened(shared[0])
            said = "is" if len(shared) == 1 else "are"
            sentences.append(f"{count} {said} in train too, {some}: the score will be too good")
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


def _shared(train: Annotations, other: Annotations) -> Iterator[str]:
    """The images of a split that are in train too."""
    mine, theirs = _files_by_size(train), _files_by_size(other)
    sizes = [size for size in theirs if size in mine]
    opened = sum(len(files[size]) for size in sizes for files in (mine, theirs))
    rest = _MOST_BYTES if opened <= _MOST_OPENED else 0
    for size in sizes:
        known = set(mine[size])
        pieces = {_digest(path, _PIECE) for path in known} if rest else set()
        for path in theirs[size]:
            if path in known:
                yield path.name
            elif rest and _digest(path, _PIECE) in pieces and rest > 0:
                rest -= 2 * size
                if any(_digest(path) == _digest(same) for same in known):
                    yield path.name


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
