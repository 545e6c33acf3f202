"""What is timed: a program's name, its inputs, and the limit and the goals it is held to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .inputs import Arrays


@dataclass(frozen=True, eq=False)
class Work:
    """One row of the table.

    `program` is the function of that name in each contender's file; it takes `inputs()` in order.
    `limit` names a function of limits.py, or is None. Results of contenders differ by at most
    `tolerance`, 0 for the same bits. `goals` are ratios on the CPU, peer's time over ours, and
    `cuda_goals` those on CUDA. `no_sync`: on CUDA ours must not wait for the device. `long`:
    `--quick` leaves it out. `without` names contenders that have the program but would take
    minutes. `shape`: of a work that `boxes.of_shape` makes, so that a worker can make it again.
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
        """Whether the last input is room for the result."""
        return self.program.endswith("_out")

    def goals_on(self, device: str) -> Mapping[str, float]:
        return self.cuda_goals if device == "cuda" else self.goals
