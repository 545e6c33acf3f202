"""All benchmarks by name, and the suites to which they belong."""

from . import boxes, growth
from .benchmark import OpBenchmark

SUITES = {"boxes": boxes.BENCHMARKS, "growth": growth.BENCHMARKS}
BENCHMARKS = {one.name: one for suite in SUITES.values() for one in suite}


def find(name: str, shape: tuple[int, ...]) -> OpBenchmark:
    """The benchmark of that name, in a suite or, if a shape is given, among those of the shape."""
    if not shape:
        return BENCHMARKS[name]
    return {one.name: one for one in boxes.of_shape(shape)}[name]
