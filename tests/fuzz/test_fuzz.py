"""A few of the random cases of every op; `make fuzz` runs them all."""

import pytest

from . import SHORT, modules, run_case

MODULES = modules()


def test_there_are_cases():
    assert {"match_anchors", "average_precision"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_random_cases_equal_the_reference(name):
    module = MODULES[name]
    assert module.CASES >= 1000
    for case in range(getattr(module, "SHORT", SHORT)):
        try:
            run_case(module, 0, case)
        except Exception as error:
            error.add_note(f"again: python -m tests.fuzz {name} --seed 0 --case {case}")
            raise
