"""The benchmark itself: turns, checks before times, the worker, and what is printed."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from sightline import _numpy
from sightline.bench import machine, text
from sightline.bench.device import ARRAYS
from sightline.bench.limits import aligned
from sightline.bench.ops import boxes, growth, inputs
from sightline.bench.ops.benchmark import OpBenchmark
from sightline.bench.ops.contenders import sightline as ours
from sightline.bench.ops.contest import prepare
from sightline.bench.ops.peers import KEEPS_MEMORY, Peers
from sightline.bench.ops.suites import BENCHMARKS, SUITES, find
from sightline.bench.outcome import OURS, Outcome
from sightline.bench.run import run
from sightline.bench.timing import Times, take_turns
from sightline.cli import main

SMALL = OpBenchmark(
    "nms 20 sparse", "nms", partial(inputs.sparse, 20), limit="sort", goals={"torch": 2}
)


def test_every_benchmark_has_a_name_of_its_own_and_a_program_of_ours():
    assert len(BENCHMARKS) == sum(map(len, SUITES.values()))
    for benchmark in BENCHMARKS.values():
        assert callable(getattr(ours, benchmark.program)), benchmark.name


def test_inputs_are_the_same_each_time_and_scores_differ():
    for benchmark in BENCHMARKS.values():
        if not benchmark.long:
            for a, b in zip(benchmark.inputs(), benchmark.inputs()):
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


def test_a_benchmark_is_timed_against_peers_limit_and_one_thread():
    before = torch.get_num_threads(), _numpy.get_num_threads()
    (outcome,) = run(prepare, [SMALL], threads=2, seconds=0.01)
    assert (torch.get_num_threads(), _numpy.get_num_threads()) == before
    assert outcome.peers["torch"].median > 0 and outcome.limit[0] == "sort"
    assert outcome.size == 20 * 20 + 8 * len(ours.nms(*map(torch.from_numpy, SMALL.inputs())))
    line = text.line(outcome)
    for part in ("nms 20 sparse", "of sort", "torch", "goal 2", "of one thread"):
        assert part in line
    assert json.loads(json.dumps(outcome.as_json()))["peers"]["torch"]["ratio"] > 0


def test_a_peer_that_gives_something_else_is_not_timed(monkeypatch):
    from sightline.bench.ops.contenders import torch as plain

    monkeypatch.setattr(plain, "nms", lambda boxes, scores: torch.arange(3))
    with pytest.raises(ValueError, match="nms 20 sparse: torch gives"):
        list(run(prepare, [SMALL]))
    monkeypatch.setattr(plain, "nms", lambda boxes, scores: ours.nms(boxes, scores).flip(0))
    with pytest.raises(ValueError, match="nms 20 sparse: torch and ours differ"):
        list(run(prepare, [SMALL]))


def test_a_figure_whose_limit_drifts_or_spreads_is_called_noisy():
    steady, drifting = Times([1.0] * 8), Times([1.0] * 4 + [1.2] * 4)
    spread = Times([1.0, 2.0] * 4)
    for own, limit, noisy in (
        (steady, steady, False),
        (steady, drifting, True),
        (steady, spread, True),
        (spread, steady, True),
    ):
        assert Outcome(SMALL, {OURS: own}, {"sort": limit}).noisy == noisy


def test_goals_are_those_of_the_device():
    benchmark = BENCHMARKS["nms 20,000 sparse"]
    assert benchmark.goals_on("cpu") == {"torchvision": 100}
    assert benchmark.goals_on("cuda") == {"torchvision": 5}
    steady = Times([1.0] * 8)
    shown = Outcome(
        benchmark, {OURS: steady, "torchvision": steady}, goals=benchmark.goals_on("cuda"), size=1
    )
    assert "goal 5" in text.line(shown) and shown.as_json()["goals"] == {"torchvision": 5}


def test_the_worker_runs_the_same_benchmark_in_another_process():
    benchmark = BENCHMARKS["nms 1,000 sparse"]
    with Peers(sys.executable, threads=1) as peers:
        peers.contenders = {"torch": torch.__version__}
        assert peers.open(benchmark, "cpu") == ["torch"]
        (kept,) = peers.result("torch").arrays
        expected = ours.nms(*map(torch.from_numpy, benchmark.inputs()))
        np.testing.assert_array_equal(kept, expected)
        assert peers.sample("torch", 2) > 0
        assert peers.open(BENCHMARKS["batched_nms 20,000 of 80 classes"], "cpu") == []
        (own, *_) = boxes.of_shape((7, 30))
        assert peers.open(own, "cpu") == ["torch"]
        assert peers.result("torch").arrays[0].shape == (7, 30)
        with pytest.raises(RuntimeError, match="open in the worker of --peers: KeyError"):
            peers.open(SMALL, "cpu")


_FRESH_PAGES = """
import resource, numpy as np
[np.zeros(2**24, np.uint8).fill(1) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.empty(2**26, np.uint8).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="settings of glibc")
def test_a_process_that_keeps_memory_gets_no_new_pages_for_what_it_frees():
    run = partial(subprocess.run, [sys.executable, "-c", _FRESH_PAGES], stdout=subprocess.PIPE)
    pages = 2**26 // 4096
    assert int(run(env={**os.environ, **KEEPS_MEMORY}).stdout) < 2 * pages  # those of the first


