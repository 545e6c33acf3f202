"""A forked process is to its caller what `python -c` would be."""

import signal

import pytest

pytest.importorskip("torch")

from . import fresh
from .ops import isa


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; print(sys.argv[1:])", 0, "['2', 'b']\n"),
        ("import os; print(os.environ['FRESH'])", 0, "yes\n"),
        ("import sys; print(1); sys.exit(3)", 3, "1\n"),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("1 / 0", 1, ""),
    ],
)
def test_status_and_output_are_those_of_the_code(code, status, said):
    ended = fresh.run(code, 2, "b", env={"FRESH": "yes"})
    assert (ended.returncode, ended.stdout) == (status, said)
    assert ("ZeroDivisionError" in ended.stderr) == (status == 1)


def test_the_peak_of_memory_is_its_own():
    code = """
import resource
import numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
np.ones(8 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    assert 7 << 10 < int(fresh.run(code).stdout) < 16 << 10


def test_what_fails_at_an_instruction_set_fails_the_caller():
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        isa.output_of_every_level("1 / 0")


def test_instruction_sets_that_differ_are_told():
    if len(isa._levels()) < 2:
        pytest.skip("this machine has one instruction set")
    with pytest.raises(AssertionError, match=r"'baseline': 'baseline\\n'"):
        isa.output_of_every_level("from sightline import _numpy; print(_numpy.isa())")
