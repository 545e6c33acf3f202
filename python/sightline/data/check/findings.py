"""What a check finds: one line each, grouped by kind, also as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sightline._text import counted, printable

__all__ = ["KINDS", "SEVERITIES", "DatasetReport", "Finding", "found"]

SEVERITIES = ("error", "warning", "note")
_LISTED = 10  # findings of one kind, unless all are asked for

# Kind -> severity and what to do about it. Errors are what readers drop or refuse, and what makes a
# score untrue; warnings are what may be right, but seldom is; notes are good to know.
KINDS = {
    "inverted box": ("error", "exchange its corners, or remove it"),
    "empty box": ("error", "draw it again, or remove it"),
    "box outside its image": ("error", "correct it, or remove it"),
    "unknown class": ("error", "correct its class, or add the class to the list of classes"),
    "class number out of range": ("error", "correct the number, or add the class"),
    "unreadable label": ("error", "correct it, or remove it"),
    "unreadable label file": ("error", "correct the file, or remove it with its image"),
    "label without image": ("error", "add the image, or remove the label"),
    "missing label file": ("error", "add the label file, or remove the line"),
    "missing image": ("error", "add the image, or remove it from the labels"),
    "unreadable image": ("error", "replace it, or leave it out with its label"),
    "image of another size": ("error", "correct the size in the label file, or its image"),
    "unusable data": ("error", "correct it"),
    "same image in two splits": ("error", "remove one of them: the score would be too good"),
    "same image with two classes": ("error", "remove the wrong one"),
    "class not in training": ("error", "add images of it to train: it cannot be learned"),
    "duplicate box": ("warning", "remove one of them"),
    "box partly outside its image": ("warning", "move its corners into the image"),
    "tiny box": ("warning", "remove it, or train on larger images"),
    "similar class names": ("warning", "make them the same, if they are one class"),
    "image without label": ("warning", "add its label file, or remove the image"),
    "rotated image": ("warning", "make sure that the labels fit the image as shown"),
    "similar images in two splits": ("warning", "move them into one split"),
    "same image twice": ("warning", "remove one of them"),
    "split looks different": ("warning", "draw the splits at random from all images"),
    "nearly the same box": ("note", "remove one of them, if they are one object"),
    "image without label file": ("note", "make sure that it has no objects"),
    "rotation by EXIF": ("note", "no action is needed: it is applied on reading"),
    "class without labels": ("note", "remove it, or add labels"),
    "rare class": ("note", "add images of it, or join it with another class"),
    "images not compared": ("note", "check parts of the data set on their own"),
    "assumption": ("note", "make sure that it is right"),
}


@dataclass(frozen=True)
class Finding:
    """One finding: its kind and severity, its place, the rule that is broken, and the fix."""

    kind: str
    severity: str
    file: Path
    line: int | None
    what: str
    rule: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        what = f"{self.what}: " if self.what else ""
        return printable(f"{where}: {what}{self.rule}; {self.fix}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"file": str(self.file)}


def found(
    kind: str, file: Path, line: int | None, what: str, rule: str, *, fix: str | None = None
) -> Finding:
    """Return a finding of one of the `KINDS`, with the fix of its kind unless one is given."""
    severity, usual = KINDS[kind]
    return Finding(kind, severity, file, line, what, rule, fix or usual)


@dataclass(frozen=True, repr=False)
class DatasetReport:
    """What `check_dataset` found.

    `splits` has the number of images of each official split; None stands for those of no split.
    """

    path: Path
    format: str
    splits: dict[str | None, int]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        """One line, with the number of findings."""
        counts = self._counts().removeprefix("found").strip()
        return f"DatasetReport({str(self.path)!r}: {self.format}, {counts})"

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity: "error", "warning" or "note"."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.count("error")

    def of_kind(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]

    def lines(self, most: int | None = _LISTED) -> list[str]:
        """Return the report as text: for each kind a heading and at most `most` findings."""
        splits = ", ".join(f"{name or 'no split'} {n:,}" for name, n in self.splits.items())
        total = sum(self.splits.values())
        classes = f"{len(self.classes):,} class{'' if len(self.classes) == 1 else 'es'}"
        images = counted(total, "image")
        lines = [f"{self.path}: {self.format}, {images} ({splits}), {classes}"]
        for kind in KINDS:
            group = self.of_kind(kind)
            if group:
                lines.append(f"{group[0].severity:<8} {kind}: {len(group):,}")
                lines += [f"  {finding}" for finding in group[:most]]
                if most is not None and len(group) > most:
                    lines.append(f"  ... and {len(group) - most:,} more (--all lists them)")
        return [printable(line) for line in [*lines, self._counts()]]

    def _counts(self) -> str:
        counts = [(severity, self.count(severity)) for severity in SEVERITIES]
        said = [counted(n, severity) for severity, n in counts if n]
        return f"found    {', '.join(said) or 'nothing'}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "splits": {name or "none": count for name, count in self.splits.items()},
            "classes": list(self.classes),
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def sorted_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return each finding once, by kind, file and line."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    unique = dict.fromkeys(findings)
    return tuple(
        sorted(unique, key=lambda it: (order[it.kind], str(it.file), it.line or 0, it.what))
    )
