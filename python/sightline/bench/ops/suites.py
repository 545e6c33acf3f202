"""Every benchmark by its name, and the suites they come in."""

from . import boxes, growth
from .benchmark import OpBenchmark

SUITES = {"boxes": boxes.BENCHMARKS, "growth": growth.BENCHMARKS}
BENCHMARKS = {one.name: one for suite in SUITES.values() for one in suite}


def find(name: str, shape: tuple[int, ...]) -> OpBenchmark:
    """The benchmark of that name, of a suite or, where it has one, of that shape."""
    if not shape:
        return BENCHMARKS[name]
    return {one.name: one for one in boxes.of_shape(shape)}[name]
