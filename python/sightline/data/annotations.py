"""Handles annotations after they are read: bad labels, and classes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightline._text import counted, listed, shortened
from sightline.data.issues import gathered
from sightline.formats.records import Annotations, DataError, Issue, LabelType, Record, box_rule
from sightline.formats.source import Labelled
from sightline.formats.table import RecordTable

__all__ = [
    "BAD_LABEL_POLICIES",
    "Annotations",
    "DataError",
    "Issue",
    "LabelType",
    "Record",
    "apply_policy",
    "box_rule",
    "with_classes",
]

BAD_LABEL_POLICIES = ("error", "drop-box", "drop-image")
_LISTED_OFFENDERS = 10


def with_classes(annotations: Annotations, class_names: Sequence[str]) -> Annotations:
    """Return the same set with labels that index `class_names`; classes are matched by name.

    The set may lack some of the classes, have further ones without labels, and order them
    differently.

    Raises:
        DataError: it has labels of classes that are not in `class_names`.
    """
    names = tuple(class_names)
    if annotations.class_names == names:
        return annotations
    label_of = {name: label for label, name in enumerate(names)}
    counts = zip(annotations.class_names, annotations.class_counts().tolist())
    unknown = [f"{shortened(name)} ({n:,})" for name, n in counts if n and name not in label_of]
    if unknown:
        raise DataError(
            f"the model knows {len(names)} classes, {listed(names)}; {annotations.source} has "
            f"{annotations.num_classes}, {listed(annotations.class_names)}, with labels of classes "
            f"that the model does not know: {listed(unknown)}"
        )
    labels = np.array([label_of.get(name, -1) for name in annotations.class_names], np.int64)
    id_of = dict(zip(annotations.class_names, annotations.category_ids))
    return replace(
        annotations,
        class_names=names,
        records=_relabelled(annotations.records, labels),
        category_ids=tuple(id_of.get(name, -1) for name in names) if id_of else (),
    )


def _relabelled(records: Sequence[Record], labels: NDArray[np.int64]) -> Sequence[Record]:
    if isinstance(records, RecordTable):
        return records.with_labels(labels[records.labels.values])
    return tuple(replace(record, labels=labels[record.labels]) for record in records)


def apply_policy(labelled: Labelled, on_bad_label: str) -> tuple[RecordTable, tuple[Issue, ...]]:
    """Return the records to keep and the issues, by the bad-label policy.

    The records come without their bad boxes. "drop-box" keeps one with issues, "drop-image" leaves
    it out, "error" raises one DataError that lists the bad labels.
    """
    if on_bad_label not in BAD_LABEL_POLICIES:
        allowed = ", ".join(map(repr, BAD_LABEL_POLICIES))
        raise ValueError(f"`on_bad_label` must be one of {allowed}, got {on_bad_label!r}")
    table, issues = labelled.table, labelled.issues
    if issues and on_bad_label == "error":
        found = gathered(issues, len(table.labels.values) + len(issues))
        shown = found[:_LISTED_OFFENDERS]
        listed = [said.text for said in shown]
        rest = len(issues) - sum(said.issues for said in shown)
        if rest:
            listed.append(f"... and {rest:,} more")
        raise DataError(
            f"{counted(len(issues), 'bad label')}: {'; '.join(listed)}. Correct the file, or set "
            "data.on_bad_label=drop-box (or drop-image) to leave them out"
        )
    keep_record = on_bad_label == "drop-box"
    action = "box dropped" if keep_record else "image dropped"
    if issues and not keep_record:
        table = table.take(np.setdiff1d(np.arange(len(table)), labelled.rows))
    return table, tuple(replace(issue, action=action) for issue in issues)
