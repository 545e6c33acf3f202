"""Outcomes as text: one block per work, one line per contender."""

from ..text import held_to, size, timed
from .run import OURS, Outcome

_UNITS = {"fastest": "of the fastest peer", "memory": "of the leanest peer's memory"}
_UNITS |= {"threads": "of one thread", "limit": "times the limit", "seconds": "s"}
_AT_MOST = ("limit", "seconds")


def block(outcome: Outcome) -> str:
    recipe = outcome.work.recipe
    images = outcome.work.images or recipe.images
    lines = [
        f"{outcome.work.name}: {images:,} images, {recipe.detections:,} detections"
        + (f" of {recipe.images:,} images" if outcome.work.images else "")
        + f", {size(outcome.size)} of json"
    ]
    for name, times in outcome.times.items():
        parts = [f"  {name:<24}{timed(times):>16}"]
        if name != OURS and OURS in outcome.times:
            parts.append(f"{outcome.ratio(name):.3g}x")
        if name in outcome.peaks:
            parts.append(size(outcome.peaks[name]))
        if name in outcome.notes:
            parts.append(outcome.notes[name])
        lines.append(" | ".join(parts))
    for name, note in outcome.notes.items():
        if name not in outcome.times:
            lines.append(f"  {name:<24}{'-':>16} | {note}")
    if outcome.limit:
        lines.append(f"  {'the limit':<24}{timed(outcome.limit):>16}")
    if outcome.held_to:
        lines.append("  same bits as " + ", ".join(outcome.held_to))
    for name, (value, goal) in outcome.reached().items():
        what = _UNITS.get(name, f"of {name}")
        lines.append(held_to(value, goal, what, at_most=name in _AT_MOST))
    return "\n".join(lines)
