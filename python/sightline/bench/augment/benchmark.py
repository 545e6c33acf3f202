"""What is timed, and the goals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..outcome import OURS, Benchmark, Outcome, times_as_json
from ..text import block, verdicts
from .programs import BOXES, HEIGHT, IMAGES, WIDTH

RATE = "images/s"
PEERS = ("albumentations", "torchvision")


@dataclass(frozen=True)
class AugmentBenchmark(Benchmark):
    """One block of the table: `program` is the one of `programs.make`."""

    units: ClassVar = {RATE: RATE}

    name: str
    program: str
    goals: Mapping[str, float] = field(default_factory=dict)
    contenders: tuple[str, ...] = PEERS

    def text(self, outcome: Outcome) -> str:
        def columns(name: str) -> list[str]:
            parts = [f"{IMAGES / outcome.times[name].median:7,.0f} {RATE}"]
            if name != OURS:
                parts.append(f"{outcome.ratio(name):.2f}x")
            return parts

        title = f"{self.name}: {IMAGES} images of {WIDTH} x {HEIGHT} with {BOXES} boxes each"
        remarks = [*verdicts(outcome), *(["  noisy"] if outcome.noisy else [])]
        return block(outcome, title, columns, remarks)

    def measured(self, outcome: Outcome) -> dict[str, float]:
        return {RATE: IMAGES / outcome.ours.median}

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "program": self.program,
            "images": IMAGES,
            "size": [HEIGHT, WIDTH],
            "boxes": BOXES,
            "noisy": outcome.noisy,
            "times": times_as_json(outcome.times),
            "ratios": {name: outcome.ratio(name) for name in outcome.peers},
            "goals": outcome.reached_as_json(),
            "notes": outcome.notes,
        }


BENCHMARKS = (
    AugmentBenchmark(
        "flip, affine, colour, normalise", "affine", {RATE: 400, "albumentations": 2.4}
    ),
    # torchvision takes a minute for an image whose displacements are as smooth.
    AugmentBenchmark(
        "the same with elastic", "elastic", {RATE: 100}, contenders=("albumentations",)
    ),
)
