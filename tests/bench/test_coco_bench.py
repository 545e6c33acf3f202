"""The benchmark of COCO evaluation: its data sets, its checks before times, and its processes."""

import contextlib
import io
import json
import sys
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sightline.bench import machine
from sightline.bench.coco import benchmark as benchmarks
from sightline.bench.coco import contest, digests, growth, masks
from sightline.bench.coco.benchmark import BENCHMARKS, CONTENDERS, CocoBenchmark
from sightline.bench.coco.digests import digest
from sightline.bench.coco.files import make
from sightline.bench.coco.generate import CATEGORY_IDS, Recipe, generate
from sightline.bench.outcome import OURS, Outcome
from sightline.bench.run import run
from sightline.bench.timing import Times
from sightline.cli import main

SMALL = Recipe(images=40, objects=250, detections=2_000)
FILES = CocoBenchmark("files of 40 images", "files", SMALL, {"fastest": 3}, slow=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coco")


def in_folder(folder, peers):
    return partial(contest.prepare, peers=peers, folder=folder)


def test_a_data_set_has_the_shares_of_coco():
    data = generate(Recipe().times(0.2))
    objects, found = data.objects, data.detections
    assert len(objects.image) == 6_400 and len(found.image) == 75_600
    shares = [(objects.area < 32**2).mean(), (objects.area > 96**2).mean()]
    assert shares == pytest.approx([0.41, 0.25], abs=0.03)
    assert 0.005 < objects.crowd.mean() < 0.02
    assert 0.25 < (objects.category == 1).mean() < 0.36
    assert set(objects.category) <= set(CATEGORY_IDS) and 12 not in CATEGORY_IDS
    assert len(CATEGORY_IDS) == 80 and CATEGORY_IDS.max() == 90
    classes = len(np.unique(1_000 * objects.image + objects.category)) / 1_000
    assert 2.5 < classes < 3.2
    counts = np.bincount(found.image)
    assert counts.max() == 100 and (counts == 100).mean() > 0.2
    assert (np.diff(found.scores)[np.diff(found.image) == 0] <= 0).all(), "best first"
    assert len(np.unique(data.image_ids)) == 1_000 == len(np.unique(data.image_ids[found.image]))


def test_variants_have_ties_and_overlaps_on_thresholds():
    two_digits = generate(replace(SMALL, score_decimals=2)).detections.scores
    np.testing.assert_array_equal(two_digits, np.round(two_digits, 2))
    recipe = replace(SMALL, box_decimals=1)
    data = generate(recipe)
    gt, dt = data.objects.boxes, data.detections.boxes
    np.testing.assert_array_equal(dt, np.round(dt, 1))
    # Same corner and height, a share of the width: the IoU is that share.
    row = {tuple(box[[0, 1, 3]]): box[2] for box in gt}
    shares = [box[2] / row[key] for box in dt if (key := tuple(box[[0, 1, 3]])) in row]
    assert sum(abs(20 * share - round(20 * share)) < 1e-9 for share in shares) > 20


def test_a_seed_gives_the_same_bytes_and_files_are_written_once(folder, tmp_path):
    first, again = make(SMALL, folder), make(SMALL, tmp_path)
    for a, b in zip(vars(first).values(), vars(again).values()):
        assert a.suffix == ".npz" or a.read_bytes() == b.read_bytes()
    with np.load(first.columns) as a, np.load(again.columns) as b:
        assert a.files == b.files
        assert all(np.array_equal(a[key], b[key]) for key in a.files)
    written = first.gt.stat().st_mtime_ns
    assert make(SMALL, folder).gt.stat().st_mtime_ns == written
    other = make(replace(SMALL, seed=1), tmp_path)
    assert other.dt != again.dt and other.dt.read_bytes() != again.dt.read_bytes()


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_files_are_read_by_pycocotools_and_hold_the_columns(folder, kind):
    recipe = replace(SMALL, kind=kind)
    files = make(recipe, folder)
    data = generate(recipe)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(files.gt))
        found = truth.loadRes(str(files.dt))
    annotations = json.loads(files.gt.read_text())["annotations"]
    assert [a["bbox"] for a in annotations] == data.objects.boxes.tolist()
    assert [a["area"] for a in annotations] == data.objects.area.tolist()
    results = json.loads(files.dt.read_text())
    assert [r["score"] for r in results] == data.detections.scores.tolist()
    if kind == "segm":
        for own in truth.loadAnns(truth.getAnnIds()):
            assert coco_mask.area(truth.annToRLE(own)) > 0
        assert all(own["area"] >= 0 for own in found.loadAnns(found.getAnnIds()))


