"""Turns issues into messages: many of one kind become one line, which says how many."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sightline._text import printable
from sightline.formats.records import Annotations, Issue

__all__ = ["Said", "gathered", "said_of", "why_nothing_is_left"]

_MOST_ALONE = 3  # issues of one kind that are said one by one
_OF_LINES = (".txt", ".csv")  # files with one object per line
# What differs between two issues of one kind; what is quoted is a name, and is left.
_NUMBER = re.compile(r"('[^']*'|\"[^\"]*\")|-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


class Said(NamedTuple):
    """A message, and the number of issues that it stands for."""

    text: str
    issues: int


def gathered(issues: Iterable[Issue], labels: int | None = None) -> list[Said]:
    """Return messages on issues: one for each, or one for all where more than three are of a kind.

    Bad labels are of one kind where their rules differ in numbers and in what was got. Notes of
    readers are each a kind of their own.

    Args:
        issues: in any order; the messages are in that of the first of each kind.
        labels: the number of all labels, good and bad, where it is known.

    >>> from pathlib import Path
    >>> issues = [Issue(Path("a.txt"), n, "object", f"must be 0, got {n}") for n in range(1, 9)]
    >>> gathered(issues, 8)[0].text
    '8 of 8 lines of 1 file: must be 0 (the first: a.txt:1: object, got 1)'
    """
    kinds: dict[tuple[str, str, str], list[Issue]] = {}
    for issue in issues:
        kind = (_blanked(issue.rule), issue.action, _unit(issue))
        if _is_note(issue):
            kind = (str(issue), "", "")
        kinds.setdefault(kind, []).append(issue)
    found = []
    for group in kinds.values():
        alone = len(group) <= _MOST_ALONE
        found += [Said(str(issue), 1) for issue in group] if alone else [_together(group, labels)]
    return found


def said_of(*sets: Annotations) -> list[Said]:
    """Return messages on the issues of a set, or of its splits together."""
    issues: list[Issue] = []
    for split in sets:
        # Readers note the same of each split where it is about what they share.
        known = {issue for issue in issues if _is_note(issue)}
        issues += [issue for issue in split.issues if issue not in known]
    dropped = sum(issue.action == "box dropped" for issue in issues)
    images = any(issue.action == "image dropped" for issue in issues)
    good = sum(int(split.class_counts().sum()) for split in sets)
    return gathered(issues, None if images else good + dropped)


def why_nothing_is_left(annotations: Annotations) -> str:
    """Return the end of a sentence on a set without labels: the commonest fault, or nothing."""
    bad = [said for said in said_of(annotations) if said.text.endswith("dropped)")]
    return f": {max(bad, key=lambda said: said.issues).text}" if bad else ""


def _is_note(issue: Issue) -> bool:
    return bool(issue.action) and not issue.action.endswith("dropped")


def _together(group: Sequence[Issue], labels: int | None) -> Said:
    first = group[0]
    rules = {_without_got(issue.rule) for issue in group}
    rule = rules.pop() if len(rules) == 1 else _blanked(first.rule)
    files = len({issue.file for issue in group})
    of_all = f" of {labels:,}" if labels is not None else ""
    where = f"{files:,} file{'' if files == 1 else 's'}"
    place = f"{first.file}:{first.line}" if first.line is not None else f"{first.file}"
    got = first.rule[len(_without_got(first.rule)) :] if rule in first.rule else f": {first.rule}"
    text = f"{len(group):,}{of_all} {_unit(first)} of {where}: {rule}"
    text += f" (the first: {place}: {first.what}{got})"
    return Said(printable(f"{text} ({first.action})" if first.action else text), len(group))


def _unit(issue: Issue) -> str:
    return "lines" if issue.file.suffix.lower() in _OF_LINES else "objects"


def _without_got(rule: str) -> str:
    return rule.split(", got ")[0]


def _blanked(rule: str) -> str:
    return _NUMBER.sub(lambda found: found[1] or "...", _without_got(rule))
