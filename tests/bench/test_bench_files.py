"""The files of `sightline bench`: checked before it times, and compared after."""

import json
import subprocess
import sys

import pytest

from sightline.bench import machine
from sightline.bench.compare import Repeats, compare, load
from sightline.bench.timing import Times
from sightline.cli import main


def summary(times, *, threads=1, **more):
    """What --json keeps: ops take `times`, name -> seconds."""
    rows = [{"name": name, "ours": Times([s]).as_json()} for name, s in times.items()]
    given = {"device": "a CPU", "instruction set": "avx2", "threads": threads}
    return {**given, "versions": {"sightline": "1"}, "works": rows, **more}


def test_a_comparison_says_what_became_slower_and_what_stands_on_one_side():
    before = [summary({"a": 1.0, "b": 1.0, "c": 2.0, "gone": 1.0})]
    now = [summary({"a": 1.09, "b": 1.2, "c": 1.0, "new": 1.0}, threads=2)]
    found = compare(before, now, 0.1)
    assert [change.name for change in found.slower] == ["b"]
    text = found.text("old.json")
    for line in (
        "not the same: threads 1, now 2",
        "a       1 s, now   1.09 s | 1.09x the time",
        "b       1 s, now    1.2 s | 1.20x the time | slower",
        "c       2 s, now      1 s | 0.50x the time | faster",
        "only in old.json: gone",
        "only in this run: new",
        "1 of 3 benchmarks became slower",
    ):
        assert line in text, text
    assert compare(before, now, 0.25).slower == []
    with pytest.raises(ValueError, match="no benchmark in common"):
        compare(before, [summary({"new": 1.0})], 0.1)


def test_rows_of_every_benchmark_are_compared():
    seconds = Times([2.0]).as_json()
    rows = [
        {"name": "files", "times": {"sightline": seconds}, "data": {"images": 5}},
        {"name": "more files", "times": {"sightline": seconds}, "data": {"images": 5}},
        {"name": "failed", "times": {"hotcoco": seconds}, "data": {"images": 5}},
    ]
    steps = [{"name": "a step", "times": {"torch": seconds, "converted": seconds}}]
    before = summary({}, works=rows, resnet50=steps)
    fewer = [dict(rows[0]), {**rows[1], "data": {"images": 1}}, dict(rows[2])]
    found = compare([before], [summary({}, works=fewer, resnet50=steps)], 0.1)
    assert [change.name for change in found.changes] == ["files", "a step"]
    assert found.other_data == ["more files"] and found.only_now == ["failed"]


def test_cpu_and_cuda_are_compared_each_with_its_own():
    cpu, cuda = summary({"a": 1.0}), summary({"a": 0.1}, capability="9.0")
    found = compare([cpu, cuda], [summary({"a": 0.2}, capability="9.0")], 0.1)
    assert [change.ratio for change in found.changes] == [pytest.approx(2)]
    assert found.only_before == ["a"]


def test_repeats_give_a_mean_speed_and_what_is_slower_in_each():
    before = [summary({"a": 1.0, "b": 1.0, "c": 1.0, "gone": 1.0})]
    nows = ({"a": 0.5, "b": 2.0, "c": 2.0}, {"a": 0.5, "b": 2.0, "c": 1.0})
    found = Repeats([compare(before, [summary(now)], 0.1) for now in nows])
    assert found.speed == pytest.approx(2 ** (-1 / 6))  # of .5, 2, 2, .5, 2, 1
    assert found.slower == {"b": [2, 2]}
    text = found.text()
    assert "3 benchmarks, 2 repeats: 0.891 times as fast as before" in text
    assert "slower in every repeat: b, 2.00x, 2.00x the time" in text
    assert "not on both sides: gone" in text


def test_two_checkouts_are_measured_in_turns(tmp_path, request):
    """Stand-ins for their Pythons append their name to a log and write figures."""
    log = tmp_path / "log"
    stand_in = tmp_path / "python.py"
    figures = json.dumps([summary({"a": 1.0})])
    stand_in.write_text(
        "import json, sys\n"
        "name, factor, *words = sys.argv[1:]\n"
        f"figures = json.loads({figures!r})\n"
        "figures[0]['works'][0]['ours']['median'] *= float(factor)\n"
        "assert words[:5] == ['-m', 'sightline', 'bench', '--only', 'a'], words\n"
        "open(words[-1], 'w').write(json.dumps(figures))\n"
        f"open({str(log)!r}, 'a').write(name)\n"
    )
    tool = request.config.rootpath / "tools" / "compare_checkouts.py"
    commands = [f"{sys.executable} {stand_in} {n} {f}" for n, f in (("o", 1), ("n", 1.5))]
    words = [sys.executable, str(tool), *commands, "--verb", "bench --only a", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert log.read_text() == "onno"
    assert "slower in every repeat: a, 1.50x, 1.50x the time" in done.stdout


def test_figures_are_compared_with_those_of_an_earlier_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(machine, "_FLOATS", 1 << 16)
    file = tmp_path / "figures.json"
    words = ["bench", "--quick", "--only", "nms of one box", "--json", str(file)]
    assert main(words) == 0
    found = json.loads(file.read_text())
    (row,) = found[0]["works"]
    for factor, status in ((100, 0), (1 / 100, 1)):
        row["ours"]["median"] *= factor
        file.write_text(json.dumps(found))
        assert main([*words, "--compare", str(file), "--tolerance", "3"]) == status
        printed = capsys.readouterr().out
        assert f"{status} of 1 benchmarks became slower" in printed
        found = json.loads(file.read_text())  # the new figures: the old were read before
        (row,) = found[0]["works"]


@pytest.mark.parametrize("part", [[], ["coco"], ["batch_norm"]])
def test_files_that_cannot_be_used_are_named_before_anything_is_timed(part, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text('{"epochs": 3}')
    (tmp_path / "torn.json").write_text('[{"device"')
    for words, said in (
        (["--json", str(tmp_path)], f"--json must name a file, {tmp_path} is a folder"),
        (["--json", str(tmp_path / "no" / "a.json")], f"there is no folder {tmp_path / 'no'}"),
        (["--compare", str(other)], "holds no figures that `sightline bench --json` wrote"),
        (["--compare", str(tmp_path / "torn.json")], "holds no figures"),
        (["--compare", str(tmp_path / "none.json")], "none.json: No such file"),
        (
            ["--compare", str(other), "--tolerance", "-1"],
            "tolerance must be a share of the earlier time",
        ),
    ):
        assert main(["bench", *part, *words]) == 2
        printed = capsys.readouterr()
        assert said in printed.err and printed.out == ""


@pytest.mark.parametrize("part", [[], ["coco"]])
def test_a_plot_of_an_unknown_format_is_refused_before_anything_is_timed(part, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["bench", *part, "--plot", str(tmp_path / "growth.jpgg")]) == 2
    assert "--plot must end in one of " in capsys.readouterr().err


def test_every_file_of_figures_here_can_be_compared_with(request):
    others = ("assignment.json", "loader_memory.json", "loading.json")  # of scripts, not of a verb
    files = sorted((request.config.rootpath / "benchmarks" / "results").glob("*.json"))
    loaded = [path.name for path in files if path.name not in others and load(path)]
    assert len(loaded) >= 4
