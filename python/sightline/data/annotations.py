"""Handles annotations after they are read: bad labels, and classes in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sightline._text import listed, shortened
from sightline.formats.records import Annotations, DataError, Issue, LabelType, Record, box_rule

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
        records=tuple(replace(r, labels=labels[r.labels]) for r in annotations.records),
        category_ids=tuple(id_of.get(name, -1) for name in names) if id_of else (),
    )


def apply_policy(
    pairs: Iterable[tuple[Record, list[Issue]]], on_bad_label: str
) -> tuple[tuple[Record, ...], tuple[Issue, ...]]:
    """Return the records to keep and the issues, by the bad-label policy.

    `pairs` has each record without its bad boxes, and its issues. "drop-box" keeps such a record,
    "drop-image" leaves it out, "error" raises one DataError that lists the bad labels.
    """
    if on_bad_label not in BAD_LABEL_POLICIES:
        allowed = ", ".join(map(repr, BAD_LABEL_POLICIES))
        raise ValueError(f"`on_bad_label` must be one of {allowed}, got {on_bad_label!r}")
    pairs = list(pairs)
    issues = [issue for _, found in pairs for issue in found]
    if issues and on_bad_label == "error":
        listed = [str(issue) for issue in issues[:_LISTED_OFFENDERS]]
        if len(issues) > len(listed):
            listed.append(f"... and {len(issues) - len(listed)} more")
        raise DataError(
            f"{len(issues)} bad label(s): {'; '.join(listed)}. Correct the file, or set "
            "data.on_bad_label=drop-box (or drop-image) to leave them out"
        )
    keep_record = on_bad_label == "drop-box"
    action = "box dropped" if keep_record else "image dropped"
    records = tuple(record for record, found in pairs if keep_record or not found)
    return records, tuple(replace(issue, action=action) for issue in issues)
