"""A few of the random cases of every op; `make fuzz` runs them all."""

import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from . import SHORT, levels, modules, run_case
from .turns import Limits, Progress, Record, take_turns

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


def op(check=lambda rng: None, cases=3):
    return SimpleNamespace(CASES=cases, check=check)


def fail(rng):
    raise ValueError("wrong\nand more")


def run_turns(ops, record=None, **limits):
    limits = Limits(lambda module: module.CASES, **limits)
    return take_turns(ops, 0, limits, lambda name, case: f"again {name} {case}", record)


def test_an_op_that_fails_ends_and_the_others_go_on(capsys):
    progress = run_turns({"a": op(), "b": op(fail), "c": op()})
    assert [p.cases for p in progress.values()] == [3, 0, 3]
    assert progress["b"].failure == "ValueError: wrong"
    assert "b failed; again: again b 0" in capsys.readouterr().err


def test_ops_take_turns_until_the_time_is_over(tmp_path):
    ops = {name: op(lambda rng: time.sleep(0.002), 10**9) for name in "abc"}
    end = time.time() + 0.3
    progress = run_turns(ops, Record(tmp_path), turn=0.01, deadline=end)
    assert 0 <= time.time() - end < 0.3
    counts = [p.cases for p in progress.values()]
    assert min(counts) > 0 and max(counts) < 4 * min(counts)
    assert Record(tmp_path).read() == progress


def test_a_case_that_ends_its_process_is_a_failure_of_its_op_alone(tmp_path, monkeypatch):
    started = []

    def process(arguments, env, **_):
        code = "import os; os.abort()" if not started else ""
        started.append(arguments)
        return subprocess.Popen([sys.executable, "-c", code])

    monkeypatch.setattr(levels, "subprocess", SimpleNamespace(Popen=process, DEVNULL=None))
    level = levels.Level("avx2", tmp_path / "avx2", ["a", "b"], float("inf"))
    level.record.write({"a": Progress(5, 1.0), "b": Progress(7, 1.0)})
    level.record.starts("b", 9)
    while not level.ended():
        time.sleep(0.01)
    failure = f"ended the process with {signal.Signals.SIGABRT.name}"
    assert len(started) == 2
    assert level.record.read() == {"a": Progress(5, 1.0), "b": Progress(9, 1.0, failure)}


def test_the_table_has_every_op_and_the_failures_their_commands(capsys):
    found = {"avx2": {"a": Progress(5, 1.0), "b": Progress(9, 2.5, "ValueError: wrong")}}
    levels.print_table(["a", "b"], 4, found)
    assert levels.report_failures(["a", "b"], 4, found) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines[:3]] == [
        ["op", "cases", "seconds", "level", "seed"],
        ["a", "5", "1.0", "avx2", "4"],
        ["b", "9", "2.5", "avx2", "4"],
    ]
    assert lines[2].endswith("FAILED: ValueError: wrong")
    assert lines[-1].strip() == "SIGHTLINE_ISA=avx2 python -m tests.fuzz b --seed 4 --case 9"
    found = {"avx2": {"a": Progress(5, 1.0)}}
    assert levels.report_failures(["a"], 4, found) == 0
    assert levels.report_failures(["a", "b"], 4, found) == 1
    assert "no time for a case of b" in capsys.readouterr().out
