"""The benchmark of batch norm: its bytes, its goals, its checks before times, and its command."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sightline.bench import machine, text
from sightline.bench.batch_norm import contenders, contest, resnet50
from sightline.bench.batch_norm.benchmark import (
    ACTIVATIONS,
    COMPILE,
    COPY,
    COPY_ALONE,
    DTYPES,
    EAGER,
    KEPT,
    LAYOUTS,
    NEAR_COPY,
    NEW_COPY,
    PROGRAMS,
    SHAPES,
    LayerBenchmark,
    combinations,
    copy_gain,
    selection,
)
from sightline.bench.batch_norm.contenders import Plain
from sightline.bench.batch_norm.contest import on_chip, prepare
from sightline.bench.batch_norm.goals import goals
from sightline.bench.batch_norm.memory import kept_bytes, peak_bytes
from sightline.bench.batch_norm.plain_resnet import Bottleneck
from sightline.bench.batch_norm.program import Program, Tensors, check_same
from sightline.bench.outcome import LIMIT, ONE_THREAD, OURS, THREADS, Outcome
from sightline.bench.run import run
from sightline.bench.timing import Times
from sightline.cli import main

SMALL = LayerBenchmark((2, 16, 8, 8))
STEM = LayerBenchmark((16, 64, 112, 112))


@pytest.fixture
def no_compile(monkeypatch):
    """torch.compile takes seconds per benchmark."""
    makes = {name: make for name, make in contenders.EVERYWHERE.items() if name != COMPILE}
    monkeypatch.setattr(contenders, "EVERYWHERE", makes)


@pytest.fixture
def small_copies(monkeypatch):
    monkeypatch.setattr(contest, "_COPIED", {"cpu": 1 << 16})
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)


def test_least_bytes_are_those_of_the_passes():
    def passes(**settings):
        layer = replace(STEM, **settings)
        return layer.passes(on_chip=True), layer.passes(on_chip=False)

    assert passes() == passes(activation="silu") == passes(activation="none") == (5, 8)
    assert passes(activation="leaky_relu", save="output") == (5, 8)
    assert passes(residual=True) == (7, 10)
    assert passes(residual=True, activation="silu") == (8, 11)  # which reads the residual again
    assert passes(residual=True, activation="none") == (6, 9)  # the gradient is the residual's
    assert passes(program="forward") == (2, 3) and passes(program="evaluation") == (2, 2)
    assert passes(program="frozen") == (5, 5)
    assert passes(program="frozen", activation="none") == (4, 4)
    assert passes(program="evaluation", residual=True) == (3, 3)
    size = 16 * 64 * 112 * 112 * 4
    assert [w.results for w in (STEM, replace(STEM, residual=True))] == [2, 3]
    assert replace(STEM, program="evaluation", residual=True).results == 1
    assert STEM.size == size and STEM.least_bytes(on_chip=True) == 5 * size
    marked = replace(STEM, residual=True)
    assert marked.least_bytes(on_chip=False) == 10 * size + 2 * size // 32
    assert replace(marked, program="forward").least_bytes(on_chip=True) == 3 * size + size // 32
    assert replace(marked, activation="silu").least_bytes(on_chip=True) == 8 * size


def test_what_is_read_twice_fits_by_channel_or_by_line(monkeypatch):
    assert STEM.slab(64) == 16 * 112 * 112 * 4 * 2
    assert (
        replace(STEM, layout="channels_last", dtype="float16").slab(64) == 16 * 112 * 112 * 64 * 2
    )
    assert replace(STEM, program="forward").slab(64) == 16 * 112 * 112 * 4
    for cache, fits in ((STEM.slab(64), True), (STEM.slab(64) - 1, False), (None, True)):
        monkeypatch.setattr(contest, "last_level_cache", lambda cache=cache: cache)
        assert on_chip(STEM, "cpu") is fits


def test_on_cuda_it_fits_in_the_shared_memory_of_a_cluster(monkeypatch):
    half = replace(STEM, layout="channels_last", dtype="float16")  # 200,704 positions
    for major, positions in ((9, 58112), (8, 3632)):
        found = SimpleNamespace(major=major, shared_memory_per_block_optin=227 * 1024)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda found=found: found)
        assert on_chip(replace(half, shape=(1, 64, positions, 1)), "cuda")
        assert not on_chip(replace(half, shape=(1, 64, positions + 1, 1)), "cuda")


def test_goals_are_those_of_layout_threads_and_device():
    residual, last = replace(STEM, residual=True), replace(STEM, layout="channels_last")
    cpu = {"device": "cpu", "threads": 1, "on_chip": True}
    assert goals(STEM, **cpu) == {EAGER: 4, COMPILE: 2, LIMIT: 0.7}
    assert goals(residual, **cpu) == {EAGER: 5, KEPT: 1.9}
    assert goals(last, **cpu) == {EAGER: 3}
    assert goals(STEM, "cpu", 2, on_chip=True) == {THREADS: 1.7}
    assert goals(STEM, "cpu", 4, on_chip=True) == {}
    assert goals(replace(STEM, activation="silu"), **cpu) == {KEPT: 2}
    assert goals(replace(STEM, dtype="bfloat16"), **cpu) == {}
    assert goals(replace(STEM, program="forward"), **cpu) == {}
    half = replace(last, dtype="float16")
    assert goals(half, "cuda", 1, on_chip=True) == {EAGER: 2, COMPILE: 0.97}
    large = replace(half, shape=(256, 64, 112, 112))
    assert goals(large, "cuda", 1, on_chip=False) == {EAGER: 1.4, COMPILE: 0.97, LIMIT: 0.85}
    assert goals(STEM, "cuda", 1, on_chip=False) == {}


def outcome_of(layer, times, **parts):
    """An outcome of these medians; a copy of as many bytes takes 0.5."""
    copies = {COPY: Times([0.5] * 4), NEAR_COPY: Times([0.25] * 4), NEW_COPY: Times([1.0] * 4)}
    found = goals(layer, "cpu", 2 if ONE_THREAD in times else 1, on_chip=True)
    every = {name: Times([seconds] * 4) for name, seconds in times.items()}
    size = layer.least_bytes(on_chip=True)
    return Outcome(layer, every, copies, found, size, limit_name=COPY, on_chip=True, **parts)


def block_of(outcome):
    return outcome.benchmark.text(outcome)


def test_a_goal_is_met_or_missed_and_counted():
    plain = outcome_of(STEM, {OURS: 1.0, EAGER: 4.5, COMPILE: 1.5})
    assert plain.reached() == {EAGER: (4.5, 4), COMPILE: (1.5, 2), LIMIT: (0.5, 0.7)}
    block = block_of(plain)
    assert (
        "bn + relu step 16x64x112x112 contiguous float32: 257 MB at least (5E on chip; 8E" in block
    )
    for part in (
        "met: 4.5 times as fast as eager, goal 4",
        "missed: 1.5 times as fast as torch.compile, goal 2",
        "missed: 0.5 of a streaming copy, goal 0.7",
        "50% of streaming copy",
        "25% of a copy of that footprint",
        "100% of 2 copies into new memory",
    ):
        assert part in block
    residual = replace(STEM, residual=True)
    size = STEM.size
    for own, verdict in ((size + size // 32, "met"), (size + size // 8, "missed")):
        kept = {OURS: own + 4096, EAGER: 2 * size + 4096}
        found = block_of(outcome_of(residual, {OURS: 1.0, EAGER: 5.0}, kept=kept))
        assert f"{verdict}: {2 * size / own:.1f} times less kept, goal 1.9" in found
    two = outcome_of(STEM, {OURS: 1.0, ONE_THREAD: 1.6})
    assert two.reached() == {THREADS: (1.6, 1.7)}
    slow = outcome_of(STEM, {OURS: 1.0, EAGER: 3.0})
    summary = text.summary([plain, slow]).splitlines()
    assert "goal 4 times as fast as eager: 1 of 2 benchmarks, from 3 to 4.5" in summary


def test_a_contender_that_cannot_run_is_a_line():
    outcome = outcome_of(
        STEM, {OURS: 1.0, EAGER: 4.0}, notes={"inplace_abn": "No module named 'x'"}
    )
    assert "inplace_abn" in block_of(outcome) and "No module named 'x'" in block_of(outcome)


def test_ours_computes_what_eager_torch_does_in_every_layer():
    shape = (2, 16, 9, 7)
    saves = [("input", False), ("input", True), ("output", False)]
    layers = [
        layer
        for save, residual in saves
        for layer in combinations(
            [2],
            [shape[1:]],
            list(LAYOUTS),
            [a for a in ACTIVATIONS if save == "input" or a in ("leaky_relu", "none")],
            residual,
            list(DTYPES),
            [p for p in PROGRAMS if save == "input" or p in ("step", "forward")],
            save,
        )
    ]
    assert len(layers) == 24 * 4 * 2 + 12 * 2
    for layer in layers:
        tensors = Tensors(layer, "cpu")
        expected = Program(layer, Plain(layer), tensors).first()
        check_same(layer, OURS, Program(layer, contenders.ours(layer), tensors).first(), expected)
        assert next(iter(expected)) == "output" and "running_var" in expected
        gradients = {"step": 3 + layer.residual, "frozen": 1 + layer.residual}.get(layer.program, 0)
        assert sum(name.startswith("gradient") for name in expected) == gradients


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_contender_that_computes_something_else_is_not_timed(
    activation, no_compile, small_copies, monkeypatch
):
    class Off(Plain):
        def forward(self, x, residual=None):
            y = super().forward(x, residual)
            return torch.cat([y[:-1], y[-1:] * 1.01])

    layer = replace(SMALL, activation=activation)
    monkeypatch.setitem(contenders.EVERYWHERE, "off", Off)
    with pytest.raises(ValueError, match="output of off is not eager torch's: off by"):
        list(run(prepare, [layer]))

    class WrongGradient(Plain):
        def forward(self, x, residual=None):
            return super().forward(x + 0.01 * (x - x.detach()), residual)

    monkeypatch.setitem(contenders.EVERYWHERE, "off", WrongGradient)
    with pytest.raises(ValueError, match="gradient of x of off is not eager torch's"):
        list(run(prepare, [layer]))

    class Forgetful(Plain):
        def __init__(self, layer):
            super().__init__(layer)
            self.bn.momentum = 0.0

    monkeypatch.setitem(contenders.EVERYWHERE, "off", Forgetful)
    with pytest.raises(ValueError, match="running_mean of off is not eager torch's"):
        list(run(prepare, [layer]))


def test_a_nan_or_another_type_is_not_the_same():
    expected = {"output": torch.ones(3)}
    check_same(SMALL, "peer", {"output": torch.ones(3)}, expected)
    for wrong in (torch.tensor([1, 1, float("nan")]), torch.ones(3).double(), torch.ones(1, 3)):
        with pytest.raises(ValueError, match="output of peer is"):
            check_same(SMALL, "peer", {"output": wrong}, expected)


def test_kept_and_peak_memory_are_those_of_the_tensors():
    layer = replace(SMALL, shape=(8, 64, 16, 16), activation="silu")
    tensors = Tensors(layer, "cpu")
    ours, eager = (Program(layer, make(layer), tensors) for make in (contenders.ours, Plain))
    few = 64 * 64  # bytes of vectors of one number per channel
    for program, kept, peak in ((ours, 1, 2), (eager, 2, 4)):
        assert kept * layer.size <= kept_bytes(program.forward) <= kept * layer.size + few
        assert peak * layer.size <= peak_bytes(program, "cpu") <= peak * layer.size + few
    room = torch.empty(1000)
    assert peak_bytes(lambda: [room.clone(), room.clone()], "cpu") == 2 * room.nbytes
    assert peak_bytes(lambda: room.clone().add_(room.clone().sum()), "cpu") <= 2 * room.nbytes + 64


def test_a_layer_is_timed_with_copies_and_one_thread(no_compile, small_copies, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(contest, "_MAPPED_FROM", 0)
    (outcome,) = run(prepare, [SMALL], threads=2, seconds=0.01)
    assert torch.get_num_threads() == before
    assert list(outcome.times) == [OURS, EAGER, ONE_THREAD]
    assert set(outcome.passes) == {COPY, COPY_ALONE, NEAR_COPY, NEW_COPY} and outcome.goals == {
        THREADS: 1.7
    }
    assert outcome.share(COPY) == pytest.approx(
        outcome.passes[COPY].median / outcome.times[OURS].median
    )
    assert set(outcome.kept) == set(outcome.peaks) == {OURS, EAGER}
    gain = outcome.passes[COPY_ALONE].median / outcome.passes[COPY].median
    assert copy_gain(outcome) == gain and f"a streaming copy {gain:.2f}x" in block_of(outcome)


def test_a_peer_that_is_missing_or_fails_is_a_note(small_copies, monkeypatch):
    def missing(layer):
        raise ImportError("No module named 'apex'")

    def fails(layer):
        raise RuntimeError("no compiler\nand more")

    makes = {EAGER: Plain, OURS: contenders.ours, "apex": missing, COMPILE: fails}
    makes["none of this layout"] = lambda layer: None
    monkeypatch.setattr(contenders, "EVERYWHERE", makes)
    (outcome,) = run(prepare, [SMALL], seconds=0.01)
    assert outcome.notes == {"apex": "No module named 'apex'", COMPILE: "no compiler"}
    assert list(outcome.times) == [OURS, EAGER]


def test_peers_on_cuda_are_asked_for_what_they_can_do():
    assert set(contenders.contenders(SMALL, "cpu")) == {EAGER, OURS, COMPILE}
    on_cuda = contenders.contenders(SMALL, "cuda")
    assert "apex groupbn" in on_cuda and next(iter(on_cuda)) == EAGER
    assert contenders.apex_groupbn(SMALL) is None  # contiguous, float32
    assert contenders.inplace_abn(replace(SMALL, residual=True)) is None
    assert set(contenders.contenders(replace(SMALL, program="frozen"), "cuda")) == {
        *contenders.contenders(SMALL, "cpu")
    }


def test_torch_compile_takes_part_and_is_compiled_for_the_shape(monkeypatch):
    # Without inductor, which takes seconds.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    layer = replace(SMALL, activation="leaky_relu")
    tensors = Tensors(layer, "cpu")
    program = Program(layer, contenders.compiled(layer), tensors)
    check_same(layer, COMPILE, program.first(), Program(layer, Plain(layer), tensors).first())
    assert [tuple(t.shape) for t in program()] == [layer.shape, layer.shape, (16,), (16,)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_benchmarks_are_named_once_and_quick_ones_are_few(device):
    layers = selection(device)
    assert len({layer.name for layer in layers}) == len(layers) < 64
    quick = selection(device, quick=True)
    assert set(quick) < set(layers) and 5 <= len(quick) <= 16
    assert {layer.program for layer in quick} == set(PROGRAMS)
    assert {layer.shape[1:] for layer in layers} >= {*SHAPES["resnet50"], *SHAPES["neck"]}
    assert not any("," in layer.name for layer in layers)


def test_the_command_prints_one_block_per_benchmark_and_writes_json(
    tmp_path, capsys, no_compile, small_copies
):
    file = tmp_path / "figures.json"
    chosen = ["--batch", "2", "--shapes", "16x8x8,32x4x4", "--activation", "relu,silu"]
    words = [*chosen, "--residual", "--layout", "channels_last", "--only", "16x8x8"]
    assert main(["bench", "batch_norm", *words, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "bn + add + relu step 2x16x8x8 channels_last float32: " in printed
    assert "times less kept, goal 1.9" in printed and "32x4x4" not in printed
    found = json.loads(file.read_text())
    assert {"device", "instruction set", "threads", "versions", "bandwidths in GB/s"} <= set(found)
    assert found["resnet50"] == []
    names = [layer["name"] for layer in found["works"]]
    assert names == [
        f"bn + add + {a} step 2x16x8x8 channels_last float32" for a in ("relu", "silu")
    ]
    relu = found["works"][0]
    assert relu["shape"] == [2, 16, 8, 8] and relu["residual"] is True and relu["passes"] == 7
    assert relu["times"][OURS]["median"] > 0 and relu["ratios"][EAGER] > 0
    assert relu["least bytes"] == 7 * 8192 + 512 and relu["kept bytes"][EAGER] > 2 * 8192
    assert set(relu["fractions"]) == {COPY, NEAR_COPY} and relu["goals"][EAGER]["goal"] == 3
    assert set(relu["peak bytes"]) == {OURS, EAGER}


def test_the_command_names_what_is_wrong(capsys):
    for words, said in (
        (["--only", "nonsense"], "no benchmark's name contains 'nonsense'"),
        (["heads"], "batch_norm has no part 'heads'; there are layers, resnet50"),
        (["--device", "tpu"], "device must be cpu or cuda, got tpu"),
        (["--threads", "0"], "threads must be a whole number of at least 1"),
        (["--batch", "16,0"], "batch must be a whole number of at least 1"),
        (["--shapes", "64x7"], "shapes must be of resnet50, neck, or channels and sides"),
        (["--layout", "rows"], "layout must be of contiguous, channels_last, got 'rows'"),
        (["--activation", "gelu"], "activation must be of relu, silu, leaky_relu, none"),
        (["--save", "output"], "save output needs activation leaky_relu or none"),
        (["--layouts", "contiguous"], "did you mean --layout?"),
    ):
        assert main(["bench", "batch_norm", *words]) == 2
        assert said in capsys.readouterr().err


class _Tiny(nn.Sequential):
    """What the network is made of, small."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            Bottleneck(8, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8),
        )  # fmt: skip


