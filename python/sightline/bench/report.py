"""Prints the machine on which figures are taken, and the outcomes as they come."""

from collections.abc import Iterable
from typing import Any

from sightline._console import say

from . import machine
from .compare import ROWS
from .outcome import B, Benchmark, Outcome
from .run import Prepare, run
from .text import duration
from .threads import threads_of


def announce(device: str, threads: int) -> dict[str, Any]:
    """Print the machine, versions and bandwidths, and return them for JSON."""
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


def list_names(benchmarks: Iterable[Benchmark]) -> None:
    """Print the names, which --only takes."""
    for benchmark in benchmarks:
        say(benchmark.name)


def show(prepare: Prepare[B], benchmarks: Iterable[B], **settings: Any) -> list[Outcome[B]]:
    """Run benchmarks with the settings of `run`, and print each outcome as soon as it is there."""
    outcomes = []
    for outcome in run(prepare, benchmarks, **settings):
        say(outcome.benchmark.text(outcome))
        outcomes.append(outcome)
    return outcomes


def as_json(found: dict[str, Any], outcomes: Iterable[Outcome], key: str = ROWS) -> dict[str, Any]:
    """What `announce` returned, with a row per outcome."""
    return {**found, key: [outcome.as_json() for outcome in outcomes]}
