import json

import pytest

from sightline.train import RunDir, new_run_dir


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "a\\b", "..", "", "a\0"])
def test_a_name_that_leads_elsewhere_makes_no_folder(tmp_path, name):
    with pytest.raises(ValueError, match="a run's name must be that of one folder"):
        new_run_dir("detect", name, root=tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_new_run_dir_never_gives_a_folder_twice(tmp_path):
    made = [new_run_dir("detect", "train", root=tmp_path) for _ in range(3)]
    assert [str(p.relative_to(tmp_path)) for p in made] == [
        "detect/train",
        "detect/train-2",
        "detect/train-3",
    ]


def test_events_are_json_lines(tmp_path):
    run = RunDir(tmp_path)
    run.event("start", epochs=3)
    run.event("epoch", loss=float("nan"))
    lines = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "epoch"]
    assert lines[1]["loss"] is None and lines[0]["epochs"] == 3


def test_opening_a_run_removes_what_a_killed_write_left(tmp_path):
    run = RunDir(tmp_path / "run")
    with run.opened(resume=False):
        run.state.touch()
    left = run.state.with_name(".last.state.pt.99999999.tmp")
    left.touch()
    with RunDir(run.path).opened(resume=True):
        assert not left.exists() and run.state.exists()