def test_runs_are_those_of_coco():
    boxes = np.array([[0, 0, 64, 48], [10.5, 3, 5, 40], [60, 40, 30, 30], [-50, 0, 20, 20.0]])
    sizes = np.tile([64, 48], (4, 1))
    for text, box in zip(masks.run_strings(boxes, sizes, 0), boxes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, of NumPy 2
            decoded = coco_mask.decode({"size": [48, 64], "counts": text})
        assert coco_mask.encode(np.asfortranarray(decoded))["counts"] == text
        assert bool(decoded.any()) == (box[0] > -50)
    for counts in masks.run_lists(boxes, sizes, 0):
        assert sum(counts) == 64 * 48


def test_ours_is_held_to_pycocotools_and_a_missing_peer_is_a_line(folder):
    benchmark = replace(FILES, contenders=("hotcoco", "pycocotools"))
    (outcome,) = run(in_folder(folder, sys.executable), [benchmark], threads=2, seconds=0.01)
    assert outcome.same_bits == ["pycocotools"]
    assert set(outcome.times) == {OURS, "pycocotools", "one thread"}
    assert "hotcoco" in outcome.notes["hotcoco"]
    text = outcome.benchmark.text(outcome)
    assert "same bits as pycocotools" in text and "of the fastest peer, goal 3" in text
    assert json.loads(json.dumps(outcome.as_json()))["times"][OURS]["median"] > 0


def test_a_note_is_the_first_line_of_an_error(folder, monkeypatch):
    def fails(*given):
        raise RuntimeError("open in the worker of --peers: TypeError: bad\nand more")

    monkeypatch.setattr(contest, "_start", fails)
    (outcome,) = run(in_folder(folder, None), [replace(FILES, contenders=())])
    assert outcome.notes == {OURS: "TypeError: bad"}


@pytest.mark.parametrize("program", ["arrays", "stream", "accumulate", "sort_and_accumulate"])
def test_other_programs_give_the_same_arrays(folder, program):
    benchmark = CocoBenchmark("40 images", program, SMALL, {"limit": 3}, ("pycocotools",), slow=())
    peers = sys.executable if program in ("arrays", "accumulate") else None
    (outcome,) = run(in_folder(folder, peers), [benchmark], seconds=0.01)
    assert outcome.same_bits == (["pycocotools"] if peers else [])
    assert (outcome.limit is not None) == program.endswith("accumulate")
    assert ("limit" in outcome.reached()) == program.endswith("accumulate")


def test_arrays_that_are_not_pycocotools_are_not_timed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "DIGESTS", tmp_path / "digests.json")
    contest.record(FILES, threads=1, peers=sys.executable, folder=folder)
    alone, prepare = [replace(FILES, contenders=())], in_folder(folder, sys.executable)
    (outcome,) = run(prepare, alone, seconds=0.01)
    assert outcome.same_bits == ["pycocotools 2.0.11, recorded"]

    known = json.loads(digests.DIGESTS.read_text())
    entry = known[SMALL.name]
    digests.DIGESTS.write_text(json.dumps({SMALL.name: {**entry, "arrays": digest([np.ones(3)])}}))
    with pytest.raises(ValueError, match=r"not the recorded arrays of pycocotools 2\.0\.11"):
        list(run(prepare, alone, seconds=0.01))
    digests.DIGESTS.write_text(json.dumps({SMALL.name: {**entry, "files": "of other bytes"}}))
    (outcome,) = run(prepare, alone, seconds=0.01)
    assert outcome.same_bits == []


def test_a_difference_is_counted_and_measured():
    ours = [np.zeros((2, 3)), np.ones(4)]
    assert contest._difference([a.copy() for a in ours], ours) == ""
    theirs = [ours[0] + [[0, 0, 1e-3], [0, 0, 0]], ours[1]]
    assert contest._difference(theirs, ours) == "1 cells differ, by at most 0.001"
    assert "shapes" in contest._difference([ours[0]], ours)


def test_a_process_says_its_time_memory_and_numbers(folder):
    files = make(SMALL, folder)
    ran = contest.evaluate_files(sys.executable, OURS, files, "bbox", 1, own=True)
    assert 0.01 < ran.seconds < 60 and 2e7 < ran.peak < 1e9 and len(ran.stats) == 12
    with pytest.raises(RuntimeError, match="No module named"):
        contest.evaluate_files(sys.executable, "nobody", files, "bbox", 1, own=True)


def test_benchmarks_are_named_once_and_quick_ones_are_small():
    assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)
    for benchmark in BENCHMARKS:
        assert {*benchmark.slow} <= {*CONTENDERS}
        quick = benchmark.quick()
        assert (
            quick.recipe.images * 10 == benchmark.recipe.images and "pycocotools" not in quick.slow
        )


def test_the_growth_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    outcomes = []
    for i, benchmark in enumerate(growth.benchmarks()):
        times = {OURS: Times([0.1 * 3**i]), "hotcoco": Times([0.3 * 3**i])}
        peaks = {OURS: 10**8 * 3**i, "hotcoco": 2 * 10**8 * 3**i}
        outcomes.append(Outcome(benchmark, times, peaks=peaks))
    growth.draw(outcomes, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_one_block_per_benchmark_and_writes_json(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)
    monkeypatch.setattr(benchmarks, "BENCHMARKS", (replace(FILES, contenders=("hotcoco",)),))
    file = tmp_path / "figures.json"
    words = ["--data", str(folder), "--threads", "1", "--json", str(file)]
    assert main(["bench", "coco", "--peers", sys.executable, *words]) == 0
    printed = capsys.readouterr().out
    assert "files of 40 images: 40 images, 2,000 detections" in printed
    assert "No module named 'hotcoco'" in printed
    found = json.loads(file.read_text())
    assert found["threads"] == 1 and found["works"][0]["times"][OURS]["median"] > 0


def test_the_command_names_what_is_wrong(capsys):
    for words, said in (
        (["--only", "nonsense"], "no benchmark's name contains 'nonsense'"),
        (["--threads", "0"], "threads must be a whole number of at least 1"),
        (["segm"], "coco has no part 'segm'"),
        (["--peers", "/nowhere/python"], "make peers"),
        (["--record", "--only", "segm"], "--record needs --peers"),
    ):
        assert main(["bench", "coco", *words]) == 2
        assert said in capsys.readouterr().err
