"""Times of contenders that take turns, so that other load on the machine affects all alike."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Sample = Callable[[int], float]  # takes the number of calls, returns seconds for all

_SHORTEST_SAMPLE = 2e-3  # seconds; in less, the clock and the loop around the calls would matter
_MOST_ROUNDS = 25
_FEWEST_ROUNDS = 3
_DRIFT = 1.1  # between the halves of a run, above which its figures are "noisy"
_SPREAD = 0.25  # likewise


@dataclass(frozen=True)
class Times:
    """Seconds of one call, in the order in which they were taken."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def lowest(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Half the interquartile range over the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    @property
    def drift(self) -> float:
        """The ratio, at least 1, of the medians of the first and the second half."""
        half = len(self.seconds) // 2
        first, second = (statistics.median(p) for p in (self.seconds[:half], self.seconds[half:]))
        return max(first, second) / min(first, second)

    def scaled(self, count: float) -> "Times":
        """The times of `count` calls."""
        return Times([count * seconds for seconds in self.seconds])

    def as_json(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "lowest": self.lowest,
            "spread": self.spread,
            "samples": len(self.seconds),
        }


def unsteady(limit: Times, ours: Times) -> bool:
    """Whether the machine was too busy for the figures to be trusted."""
    return limit.drift > _DRIFT or max(limit.spread, ours.spread) > _SPREAD


def sample(run: Callable[[], object], calls: int, device: str = "cpu") -> float:
    """Seconds that `calls` calls take, one after another."""
    if device == "cuda":
        return _sample_cuda(run, calls)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


def _sample_cuda(run: Callable[[], object], calls: int) -> float:
    """The same by events on the stream, which include the pauses of the host between launches."""
    import torch  # not at the top: a worker need not have it

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def sampler(run: Callable[[], object], device: str = "cpu") -> Sample:
    return lambda calls: sample(run, calls, device)


def take_turns(contenders: dict[str, Sample], *, seconds: float) -> dict[str, Times]:
    """Times of each contender, for about `seconds` each but with at least three samples.

    Every contender has been run once before. A slow one sits out rounds at even intervals.
    """
    calls, rounds = {}, {}
    for name, sample in contenders.items():
        once = max(sample(1), 1e-7)
        calls[name] = max(1, round(_SHORTEST_SAMPLE / once))
        # A first call may be slow, so the number of calls is corrected.
        once = sample(calls[name]) / calls[name]
        calls[name] = max(1, round(_SHORTEST_SAMPLE / once))
        wanted = seconds / (calls[name] * once)
        rounds[name] = int(min(max(wanted, _FEWEST_ROUNDS), _MOST_ROUNDS))
    most = max(rounds.values())
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(most):
            for name, sample in contenders.items():
                if (turn + 1) * rounds[name] // most > len(taken[name]):
                    taken[name].append(sample(calls[name]) / calls[name])
    finally:
        if collecting:
            gc.enable()
    return {name: Times(values) for name, values in taken.items()}
