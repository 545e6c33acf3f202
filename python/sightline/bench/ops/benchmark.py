"""What is timed: the name of a program, its inputs, its limit and its goals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..outcome import ONE_THREAD, Benchmark, Outcome, times_as_json
from ..text import line
from .inputs import Arrays


@dataclass(frozen=True, eq=False)
class OpBenchmark(Benchmark):
    """One row of the table.

    `program` is the name of a function in the contenders' files, which takes `inputs()` in order.
    `limit` names a function of limits.py, or is None. Results of contenders may differ by
    `tolerance`; 0 requires the same bits. `goals` are ratios on the CPU, a peer's time to ours, and
    `cuda_goals` those on CUDA. With `no_sync`, ours must not wait for the device on CUDA. `--quick`
    leaves out what is `long`. `without` names contenders that have the program but would take
    minutes. `shape` is that of `boxes.of_shape`, if it made this, so that a worker can repeat it.
    """

    name: str
    program: str
    inputs: Callable[[], Arrays]
    limit: str | None = None
    tolerance: float = 0.0
    goals: Mapping[str, float] = field(default_factory=dict)
    cuda_goals: Mapping[str, float] = field(default_factory=dict)
    no_sync: bool = False
    long: bool = False
    without: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def writes_out(self) -> bool:
        """Whether the last input is the memory for the result."""
        return self.program.endswith("_out")

    def goals_on(self, device: str) -> Mapping[str, float]:
        return self.cuda_goals if device == "cuda" else self.goals

    def text(self, outcome: Outcome) -> str:
        return line(outcome)

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        def beside(name: str) -> dict[str, Any]:
            return {**outcome.times[name].as_json(), "ratio": outcome.ratio(name)}

        found: dict[str, Any] = {
            "noisy": outcome.noisy,
            "bytes": outcome.size,
            "ours": outcome.ours.as_json(),
            "peers": {name: beside(name) for name in outcome.peers},
            "goals": dict(outcome.goals),
            "passes": times_as_json(outcome.passes),
        }
        if outcome.limit:
            name, _ = outcome.limit
            found["limit"] = {"name": name, "fraction": outcome.share(name)}
        if outcome.one_thread:
            found["one thread"] = beside(ONE_THREAD)
        return found
