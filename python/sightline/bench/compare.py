"""Compares the figures of a run with those that `--json` wrote in an earlier one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from .text import duration

Summary = Mapping[str, Any]  # what `--json` writes for one device

# The keys of our time in a row: of an op, of COCO evaluation or batch norm, of a training step.
_OURS = (("ours",), ("times", "sightline"), ("times", "converted"))
ROWS, STEPS = "works", "resnet50"  # keys of the rows in JSON, as in every file so far
_SETTINGS = ("device", "inputs", "instruction set", "threads", "cores", "platform")


@dataclass(frozen=True)
class Change:
    name: str
    before: float  # seconds
    now: float
    noisy: bool

    @property
    def ratio(self) -> float:
        return self.now / self.before


@dataclass
class Comparison:
    """`tolerance`: the share by which a time may grow before it counts as slower."""

    tolerance: float
    changes: list[Change] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)  # that differ
    only_before: list[str] = field(default_factory=list)
    only_now: list[str] = field(default_factory=list)
    other_data: list[str] = field(default_factory=list)

    @property
    def slower(self) -> list[Change]:
        return [change for change in self.changes if change.ratio > 1 + self.tolerance]

    def text(self, path: Path) -> str:
        lines = [f"compared with {path}, {self.tolerance:.0%} more time is taken as no change"]
        if self.settings:
            lines.append("  not the same: " + "; ".join(self.settings))
        width = max((len(change.name) for change in self.changes), default=0)
        for change in self.changes:
            times = f"{duration(change.before):>8}, now {duration(change.now):>8}"
            word = "slower" if change in self.slower else ""
            word = "faster" if change.ratio < 1 / (1 + self.tolerance) else word
            parts = [f"  {change.name:<{width}}  {times}", f"{change.ratio:.2f}x the time", word]
            lines.append(" | ".join(filter(None, [*parts, "noisy" if change.noisy else ""])))
        for names, where in (
            (self.only_before, f"only in {path}"),
            (self.only_now, "only in this run"),
            (self.other_data, "on other data there"),
        ):
            if names:
                lines.append(f"  {where}: {'; '.join(names)}")
        lines.append(f"  {len(self.slower)} of {len(self.changes)} benchmarks became slower")
        return "\n".join(lines)


@dataclass(frozen=True)
class Repeats:
    """Comparisons of the same two programs, measured anew each time."""

    comparisons: Sequence[Comparison]

    @property
    def ratios(self) -> dict[str, list[float]]:
        """The new time over the old one, for each benchmark that every comparison has."""
        found: dict[str, list[float]] = {}
        for comparison in self.comparisons:
            for change in comparison.changes:
                found.setdefault(change.name, []).append(change.ratio)
        return {name: own for name, own in found.items() if len(own) == len(self.comparisons)}

    @property
    def speed(self) -> float:
        """The old time over the new one: the geometric mean over benchmarks and repeats."""
        return 1 / geometric_mean(ratio for own in self.ratios.values() for ratio in own)

    @property
    def slower(self) -> dict[str, list[float]]:
        """The ratios of benchmarks that are slower in every repeat."""
        most = 1 + self.comparisons[0].tolerance
        return {name: own for name, own in self.ratios.items() if min(own) > most}

    def text(self) -> str:
        lines = [
            f"{len(self.ratios)} benchmarks, {len(self.comparisons)} repeats: "
            f"{self.speed:.3f} times as fast as before (geometric mean)"
        ]
        for name, own in self.slower.items():
            times = ", ".join(f"{ratio:.2f}x" for ratio in own)
            lines.append(f"  slower in every repeat: {name}, {times} the time")
        one_sided = {
            name
            for comparison in self.comparisons
            for names in (comparison.only_before, comparison.only_now, comparison.other_data)
            for name in names
        }
        lines += [f"  not on both sides: {name}" for name in sorted(one_sided)]
        return "\n".join(lines)


def load(path: Path) -> list[Summary]:
    """The figures in a file that `--json` wrote.

    Raises:
        ValueError: the file is not one of these.
        OSError: it cannot be read.
    """
    wrong = ValueError(f"{path} holds no figures that `sightline bench --json` wrote")
    try:
        found = json.loads(path.read_text())
        summaries = found if isinstance(found, list) else [found]
        for summary in summaries:
            _ = [summary[name] for name in ("device", "threads", "versions")]
            _ = [_seconds(row) for row in _rows(summary).values()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise wrong from error
    if not any(map(_rows, summaries)):
        raise wrong
    return summaries


def compare(before: list[Summary], now: list[Summary], tolerance: float) -> Comparison:
    """Compare benchmarks of the same name on the same kind of device, CPU or CUDA.

    Raises ValueError if the two runs have none in common.
    """
    found = Comparison(tolerance)
    earlier = {_is_cuda(summary): summary for summary in before}
    for summary in now:
        old = earlier.pop(_is_cuda(summary), None)
        if old is not None:
            found.settings += _differences(old, summary)
        old_rows, rows = _rows(old) if old else {}, _rows(summary)
        found.only_before += [name for name in old_rows if name not in rows]
        for name, row in rows.items():
            was, is_now = _seconds(old_rows.get(name, {})), _seconds(row)
            if was is None or is_now is None:
                (found.only_now if was is None else found.only_before).append(name)
            elif old_rows[name].get("data") != row.get("data"):
                found.other_data.append(name)
            else:
                noisy = bool(row.get("noisy") or old_rows[name].get("noisy"))
                found.changes.append(Change(name, was, is_now, noisy))
    found.only_before += [name for summary in earlier.values() for name in _rows(summary)]
    if not found.changes:
        raise ValueError("the earlier figures have no benchmark in common with this run")
    return found


def _is_cuda(summary: Summary) -> bool:
    return "capability" in summary


def _rows(summary: Summary) -> dict[str, Mapping[str, Any]]:
    return {row["name"]: row for key in (ROWS, STEPS) for row in summary.get(key, ())}


def _seconds(row: Mapping[str, Any]) -> float | None:
    """Our median; None if it was not timed."""
    for keys in _OURS:
        value: Any = row
        for key in keys:
            value = value.get(key, {})
        if value:
            return float(value["median"])
    return None


def _differences(old: Summary, new: Summary) -> Iterator[str]:
    for name in _SETTINGS:
        if old.get(name) is not None and old[name] != new.get(name):
            yield f"{name} {old[name]}, now {new.get(name)}"
    versions = {**old["versions"], **new["versions"]}
    for name in versions:
        was, is_now = (summary["versions"].get(name, "missing") for summary in (old, new))
        if was != is_now:
            yield f"{name} {was}, now {is_now}"
