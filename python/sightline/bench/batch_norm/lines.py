"""Outcomes as text: one block per work, one line per contender."""

from collections.abc import Iterable

from ..text import held_to, size, timed
from .contenders import OURS
from .goals import KEPT, LIMIT, THREADS
from .run import COPY, NEAR_COPY, NEW_COPY, ONE_THREAD, Outcome

_UNITS = {LIMIT: "of a streaming copy", THREADS: "times one thread", KEPT: "times less kept"}


def block(outcome: Outcome) -> str:
    work = outcome.work
    lines = [f"{work.name}: {size(outcome.least_bytes)} at least ({_passes(outcome)})"]
    for name, times in outcome.times.items():
        parts = [f"  {name:<24}{timed(times):>15}"]
        parts.append(f"{1e-9 * outcome.least_bytes / times.median:6.1f} GB/s")
        parts.append(f"{outcome.share(name, COPY):4.0%} of {COPY}")
        if name == OURS:
            parts.append(f"{outcome.share(name, NEAR_COPY):.0%} of a {NEAR_COPY}")
            if NEW_COPY in outcome.copies:
                share = outcome.share(name, NEW_COPY)
                parts.append(f"{share:.0%} of {work.results} {NEW_COPY}")
        else:
            parts.append(f"{outcome.ratio(name):.2f}x")
        if name == ONE_THREAD and outcome.copy_gain:
            parts.append(f"a {COPY} {outcome.copy_gain:.2f}x")
        if name in outcome.kept:
            parts.append(f"keeps {size(outcome.kept[name])}")
        if name in outcome.peaks:
            parts.append(f"peak {size(outcome.peaks[name])}")
        lines.append(" | ".join(parts))
    lines += [f"  {name:<24}{'-':>15} | {note}" for name, note in outcome.notes.items()]
    for name, (value, goal) in outcome.reached().items():
        lines.append(held_to(value, goal, _what(name)))
    if outcome.noisy:
        lines.append("  noisy")
    return "\n".join(lines)


def _passes(outcome: Outcome) -> str:
    """How often the bytes of x, E, move: by the way that counts here, then by the other."""
    on_chip, streaming = (outcome.work.passes(on_chip=fits) for fits in (True, False))
    if on_chip == streaming:
        return f"{on_chip}E"
    ways = [f"{on_chip}E on chip", f"{streaming}E streaming"]
    return "; ".join(ways if outcome.on_chip else ways[::-1])


def _what(name: str) -> str:
    return _UNITS.get(name, f"times as fast as {name}")


def summary(outcomes: Iterable[Outcome]) -> str:
    """One line per goal: how many benchmarks meet it, and the range."""
    reached: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        for name, (value, goal) in outcome.reached().items():
            reached.setdefault(f"{goal:.3g} {_what(name)}", []).append((value, goal))
    return "\n".join(
        f"goal {what}: {sum(value >= goal for value, goal in pairs)} of {len(pairs)} benchmarks, "
        f"from {min(v for v, _ in pairs):.3g} to {max(v for v, _ in pairs):.3g}"
        for what, pairs in reached.items()
    )
