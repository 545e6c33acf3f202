"""What is timed: a shape, what is computed from it, and the bytes that this must move."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, ClassVar

import torch

from ..outcome import LIMIT, ONE_THREAD, OURS, THREADS, Benchmark, Outcome, times_as_json
from ..text import block, size, verdicts

# Channels and sides: ResNet-50 at 224 pixels, and the three levels of a detector's neck at 640.
SHAPES = {
    "resnet50": (
        (64, 112, 112),
        (64, 56, 56),
        (256, 56, 56),
        (128, 28, 28),
        (512, 28, 28),
        (256, 14, 14),
        (1024, 14, 14),
        (512, 7, 7),
        (2048, 7, 7),
    ),
    "neck": ((128, 80, 80), (256, 40, 40), (512, 20, 20)),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ACTIVATIONS = ("relu", "silu", "leaky_relu", "none")
SAVES = ("input", "output")
# step: training, forward and backward; forward: only the forward pass of that; evaluation: running
# statistics, without gradients; frozen: running statistics, forward and backward for x alone.
PROGRAMS = ("step", "forward", "evaluation", "frozen")
# Contenders, and a goal: by which factor eager torch keeps more than ours for the backward pass.
EAGER, COMPILE, KEPT = "eager", "torch.compile", "kept"
# Passes over memory; the first is the limit.
COPY, NEAR_COPY, NEW_COPY = "streaming copy", "copy of that footprint", "copies into new memory"
COPY_ALONE = "streaming copy on one thread"
_QUICK = ((512, 28, 28), (512, 20, 20))
_BACK_AND_FORTH = ("step", "frozen")


@dataclass(frozen=True)
class LayerBenchmark(Benchmark):
    """One block of the table. `shape` is batch, channels, height, width."""

    units: ClassVar = {LIMIT: f"of a {COPY}", THREADS: "times one thread", KEPT: "times less kept"}

    shape: tuple[int, int, int, int]
    layout: str = "contiguous"
    activation: str = "relu"
    residual: bool = False
    dtype: str = "float32"
    program: str = "step"
    save: str = "input"

    @property
    def name(self) -> str:  # type: ignore[override]
        """Without commas, so that any part can be given to --only."""
        parts = ["bn", "add"] if self.residual else ["bn"]
        parts += [self.activation] if self.activation != "none" else []
        saved = " save=output" if self.save == "output" else ""
        sides = "x".join(map(str, self.shape))
        return f"{' + '.join(parts)}{saved} {self.program} {sides} {self.layout} {self.dtype}"

    @property
    def has_backward(self) -> bool:
        return self.program in _BACK_AND_FORTH

    @property
    def size(self) -> int:
        """Bytes of x: E."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def tensors(self) -> int:
        """How many tensors of the size of x are read or written."""
        one_way = 3 if self.residual else 2
        return one_way * (2 if self.has_backward else 1)

    @property
    def results(self) -> int:
        """How many tensors of the size of x are allocated."""
        if not self.has_backward:
            return 1
        return 3 if self.residual and self.activation != "none" else 2

    @property
    def kinked(self) -> bool:
        return self.activation in ("relu", "leaky_relu")

    @property
    def bits(self) -> int:
        """Bytes of one bit per element: which side of the kink a sum with a residual lies on."""
        marked = self.program in ("step", "forward") and self.residual and self.kinked
        return -(-prod(self.shape) // 8) if marked else 0

    @property
    def backward_passes(self) -> int:
        """The incoming gradient read, that of x written, and what the derivative needs.

        The derivative needs x; with constant statistics it needs the sign of y for a kinked
        activation and nothing without one. SiLU is computed again, which needs the residual, too.
        The gradient of the residual is written unless it is the incoming gradient itself.
        """
        located = self.program == "step" or self.activation != "none"
        if not self.residual:
            return 2 + located
        return 2 + located + (self.activation != "none") + (self.activation == "silu")

    def passes(self, *, on_chip: bool) -> int:
        """How often E bytes move. Inputs of statistics and sums are read twice unless on chip."""
        forward = 3 if self.residual else 2
        found = forward + (self.backward_passes if self.has_backward else 0)
        if on_chip or self.program in ("evaluation", "frozen"):
            return found
        return found + (3 if self.program == "step" else 1)

    def least_bytes(self, *, on_chip: bool) -> int:
        marks = self.bits * (2 if self.has_backward else 1)
        return self.passes(on_chip=on_chip) * self.size + marks

    def slab(self, line: int) -> int:
        """Bytes to keep between two reads: a channel, or the cache lines that channels share."""
        positions = self.shape[0] * self.shape[2] * self.shape[3]
        width = DTYPES[self.dtype].itemsize if self.layout == "contiguous" else line
        return positions * width * (2 if self.program == "step" else 1)

    def text(self, outcome: Outcome) -> str:
        def columns(name: str) -> list[str]:
            parts = [f"{1e-9 * outcome.size / outcome.times[name].median:6.1f} GB/s"]
            parts.append(f"{outcome.share(COPY, name):4.0%} of {COPY}")
            if name == OURS:
                parts.append(f"{outcome.share(NEAR_COPY):.0%} of a {NEAR_COPY}")
                if NEW_COPY in outcome.passes:
                    parts.append(f"{outcome.share(NEW_COPY):.0%} of {self.results} {NEW_COPY}")
            else:
                parts.append(f"{outcome.ratio(name):.2f}x")
            if name == ONE_THREAD and COPY_ALONE in outcome.passes:
                parts.append(f"a {COPY} {copy_gain(outcome):.2f}x")
            if name in outcome.kept:
                parts.append(f"keeps {size(outcome.kept[name])}")
            if name in outcome.peaks:
                parts.append(f"peak {size(outcome.peaks[name])}")
            return parts

        ways = [f"{self.passes(on_chip=True)}E on chip", f"{self.passes(on_chip=False)}E streaming"]
        if self.passes(on_chip=True) == self.passes(on_chip=False):
            ways = [f"{self.passes(on_chip=True)}E"]
        moved = "; ".join(ways if outcome.on_chip else ways[::-1])
        title = f"{self.name}: {size(outcome.size)} at least ({moved})"
        remarks = [*verdicts(outcome), *(["  noisy"] if outcome.noisy else [])]
        return block(outcome, title, columns, remarks)

    def measured(self, outcome: Outcome) -> dict[str, float]:
        found = {LIMIT: outcome.share(COPY)}
        if {OURS, EAGER} <= set(outcome.kept):
            # Vectors of one number per channel do not count: 1 % at 2048x7x7.
            found[KEPT] = round(outcome.kept[EAGER] / outcome.kept[OURS], 1)
        return found

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        return {
            **vars(self),
            "least bytes": outcome.size,
            "passes": self.passes(on_chip=outcome.on_chip),
            "on chip": outcome.on_chip,
            "noisy": outcome.noisy,
            "times": times_as_json(outcome.times),
            "ratios": {name: outcome.ratio(name) for name in outcome.times if name != OURS},
            "copies": times_as_json(outcome.passes),
            "fractions": {name: outcome.share(name) for name in outcome.passes},
            "kept bytes": outcome.kept,
            "peak bytes": outcome.peaks,
            "goals": outcome.reached_as_json(),
            "notes": outcome.notes,
        }


def copy_gain(outcome: Outcome) -> float:
    """The gain of a streaming copy from more threads: one thread may saturate the memory."""
    return outcome.passes[COPY_ALONE].median / outcome.passes[COPY].median


def selection(device: str, *, quick: bool = False) -> list[LayerBenchmark]:
    """What is timed by default."""
    resnet50, neck = SHAPES["resnet50"], SHAPES["neck"]
    ends = [resnet50[i] for i in (0, 2, 4)]
    half = "bfloat16"
    if device == "cuda":
        # 256 images are more than 200 MB, where the copy bandwidth is the limit.
        plain = {16: resnet50, 32: resnet50, 256: ends[:2]}
        added = {32: ends, 256: ends[:2]}
        benchmarks = [
            LayerBenchmark((batch, *s), "channels_last", "relu", residual, dtype)
            for dtype in ("float16", "bfloat16")
            for residual, batches in ((False, plain), (True, added))
            for batch, own in batches.items()
            for s in own
        ]
        benchmarks += [LayerBenchmark((32, *s), "channels_last", "silu", dtype=half) for s in neck]
        benchmarks += [LayerBenchmark((32, *s)) for s in ends]
    else:
        benchmarks = [LayerBenchmark((16, *s), layout) for layout in LAYOUTS for s in resnet50]
        benchmarks += [LayerBenchmark((32, *s), layout) for layout in LAYOUTS for s in ends]
        benchmarks += [
            LayerBenchmark((16, *s), layout, residual=True)
            for layout in LAYOUTS
            for s in (*ends, (1024, 14, 14), (2048, 7, 7))
        ]
        benchmarks += [LayerBenchmark((16, *s), layout, "silu") for layout in LAYOUTS for s in neck]
        benchmarks += [
            LayerBenchmark((16, 512, 28, 28), dtype=dtype) for dtype in ("bfloat16", "float16")
        ]
    one = LayerBenchmark(
        (16, 512, 28, 28), "channels_last", dtype=half if device == "cuda" else "float32"
    )
    benchmarks += [
        replace(one, shape=(16, 512, 20, 20), activation="silu", residual=True),
        replace(one, layout="contiguous", activation="leaky_relu", save="output"),
        *(replace(one, program=program) for program in ("forward", "evaluation", "frozen")),
    ]
    return [
        one for one in benchmarks if not quick or (one.shape[0] == 16 and one.shape[1:] in _QUICK)
    ]


def combinations(
    batches: Sequence[int],
    shapes: Iterable[tuple[int, int, int]],
    layouts: Sequence[str],
    activations: Sequence[str],
    residual: bool,
    dtypes: Sequence[str],
    programs: Sequence[str],
    save: str,
) -> list[LayerBenchmark]:
    """Every combination of what is given."""
    return [
        LayerBenchmark((batch, *shape), layout, activation, residual, dtype, program, save)
        for program, dtype, activation, layout, batch, shape in product(
            programs, dtypes, activations, layouts, batches, tuple(shapes)
        )
    ]
