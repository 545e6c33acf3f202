"""The small benchmarks of `sightline bench` that need no other environment, timed by pytest."""

import pytest

from sightline.bench.ops.contest import check_same
from sightline.bench.ops.programs import arrays_of, bind, contender
from sightline.bench.ops.suites import BENCHMARKS

CASES = [
    pytest.param(case, name, id=f"{case.name}, {name}")
    for case in BENCHMARKS.values()
    for name in ("sightline", "torch")
    if not case.long and name not in case.without and hasattr(contender(name), case.program)
]


@pytest.mark.parametrize(("case", "name"), CASES)
def test_benchmark(benchmark, case, name):
    run = bind(contender(name), case, "cpu")
    ours = bind(contender("sightline"), case, "cpu")
    check_same(case, name, arrays_of(run()), arrays_of(ours()))
    benchmark.group = case.name
    benchmark(run)
