"""What a benchmark is, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from .timing import Times, unsteady

OURS, ONE_THREAD = "sightline", "one thread"
# Goals that do not name a peer: the gain of all threads over one, and the limit.
THREADS, LIMIT = "threads", "limit"


class Benchmark:
    """What is timed, under a unique name. Each subject has its own class, which also says how an
    outcome is shown: `text` is a line, or a block with one line per contender."""

    name: str
    units: ClassVar[Mapping[str, str]] = {}  # of goals that do not name a peer
    peer_unit: ClassVar[str] = "times as fast as {}"
    at_most: ClassVar[tuple[str, ...]] = ()  # goals that are not to be exceeded

    def text(self, outcome: Any) -> str:
        raise NotImplementedError

    def figures(self, outcome: Any) -> dict[str, Any]:
        """The figures that `--json` writes after the name."""
        raise NotImplementedError

    def measured(self, outcome: Any) -> dict[str, float]:
        """The values, other than ratios of contenders, that goals refer to."""
        return {}

    def unit(self, goal: str) -> str:
        return self.units.get(goal) or self.peer_unit.format(goal)


B = TypeVar("B", bound=Benchmark)


@dataclass
class Outcome(Generic[B]):
    """The figures of one benchmark, by contender.

    Attributes:
        times: of one call of each contender, ours under `own_name`, and of ours on one thread.
        passes: times of what no contender can avoid, such as a pass over memory. The limit is the
            pass `limit_name`, or the fastest if that is None.
        goals: values that ours should reach.
        size: bytes that must be moved at least, or the size of the files that are read.
        kept, peaks: bytes that a contender keeps for the backward pass, and its peak memory.
        parts: seconds of the part of a contender's time that the benchmark is about.
        notes: why a contender has no time, or how its results differ.
        same_bits: the contenders whose arrays equal ours bit for bit.
        on_chip: whether data that is read twice fits in the caches.
    """

    benchmark: B
    times: dict[str, Times] = field(default_factory=dict)
    passes: dict[str, Times] = field(default_factory=dict)
    goals: Mapping[str, float] = field(default_factory=dict)
    size: int = 0
    limit_name: str | None = None
    own_name: str = OURS
    kept: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    same_bits: list[str] = field(default_factory=list)
    on_chip: bool = False

    @property
    def ours(self) -> Times:
        return self.times[self.own_name]

    @property
    def peers(self) -> dict[str, Times]:
        own = (self.own_name, ONE_THREAD)
        return {name: times for name, times in self.times.items() if name not in own}

    @property
    def one_thread(self) -> Times | None:
        return self.times.get(ONE_THREAD)

    @property
    def limit(self) -> tuple[str, Times] | None:
        if self.limit_name:
            return self.limit_name, self.passes[self.limit_name]
        return min(self.passes.items(), key=lambda item: item[1].median, default=None)

    @property
    def noisy(self) -> bool:
        return unsteady(self.limit[1] if self.limit else self.ours, self.ours)

    def ratio(self, name: str) -> float:
        """How many times as long as ours a contender takes."""
        return self.times[name].median / self.ours.median

    def share(self, pass_name: str, name: str | None = None) -> float:
        """The share of the speed of a pass that a contender reaches, by default ours."""
        times = self.times[name] if name else self.ours
        return self.passes[pass_name].median / times.median

    def reached(self) -> dict[str, tuple[float, float]]:
        """The value reached and the goal, for each goal that was measured."""
        found = {}
        if self.own_name in self.times:
            found = {name: self.ratio(name) for name in self.times if name != self.own_name}
            if self.one_thread:
                found[THREADS] = self.ratio(ONE_THREAD)
        found |= self.benchmark.measured(self)
        return {name: (found[name], goal) for name, goal in self.goals.items() if name in found}

    def as_json(self) -> dict[str, Any]:
        return {"name": self.benchmark.name, **self.benchmark.figures(self)}

    def reached_as_json(self) -> dict[str, dict[str, float]]:
        reached = self.reached().items()
        return {name: {"reached": value, "goal": goal} for name, (value, goal) in reached}


def times_as_json(times: Mapping[str, Times]) -> dict[str, dict[str, Any]]:
    return {name: own.as_json() for name, own in times.items()}
