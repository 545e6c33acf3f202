"""What is timed: a shape, what is computed of it, and the bytes that this must move."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch

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
# step: training, forward and backward; forward: the first half of that; evaluation: by running
# statistics, without gradients; frozen: likewise, but forward and backward, by x alone.
PROGRAMS = ("step", "forward", "evaluation", "frozen")
_QUICK = ((512, 28, 28), (512, 20, 20))
_BACK_AND_FORTH = ("step", "frozen")


@dataclass(frozen=True)
class Work:
    """One block of the table. `shape` is batch, channels, height, width."""

    shape: tuple[int, int, int, int]
    layout: str = "contiguous"
    activation: str = "relu"
    residual: bool = False
    dtype: str = "float32"
    program: str = "step"
    save: str = "input"

    @property
    def name(self) -> str:
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
        """How many of the size of x take part."""
        one_way = 3 if self.residual else 2
        return one_way * (2 if self.has_backward else 1)

    @property
    def results(self) -> int:
        """How many of the size of x are new."""
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
        """The gradient read, its successor written, and what the derivative asks for.

        That is x; for a kink by constant statistics the sign of y instead, for no activation
        nothing; and the residual, where SiLU has to be computed again. A residual's own gradient
        is written, but where no activation makes it another.
        """
        located = self.program == "step" or self.activation != "none"
        if not self.residual:
            return 2 + located
        return 2 + located + (self.activation != "none") + (self.activation == "silu")

    def passes(self, *, on_chip: bool) -> int:
        """How many times E moves. What statistics or sums need is read twice where not on chip."""
        forward = 3 if self.residual else 2
        found = forward + (self.backward_passes if self.has_backward else 0)
        if on_chip or self.program in ("evaluation", "frozen"):
            return found
        return found + (3 if self.program == "step" else 1)

    def least_bytes(self, *, on_chip: bool) -> int:
        marks = self.bits * (2 if self.has_backward else 1)
        return self.passes(on_chip=on_chip) * self.size + marks

    def slab(self, line: int) -> int:
        """Bytes to keep between two readings: a channel, or the lines that channels share."""
        positions = self.shape[0] * self.shape[2] * self.shape[3]
        width = DTYPES[self.dtype].itemsize if self.layout == "contiguous" else line
        return positions * width * (2 if self.program == "step" else 1)


def selection(device: str, *, quick: bool = False) -> list[Work]:
    """What is timed where nothing else is asked for."""
    resnet50, neck = SHAPES["resnet50"], SHAPES["neck"]
    ends = [resnet50[i] for i in (0, 2, 4)]
    half = "bfloat16"
    if device == "cuda":
        # 256 images are more than 200 MB, from where the copy bandwidth is what counts.
        plain = {16: resnet50, 32: resnet50, 256: ends[:2]}
        added = {32: ends, 256: ends[:2]}
        works = [
            Work((batch, *s), "channels_last", "relu", residual, dtype)
            for dtype in ("float16", "bfloat16")
            for residual, batches in ((False, plain), (True, added))
            for batch, own in batches.items()
            for s in own
        ]
        works += [Work((32, *s), "channels_last", "silu", dtype=half) for s in neck]
        works += [Work((32, *s)) for s in ends]
    else:
        works = [Work((16, *s), layout) for layout in LAYOUTS for s in resnet50]
        works += [Work((32, *s), layout) for layout in LAYOUTS for s in ends]
        works += [
            Work((16, *s), layout, residual=True)
            for layout in LAYOUTS
            for s in (*ends, (1024, 14, 14), (2048, 7, 7))
        ]
        works += [Work((16, *s), layout, "silu") for layout in LAYOUTS for s in neck]
        works += [Work((16, 512, 28, 28), dtype=dtype) for dtype in ("bfloat16", "float16")]
    one = Work((16, 512, 28, 28), "channels_last", dtype=half if device == "cuda" else "float32")
    works += [
        replace(one, shape=(16, 512, 20, 20), activation="silu", residual=True),
        replace(one, layout="contiguous", activation="leaky_relu", save="output"),
        *(replace(one, program=program) for program in ("forward", "evaluation", "frozen")),
    ]
    return [w for w in works if not quick or (w.shape[0] == 16 and w.shape[1:] in _QUICK)]


def combinations(
    batches: Sequence[int],
    shapes: Iterable[tuple[int, int, int]],
    layouts: Sequence[str],
    activations: Sequence[str],
    residual: bool,
    dtypes: Sequence[str],
    programs: Sequence[str],
    save: str,
) -> list[Work]:
    """Every combination of what is given."""
    return [
        Work((batch, *shape), layout, activation, residual, dtype, program, save)
        for program, dtype, activation, layout, batch, shape in product(
            programs, dtypes, activations, layouts, batches, tuple(shapes)
        )
    ]
