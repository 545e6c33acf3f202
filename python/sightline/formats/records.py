"""What readers return and writers take: images, their objects, and the bad labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline._text import counted, listed, shortened
from sightline.formats.record import DataError, Issue, LabelType, Record, box_rule
from sightline.formats.table import RecordTable, labels_of

__all__ = ["Annotations", "DataError", "Issue", "LabelType", "Record", "box_rule"]


@dataclass(frozen=True, eq=False, repr=False)
class Annotations:
    """A labelled set of images; `records[i].labels` index `class_names`.

    `label_type` is a `LabelType` or its text: "class" (one class per image) or "boxes".
    `category_ids[label]` is the id of the label in a COCO file; empty for other formats.
    `issues` lists every label that was dropped. `split_rule` describes in words how the split was
    made. `mirror_safe` is False where a mirrored image may mean something else (digits), so that
    default augmentation does not flip. `keypoint_names` are those of the K points of each object,
    where they are known, and `keypoint_mirror[k]` is the point that point k becomes in a mirrored
    image (left and right are exchanged). `skeleton` has the pairs of points that are drawn joined.
    """

    label_type: LabelType
    class_names: tuple[str, ...]
    records: Sequence[Record]
    issues: tuple[Issue, ...] = ()
    category_ids: tuple[int, ...] = ()
    source: str = ""
    format: str = ""
    split: str | None = None
    split_rule: str = ""
    mirror_safe: bool = True
    keypoint_names: tuple[str, ...] = ()
    keypoint_mirror: tuple[int, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()

    def __repr__(self) -> str:
        """One line: the number of images and labels, the classes, and the source."""
        counts = zip(self.class_names, self.class_counts().tolist())
        classes = listed([f"{shortened(name, 24)} {count:,}" for name, count in counts], 5)
        number = len(self.class_names)
        source = shortened(f"{self.split or 'all'} of {self.source or 'memory'}")
        written = f"; {self.format}" if self.format else ""
        bad = sum(issue.action.endswith("dropped") for issue in self.issues)
        notes = len(self.issues) - bad
        dropped = f"; {counted(bad, 'bad label')}" if bad else ""
        dropped += f"; {counted(notes, 'note')}" if notes else ""
        return (
            f"Annotations({self.label_type}: {counted(len(self), 'picture')}, "
            f"{number:,} class{'' if number == 1 else 'es'}: {classes}{dropped}{written}; {source})"
        )

    def __post_init__(self) -> None:
        known = [kind.value for kind in LabelType]
        if self.label_type not in known:
            raise ValueError(
                f"`label_type` must be {' or '.join(map(repr, known))}, got {self.label_type!r}"
            )
        object.__setattr__(self, "label_type", LabelType(self.label_type))  # also from its text

    def __len__(self) -> int:
        return len(self.records)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def table(self) -> RecordTable:
        """The records as columns of arrays; `records` itself where a reader made it."""
        return RecordTable.of(self.records)

    def class_counts(self) -> NDArray[np.int64]:
        """Return the number of labels of each class, int64 [num_classes]."""
        labels = labels_of(self.records).values
        return np.bincount(labels, minlength=self.num_classes).astype(np.int64)

    def subset(self, indices: Iterable[int] | Iterable[bool]) -> Annotations:
        """Return the same set with only the records at `indices`, in that order.

        Args:
            indices: integers, where negative ones count from the end; or one bool per record,
                which keeps those that are True.

        Raises:
            IndexError: an index out of range.
            TypeError: neither integers nor bools.
            ValueError: the number of bools differs from that of the records.
        """
        # Convert arrays and tensors to plain numbers: a one-bool tensor would pass for 0 or 1.
        chosen = list(getattr(indices, "tolist", lambda: indices)())
        count = len(self.records)
        if chosen and all(isinstance(i, bool | np.bool_) for i in chosen):
            if len(chosen) != count:
                raise ValueError(
                    f"`indices` must hold one bool for each of {count} records, got {len(chosen)}"
                )
            chosen = [i for i, kept in enumerate(chosen) if kept]
        for i in chosen:
            if isinstance(i, bool | np.bool_) or not hasattr(i, "__index__"):
                raise TypeError(f"`indices` must hold whole numbers, got {i!r}")
            if not -count <= i < count:
                raise IndexError(f"`indices` must lie in 0 ... {count - 1}, got {i}")
        if isinstance(self.records, RecordTable):
            return replace(self, records=self.records.take(chosen))
        return replace(self, records=tuple(self.records[i] for i in chosen))