def test_a_peer_that_keeps_memory_is_timed_where_ours_writes_to_out():
    benchmarks = {benchmark.program: benchmark for benchmark in boxes.of_shape((30, 100))}
    with Peers(sys.executable, threads=1, keeps_memory=True) as peers:
        peers.contenders = {"torch": torch.__version__}
        assert peers.open(benchmarks["box_iou"], "cpu") == []
        (outcome,) = run(partial(prepare, peers=[peers]), [benchmarks["box_iou_out"]], seconds=0.01)
    assert list(outcome.peers) == ["torch", "torch, memory kept"]
    assert "torch, memory kept " in text.line(outcome)


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


def test_the_command_prints_one_line_per_benchmark_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)
    file = tmp_path / "figures.json"
    assert main(["bench", "boxes", "--quick", "--only", "of one box", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "nms of one box" in printed and _numpy.isa() in printed
    (found,) = json.loads(file.read_text())
    assert {"device", "instruction set", "threads", "versions"} <= set(found)
    assert [w["name"] for w in found["works"]] == ["box_iou of one box", "nms of one box"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["boxes", "--only", "of one box"], ["box_iou of one box", "nms of one box"]),
        (["coco", "--only", "accumulation"], ["accumulation alone", "layout and accumulation"]),
        (["coco", "--quick", "--only", "arrays, 50,000"], []),
        (
            ["batch_norm", "--batch", "2", "--shapes", "8x4x4", "--layout", "channels_last"],
            ["bn + relu step 2x8x4x4 channels_last float32"],
        ),
        (
            ["batch_norm", "--only", "resnet50 step of 4 images channels_last"],
            ["resnet50 step of 4 images channels_last"],
        ),
    ],
)
def test_benchmarks_are_listed_by_the_names_that_only_takes(words, names, capsys, monkeypatch):
    monkeypatch.setattr(machine, "describe", None)  # nothing is announced or timed
    assert main(["bench", *words, "--list"]) == (0 if names else 2)
    assert capsys.readouterr().out.splitlines() == names


def test_the_growth_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    outcomes = [
        Outcome(benchmark, {OURS: Times([1e-3 * 3**i])})
        for i, benchmark in enumerate(growth.BENCHMARKS)
    ]
    growth.draw(outcomes, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="--plot needs the suite growth"):
        growth.draw(outcomes[:1], tmp_path / "other.png")


