import json

from sightline.cli import main
from sightline.data import digit_scenes, read
from sightline.settings.presets import PRESETS


def test_demo_trains_both_evaluates_and_prints_where_the_report_lies(tmp_path, monkeypatch, capsys):
    # The recipes shortened to seconds; what they reach is measured by `make demo`.
    monkeypatch.setitem(PRESETS, "digits", {**PRESETS["digits"], "train.epochs": 1})
    halves = tuple(half.subset(range(40)) for half in read.load_digits_classification())
    monkeypatch.setattr(read, "load_digits_classification", lambda seed: halves)
    few = {"train.epochs": 1, "data.scene_count": 16, "data.size": (64, 64)}
    monkeypatch.setitem(PRESETS, "digit-scenes", {**PRESETS["digit-scenes"], **few})
    for split in ("val", "test"):
        monkeypatch.setitem(digit_scenes.DEFAULT_COUNTS, split, 12)
    assert main(["demo", f"out={tmp_path}", "--quiet"]) == 0
    out = capsys.readouterr().out
    detector = tmp_path / "detect" / "demo"
    scores = json.loads((detector / "eval-test" / "evaluation.json").read_text())["metrics"]
    assert f"AP {scores['AP']:.4f}  AP50 {scores['AP50']:.4f}" in out
    assert "classifier  accuracy" in out and f"report      {detector / 'report.html'}" in out
    page = (detector / "report.html").read_text()
    assert "Detector: light_detector on digit-scenes" in page
    assert "Classifier: resnet20 on digits" in page
    assert (tmp_path / "classify" / "demo" / "report.html").is_file()
