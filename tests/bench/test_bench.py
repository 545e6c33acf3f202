"""The benchmark itself: turns, checks before times, the worker, and what is printed."""

import json
import sys
from functools import partial

import numpy as np
import pytest
import torch

from sightline import _numpy
from sightline.bench import growth, inputs, lines, machine
from sightline.bench.contenders import sightline as ours
from sightline.bench.limits import aligned
from sightline.bench.peers import Peers
from sightline.bench.run import Outcome, run
from sightline.bench.suites import SUITES, WORKS
from sightline.bench.timing import Times, take_turns
from sightline.bench.work import Work
from sightline.cli import main

SMALL = Work("nms 20 sparse", "nms", partial(inputs.sparse, 20), limit="sort", goals={"torch": 2})


def test_every_work_has_a_name_of_its_own_and_a_program_of_ours():
    assert len(WORKS) == sum(map(len, SUITES.values()))
    for work in WORKS.values():
        assert callable(getattr(ours, work.program)), work.name


def test_inputs_are_the_same_each_time_and_scores_differ():
    for work in WORKS.values():
        if not work.long:
            for a, b in zip(work.inputs(), work.inputs()):
                np.testing.assert_array_equal(a, b)
    assert len(np.unique(inputs.scores(1_000_000))) == 1_000_000
    _, scores = inputs.raw_detections(2, 840, 8)
    assert all(len(np.unique(image[image > 0.001])) == (image > 0.001).sum() for image in scores)
    assert 0.015 < (scores > 0.001).mean() < 0.03


def test_sparse_boxes_are_kept_as_often_as_the_table_says():
    for n, kept in {100: 99, 1_000: 918}.items():
        assert len(ours.nms(*map(torch.from_numpy, inputs.sparse(n)))) == kept


def test_contenders_take_turns_and_slow_ones_sit_out_evenly():
    order = []

    def sampler(name, seconds):
        def sample(calls):
            order.append((name, calls))
            return calls * seconds

        return sample

    taken = take_turns({"fast": sampler("fast", 1e-5), "slow": sampler("slow", 0.5)}, seconds=0.1)
    assert len(taken["slow"].seconds) == 3 and len(taken["fast"].seconds) == 25
    assert taken["fast"].median == pytest.approx(1e-5) and taken["slow"].spread == 0
    turns = [i for i, (name, _) in enumerate(order[4:]) if name == "slow"]
    assert np.diff(turns).min() >= 8, turns  # of 28 samples
    assert order[-1] == ("slow", 1) and order[-2] == ("fast", 200)