@pytest.mark.parametrize(
    ("part", "words"), [([], ("goal", "noisy")), (["batch_norm"], ("met", "missed", "noisy"))]
)
def test_the_help_explains_the_words_of_a_benchmark(part, words, capsys):
    assert main(["bench", *part, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f'"{word}"' in text for word in words)


def test_the_command_names_what_is_wrong(capsys):
    for words, said in (
        (["--only", "nonsense"], "no benchmark's name contains 'nonsense'"),
        (["heads"], "no suite heads; there are boxes, growth"),
        (["--quick", "coco"], "coco comes first: sightline bench coco"),
        (["--device", "tpu"], "device must be cpu or cuda, got tpu"),
        (["--threads", "0"], "threads must be a whole number of at least 1"),
        (["--shapes", "3x"], "shapes must be one, two or three sizes, such as 5000, 1000x8400"),
        (["--shapes", "30", "growth"], "--shapes does not go with a suite; leave out growth"),
        (["--arrays", "--device", "cuda"], "--arrays runs on the CPU"),
        (["boxes", "--plot", "growth.png"], "--plot needs the suite growth"),
    ):
        assert main(["bench", *words]) == 2
        assert said in capsys.readouterr().err


def test_an_environment_without_peers_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(Peers, "ask", lambda self, what, subject: {"versions": {}})
    assert main(["bench", "--peers", sys.executable]) == 2
    assert (
        f"--peers {sys.executable} has no torchvision that can be imported"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("part", [[], ["batch_norm"]])
@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_cuda_without_a_device_is_one_line_before_anything_is_timed(
    part, cuda, capsys, monkeypatch
):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", *part, "--device", "cuda"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert printed.err.startswith("sightline bench: no CUDA device: torch ")


def benchmarks_of_small_shapes():
    return [
        benchmark for shape in ((20,), (30, 100), (2, 50, 3)) for benchmark in boxes.of_shape(shape)
    ]


def test_ops_are_timed_at_shapes_of_ones_own(capsys, monkeypatch):
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)
    assert main(["bench", "--shapes", "20,30x100", "--quick", "--only", "iou_rotated"]) == 0
    assert "box_iou_rotated(out=) 30 x 100 " in capsys.readouterr().out
    names = {benchmark.name for benchmark in benchmarks_of_small_shapes()}
    assert names >= {
        "box_iou(out=) 30 x 100",
        "box_iou_topk 30 x 100, k = 9",
        "batched_nms 20 of 80 classes",
        "soft_nms 20 clustered, gaussian",
        "weighted_boxes_fusion 3 x 20",
        "decode_boxes 2 x 50, clipped",
    }
    assert "box_iou_topk" not in {benchmark.program for benchmark in boxes.of_shape((30, 8))}
    assert find("nms 20 sparse", (20,)).inputs()[0].shape == (20, 4)


def test_arrays_are_timed_in_place_of_tensors():
    benchmarks = benchmarks_of_small_shapes()
    of_arrays = list(run(prepare, benchmarks, device=ARRAYS, seconds=0))
    of_tensors = list(run(prepare, benchmarks, seconds=0))
    assert [o.size for o in of_arrays] == [o.size for o in of_tensors]
    assert not any(outcome.peers for outcome in of_arrays)
    assert all(outcome.limit or not outcome.benchmark.limit for outcome in of_arrays)


def test_without_torch_arrays_are_timed():
    code = """
import sys
sys.modules["torch"] = None
from sightline.bench import machine
from sightline.cli import main
machine._FLOATS = 1 << 16
assert main(["bench", "--quick", "--only", "of one box"]) == 0
for words in (["batch_norm"], ["--device", "cuda"], ["coco", "--only", "nonsense"]):
    assert main(["bench", *words]) == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "arrays; " in done.stdout and "nms of one box" in done.stdout
    first, second, third = done.stderr.splitlines()
    assert first.endswith("bench batch_norm needs torch: pip install 'sightline[torch]'")
    assert "no CUDA device: torch is not installed" in second
    assert "no benchmark's name contains 'nonsense'" in third  # coco itself needs no torch
