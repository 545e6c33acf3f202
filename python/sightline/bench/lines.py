"""Outcomes as lines of text."""

from typing import Any

from sightline._console import say

from . import machine
from .run import Outcome
from .text import duration, size, timed
from .threads import threads_of


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
        f"{found['device']}, {found['instruction set']}, {threads} of {found['cores']} threads, "
        f"{found['inputs']}; {versions}\nGB/s: {rates}"
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
