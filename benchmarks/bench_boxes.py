"""The small works of `sightline bench` that need no other environment, under pytest-benchmark."""

import pytest

from sightline.bench.run import check_same
from sightline.bench.run_program import arrays_of, contender, program
from sightline.bench.suites import WORKS

CASES = [
    pytest.param(work, name, id=f"{work.name}, {name}")
    for work in WORKS.values()
    for name in ("sightline", "torch")
    if not work.long and name not in work.without and hasattr(contender(name), work.program)
]


@pytest.mark.parametrize(("work", "name"), CASES)
def test_work(benchmark, work, name):
    run = program(contender(name), work, "cpu")
    ours = program(contender("sightline"), work, "cpu")
    check_same(work, name, arrays_of(run()), arrays_of(ours()))
    benchmark.group = work.name
    benchmark(run)
