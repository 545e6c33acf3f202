"""Outcomes, times and sizes as text."""

from collections.abc import Callable, Iterable, Sequence

from .outcome import Outcome
from .timing import Times


def line(outcome: Outcome) -> str:
    """Time, bytes and rate, the share of the limit, and how many times as long each peer takes."""
    ours = outcome.ours
    rate = 1e-9 * outcome.size / ours.median
    parts = [f"{timed(ours):>17}", f"{size(outcome.size):>8} {rate:6.2f} GB/s"]
    if outcome.limit:
        name, times = outcome.limit
        share = f"{outcome.share(name):.0%} of {name} ({timed(times)})"
        if goal := outcome.goals.get("limit"):
            share += f", goal {1 / goal:.0%}"
        parts.append(share)
    for name, times in outcome.peers.items():
        goal = outcome.goals.get(name)
        wanted = f", goal {goal:g}" if goal else ""
        parts.append(f"{name} {outcome.ratio(name):.3g}x ({timed(times)}){wanted}")
    if outcome.one_thread:
        gain = outcome.one_thread.median / ours.median
        parts.append(f"{gain:.2f}x of one thread ({timed(outcome.one_thread)})")
    if outcome.noisy:
        parts.append("noisy")
    return f"{outcome.benchmark.name:<34}" + " | ".join(parts)


def block(
    outcome: Outcome,
    title: str,
    columns: Callable[[str], Sequence[str]],
    remarks: Sequence[str] = (),
    *,
    width: int = 15,
) -> str:
    """A title, one line per contender with its time, columns and note, and the remarks."""
    lines = [title]
    for name, times in outcome.times.items():
        note = [outcome.notes[name]] if name in outcome.notes else []
        lines.append(" | ".join([row(name, timed(times), width), *columns(name), *note]))
    absent = [name for name in outcome.notes if name not in outcome.times]
    lines += [f"{row(name, '-', width)} | {outcome.notes[name]}" for name in absent]
    return "\n".join([*lines, *remarks])


def row(name: str, cell: str, width: int) -> str:
    return f"  {name:<24}{cell:>{width}}"


def verdicts(outcome: Outcome) -> list[str]:
    """One line per goal, which says whether it is met."""
    lines = []
    for name, (value, goal) in outcome.reached().items():
        met = value <= goal if name in outcome.benchmark.at_most else value >= goal
        what = f"{value:.3g} {outcome.benchmark.unit(name)}"
        lines.append(f"  {'met' if met else 'missed'}: {what}, goal {goal:.3g}")
    return lines


def summary(outcomes: Iterable[Outcome]) -> str:
    """One line per goal: how many benchmarks meet it, and the range of values."""
    reached: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        for name, (value, goal) in outcome.reached().items():
            what = f"{goal:.3g} {outcome.benchmark.unit(name)}"
            reached.setdefault(what, []).append((value, goal))
    return "\n".join(
        f"goal {what}: {sum(value >= goal for value, goal in pairs)} of {len(pairs)} benchmarks, "
        f"from {min(v for v, _ in pairs):.3g} to {max(v for v, _ in pairs):.3g}"
        for what, pairs in reached.items()
    )


def timed(times: Times) -> str:
    """The median and half the interquartile range."""
    return f"{duration(times.median)} ±{times.spread:.0%}"


def duration(seconds: float) -> str:
    return _in_units(seconds, {"s": 1.0, "ms": 1e-3, "us": 1e-6})


def size(count: int) -> str:
    return _in_units(count, {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1})


def _in_units(value: float, scales: dict[str, float]) -> str:
    """The value in the largest unit that does not exceed it; otherwise in the last."""
    unit = next((u for u, scale in scales.items() if value >= scale), list(scales)[-1])
    return f"{value / scales[unit]:.3g} {unit}"
