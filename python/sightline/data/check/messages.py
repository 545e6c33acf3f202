"""Tells the kind of a reader's error or issue, whose rule is a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sightline.data.check.findings import Finding, found
from sightline.formats.records import DataError, Issue

__all__ = ["finding_of_error", "finding_of_issue", "finding_of_note"]

_PLACE = re.compile(r"(?P<file>.+?)(?::(?P<line>\d+))?: (?P<rule>.+)", re.DOTALL)
_ERRORS = (
    (r"no such label file", "missing label file"),
    (r"no image named", "label without image"),
    (r"imagePath|remove the label file$", "label without image"),
    (r"no such image|no image |there is no .*remove the line", "missing image"),
    (r"image file is empty|cannot decode|not a readable image|pixels", "unreadable image"),
    (r"unknown class", "unknown class"),
    (
        r"not well-formed|not json|text \(|or UTF-8 text|xml entity|too many for a label|encoding"
        r"|a row must have",
        "unreadable label file",
    ),
)
_CORNERS = re.compile(r"got xmin=(\S+) ymin=(\S+) xmax=(\S+) ymax=(\S+)")
_SIDES = re.compile(r"must be positive, got .*?(?P<w>-?[\d.e+]+)(?:,| and) (?P<h>-?[\d.e+]+)\]?$")
_LABELS = (
    (r"lies outside its image|shares of the image's sides", "box outside its image"),
    (
        r"unknown class -?\d+; the classes are 0 to|category_id .* not among",
        "class number out of range",
    ),
    (r"unknown class", "unknown class"),
)


def finding_of_error(error: DataError) -> Finding:
    """Return what a reader refused; its message begins with the place and ends with the fix."""
    text = str(error)
    place = _PLACE.fullmatch(text)
    file, line, rest = ("", None, text) if place is None else place.group("file", "line", "rule")
    rule, semicolon, fix = rest.rpartition("; ")
    kind = _kind(_ERRORS, rest, "unusable data")
    number = int(line) if line else None
    return found(kind, Path(file), number, "", rule if semicolon else rest, fix=fix or None)


def finding_of_issue(issue: Issue) -> Finding:
    """Return a bad label."""
    return found(_label_kind(issue.rule), issue.file, issue.line, issue.what, issue.rule)


def finding_of_note(note: Issue) -> Finding:
    """Return what a reader assumed."""
    rule = f"{note.rule} ({note.action})"
    return found("assumption", note.file, note.line, note.what, rule)


def _label_kind(rule: str) -> str:
    corners = _CORNERS.search(rule)
    if corners is not None:
        x1, y1, x2, y2 = map(float, corners.groups())
        return "inverted box" if x1 > x2 or y1 > y2 else "empty box"
    sides = _SIDES.search(rule)
    if sides is not None:
        return "inverted box" if min(map(float, sides.group("w", "h"))) < 0 else "empty box"
    return _kind(_LABELS, rule, "unreadable label")


def _kind(patterns: Sequence[tuple[str, str]], text: str, otherwise: str) -> str:
    return next((kind for pattern, kind in patterns if re.search(pattern, text)), otherwise)