def test_a_training_step_is_timed_as_it_is_and_converted(monkeypatch):
    monkeypatch.setattr(resnet50, "resnet50", _Tiny)
    monkeypatch.setattr(resnet50, "_SIZE", 32)
    (outcome,) = run(resnet50.prepare, [resnet50.StepBenchmark(2, "channels_last")], seconds=0.01)
    found = json.loads(json.dumps(outcome.as_json()))
    assert found["name"] == "resnet50 step of 2 images channels_last"
    assert 0 < found["shares"]["torch"] < 1 and found["gain"] > 0
    times = {"torch": Times([2.0] * 4), "converted": Times([1.6] * 4)}
    parts = {"torch": 0.5, "converted": 0.1}
    step = resnet50.StepBenchmark()
    outcome = Outcome(step, times, goals={"torch": 1}, own_name="converted", parts=parts)
    assert outcome.ratio("torch") == resnet50.allowed_gain(outcome) == 1.25
    assert resnet50.share_of_norms(outcome, "torch") == 0.25
    shown = block_of(outcome)
    assert "met: 1.25 times as fast as torch, goal 1" in shown and "0.5 s (25%)" in shown


def test_the_command_times_steps_of_a_batch_and_a_layout(capsys, monkeypatch, small_copies):
    monkeypatch.setattr(resnet50, "resnet50", _Tiny)
    monkeypatch.setattr(resnet50, "_SIZE", 32)
    words = ["resnet50", "--batch", "2", "--layout", "channels_last", "--quick"]
    assert main(["bench", "batch_norm", *words]) == 0
    printed = capsys.readouterr().out
    assert "resnet50 step of 2 images channels_last" in printed
    assert printed.count("step of") == 1 and "bn +" not in printed


def test_a_converted_network_with_another_gradient_is_not_timed(monkeypatch):
    def wrong(model):
        model[1].weight.data *= 2
        return model, None

    monkeypatch.setattr(resnet50, "resnet50", _Tiny)
    monkeypatch.setattr(resnet50, "_SIZE", 32)
    monkeypatch.setattr(resnet50, "convert_batch_norm", wrong)
    with pytest.raises(ValueError, match=r"the (loss|gradient of .*) differs after the conversion"):
        list(run(resnet50.prepare, [resnet50.StepBenchmark(2)]))


def test_the_network_is_resnet50():
    model = resnet50.resnet50()
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 53
