"""Runs benchmarks: first the check that results agree, then all contenders alternately."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic

from .outcome import ONE_THREAD, B, Outcome
from .threads import threads_of
from .timing import Sample, Times, take_turns


@dataclass
class Contest(Generic[B]):
    """Contenders whose results agree, each run once before, ready to be timed.

    Attributes:
        samples: by contender, in the order in which they are shown.
        one_thread: ours on one thread.
        passes: what no contender can avoid, and how many such passes make up the benchmark.
        once: times of contenders that are too slow to be run again.
    """

    outcome: Outcome[B]
    samples: dict[str, Sample] = field(default_factory=dict)
    one_thread: Sample | None = None
    passes: dict[str, tuple[Sample, float]] = field(default_factory=dict)
    once: dict[str, Times] = field(default_factory=dict)


# Sets up the contenders for a device and a number of threads. It raises ValueError if results
# differ. What it enters on the stack is closed after they were timed.
Prepare = Callable[[B, ExitStack, str, int], Contest[B]]


def run(
    prepare: Prepare[B],
    benchmarks: Iterable[B],
    *,
    device: str = "cpu",
    threads: int = 1,
    seconds: float = 1.0,
) -> Iterator[Outcome[B]]:
    """Yield an outcome per benchmark; with several threads, ours on one thread is timed as well.

    Args:
        device: cpu or cuda for tensors there, or `ARRAYS`.
        seconds: about how long each contender is sampled.

    Raises:
        ValueError: a contender computes something else, which would not be worth timing.
    """
    with threads_of(threads):
        for benchmark in benchmarks:
            with ExitStack() as stack:
                outcome = _measure(prepare(benchmark, stack, device, threads), seconds)
            yield outcome


def _measure(contest: Contest[B], seconds: float) -> Outcome[B]:
    samples = {**contest.samples, **{name: one for name, (one, _) in contest.passes.items()}}
    for name in contest.passes:
        samples[name](1)
    if contest.one_thread:
        samples[ONE_THREAD] = contest.one_thread
    rest = {name: sample for name, sample in samples.items() if name not in contest.once}
    taken = {**contest.once, **(take_turns(rest, seconds=seconds) if rest else {})}
    outcome = contest.outcome
    outcome.passes = {name: taken[name].scaled(many) for name, (_, many) in contest.passes.items()}
    outcome.times = {name: taken[name] for name in samples if name not in contest.passes}
    return outcome
