"""Outcomes as lines of text."""

from typing import Any

from sightline._console import say

from . import machine
from .run import Outcome
from .threads import threads_of
from .timing import Times


def announce(device: str, threads: int) -> dict[str, Any]:
    """Print what the figures are taken on, and give it as JSON has it."""
    with threads_of(threads):
        found = {
            **machine.describe(device, threads),
            "bandwidths in GB/s": machine.bandwidths(device),
        }
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in found["bandwidths in GB/s"].items())
    say(
        f"{found['device']}, {found['instruction set']}, {threads} of {found['cores']} threads; "
        f"{versions}\nGB/s: {rates}"
    )
    if device == "cuda":
        found["seconds of an empty launch"] = machine.launch_floor()
        say(f"an empty launch: {duration(found['seconds of an empty launch'])}")
    return found


def line(outcome: Outcome) -> str:
    """Time, bytes and bandwidth, the share of the limit, and how many times slower each peer is."""
    ours = outcome.ours
    rate = 1e-9 * outcome.moved / ours.median
    parts = [f"{timed(ours):>17}", f"{size(outcome.moved):>8} {rate:6.2f} GB/s"]
    if outcome.limit:
        name, times = outcome.limit
        share = f"{times.median / ours.median:.0%} of {name} ({timed(times)})"
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
    return f"{outcome.work.name:<34}" + " | ".join(parts)


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
