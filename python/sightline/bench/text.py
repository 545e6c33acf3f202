"""Times, sizes and goals as text."""

from .timing import Times


def held_to(value: float, goal: float, what: str, *, at_most: bool = False) -> str:
    met = value <= goal if at_most else value >= goal
    return f"  {'met' if met else 'missed'}: {value:.3g} {what}, goal {goal:.3g}"


def timed(times: Times) -> str:
    """The median and half the distance of the quartiles."""
    return f"{duration(times.median)} ±{times.spread:.0%}"


def duration(seconds: float) -> str:
    return _in_units(seconds, {"s": 1.0, "ms": 1e-3, "us": 1e-6})


def size(count: int) -> str:
    return _in_units(count, {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1})


def _in_units(value: float, scales: dict[str, float]) -> str:
    """In the largest unit of which there is one at least; the last where there is none."""
    unit = next((u for u, scale in scales.items() if value >= scale), list(scales)[-1])
    return f"{value / scales[unit]:.3g} {unit}"