def test_times_say_their_spread_and_their_drift():
    times = Times([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert times.median == 1.5 and times.lowest == 1 and times.drift == 2
    assert times.spread == pytest.approx(1 / 3)


def test_a_work_is_timed_against_peers_limit_and_one_thread():
    before = torch.get_num_threads(), _numpy.get_num_threads()
    (outcome,) = run([SMALL], threads=2, seconds=0.01)
    assert (torch.get_num_threads(), _numpy.get_num_threads()) == before
    assert outcome.peers["torch"].median > 0 and outcome.limit[0] == "sort"
    assert outcome.moved == 20 * 20 + 8 * len(ours.nms(*map(torch.from_numpy, SMALL.inputs())))
    text = lines.line(outcome)
    for part in ("nms 20 sparse", "of sort", "torch", "goal 2", "of one thread"):
        assert part in text
    assert json.loads(json.dumps(outcome.as_json()))["peers"]["torch"]["ratio"] > 0


def test_a_peer_that_gives_something_else_is_not_timed(monkeypatch):
    from sightline.bench.contenders import torch as plain

    monkeypatch.setattr(plain, "nms", lambda boxes, scores: torch.arange(3))
    with pytest.raises(ValueError, match="nms 20 sparse: torch gives"):
        list(run([SMALL]))
    monkeypatch.setattr(plain, "nms", lambda boxes, scores: ours.nms(boxes, scores).flip(0))
    with pytest.raises(ValueError, match="nms 20 sparse: torch and ours differ"):
        list(run([SMALL]))


def test_a_figure_whose_limit_drifts_or_spreads_is_called_noisy():
    steady, drifting = Times([1.0] * 8), Times([1.0] * 4 + [1.2] * 4)
    spread = Times([1.0, 2.0] * 4)
    for own, limit, noisy in (
        (steady, steady, False),
        (steady, drifting, True),
        (steady, spread, True),
        (spread, steady, True),
    ):
        assert Outcome(SMALL, own, 1, passes={"sort": limit}).noisy == noisy


def test_goals_are_those_of_the_device():
    work = WORKS["nms 20,000 sparse"]
    assert work.goals_on("cpu") == {"torchvision": 100}
    assert work.goals_on("cuda") == {"torchvision": 5}
    steady = Times([1.0] * 8)
    shown = Outcome(work, steady, 1, {"torchvision": steady}, goals=work.goals_on("cuda"))
    assert "goal 5" in lines.line(shown) and shown.as_json()["goals"] == {"torchvision": 5}


def test_the_worker_runs_the_same_work_in_another_process():
    work = WORKS["nms 1,000 sparse"]
    with Peers(sys.executable, threads=1) as peers:
        assert peers.open(work.name, ["torch"], "cpu") == ["torch"]
        (kept,) = peers.result("torch")
        expected = ours.nms(*map(torch.from_numpy, work.inputs()))
        np.testing.assert_array_equal(kept, expected)
        assert peers.sample("torch", 2) > 0
        assert peers.open("batched_nms 20,000 of 80 classes", ["torch"], "cpu") == []
        with pytest.raises(RuntimeError, match="open in the worker of --peers: KeyError"):
            peers.open("no such work", ["torch"], "cpu")


def test_a_worker_that_is_no_python_says_so():
    with pytest.raises(FileNotFoundError, match="make peers"):
        Peers("/nowhere/python", threads=1)
    with pytest.raises(RuntimeError, match="worker of --peers ended"):
        Peers("/bin/true", threads=1)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("count", [16, 4096 * 16 * 3 + 16])
def test_passes_over_memory_touch_all_of_it(count, streaming):
    a, b = aligned(count), aligned(count)
    _numpy.fill_memory(a, 0.5, streaming)
    assert (a == 0.5).all()
    a[:] = np.arange(count)
    _numpy.copy_memory(a, b, streaming)
    np.testing.assert_array_equal(a, b)
    words = a.view(np.uint32)
    assert _numpy.read_memory(words) == int(words.sum(dtype=np.uint64)) % 2**32


def test_passes_over_memory_refuse_what_is_not_whole_lines():
    room = aligned(32)
    for part in (room[:15], room[1:17]):
        with pytest.raises(ValueError, match="aligned to 64 bytes"):
            _numpy.fill_memory(part, 0, True)
    with pytest.raises(ValueError, match="one size"):
        _numpy.copy_memory(room, aligned(16), False)


def test_the_command_prints_a_line_a_work_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)
    file = tmp_path / "figures.json"
    assert main(["bench", "boxes", "--quick", "--only", "of one box", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "nms of one box" in printed and _numpy.isa() in printed
    (found,) = json.loads(file.read_text())
    assert {"device", "instruction set", "threads", "versions"} <= set(found)
    assert [w["name"] for w in found["works"]] == ["box_iou of one box", "nms of one box"]


def test_the_growth_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    outcomes = [Outcome(w, Times([1e-3 * 3**i]), 1) for i, w in enumerate(growth.WORKS)]
    growth.draw(outcomes, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="--plot draws the suite growth"):
        growth.draw(outcomes[:1], tmp_path / "other.png")


def test_the_command_names_what_is_wrong(capsys):
    for words, said in (
        (["--only", "nonsense"], "no work's name holds 'nonsense'"),
        (["heads"], "no suite heads; there are boxes, growth"),
        (["--device", "tpu"], "device must be cpu or cuda, got tpu"),
        (["--threads", "0"], "threads must be at least 1"),
    ):
        assert main(["bench", *words]) == 2
        assert said in capsys.readouterr().err
