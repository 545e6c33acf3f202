import json
import math
import shutil

import pytest
from PIL import Image

from sightline.report import write, write_report
from sightline.report.page import Page


def test_a_report_holds_curves_matrix_table_and_examples(trained_copy):
    task, _, run = trained_copy
    page = write_report(run)
    assert page == run / "report.html"
    text = page.read_text()
    headings = ["By class", "Confusion matrix", "Training", "Examples"]
    assert all(f">{heading}</h3>" in text for heading in headings)
    plots = {path.name for path in (run / "plots").iterdir()}
    expected = {"loss.png", "metrics.png", "lr.png", "confusion_matrix.png", "predictions.png"}
    if task == "detect":
        expected.add("precision_recall.png")
    assert plots == expected
    assert text.count("data:image/png;base64,") == len(expected)
    for name in plots:
        with Image.open(run / "plots" / name) as picture:
            picture.load()
            assert min(picture.size) >= 150


def test_a_report_without_its_data_says_so_and_leaves_out_the_examples(trained_copy, tmp_path):
    _, data, run = trained_copy
    moved = tmp_path / "moved"
    shutil.move(data, moved)
    said = []
    try:
        text = write_report(run, out=tmp_path / "page.html", warn=said.append).read_text()
    finally:
        shutil.move(moved, data)
    assert len(said) == 1 and "no example images" in said[0] and str(data) in said[0]
    assert ">Examples</h3>" not in text and ">Training</h3>" in text


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="so no run with finished epochs"):
        write_report(tmp_path)


def test_a_page_of_several_runs_needs_a_place_and_replaces_none_of_theirs(trained_copy, tmp_path):
    _, _, run = trained_copy
    (run / "report.html").write_text("its own")
    with pytest.raises(ValueError, match="`out` is needed for a page of 2 runs"):
        write_report([run, run])
    assert (run / "report.html").read_text() == "its own"
    page = write_report([run, run], out=tmp_path / "both.html")
    assert page.read_text().count(">Training</h3>") == 2
    with pytest.raises(ValueError, match="`runs` must hold at least one run folder"):
        write_report([])


def test_a_class_of_which_nothing_is_found_has_an_area_of_0_and_one_without_objects_none(
    trained_copy, monkeypatch
):
    task, _, run = trained_copy
    if task != "detect":
        pytest.skip("curves are of detectors")
    found = json.loads((run / "evaluation.json").read_text())
    for row, ap in zip(found["per_class"], (0.0, None)):
        row["AP50"] = ap
    (run / "evaluation.json").write_text(json.dumps(found))
    drawn, draw = [], write.draw_precision_recall
    monkeypatch.setattr(write, "draw_precision_recall", lambda x: drawn.extend(x) or draw(x))
    write_report(run)
    area = {curve["name"]: curve["AP50"] for curve in drawn}
    nothing, absent = (row["name"] for row in found["per_class"][:2])
    assert area[nothing] == 0 and math.isnan(area.get(absent, math.nan))


def test_an_evaluation_without_classes_has_no_section_of_them(tmp_path):
    page = Page("Report")
    found = {"task": "classify", "per_class": [], "confusion": {}, "curves": []}
    write._class_sections(page, found, tmp_path)
    assert "<h3" not in page.render() and not any(tmp_path.iterdir())


def test_an_evaluation_of_the_same_weights_and_split_stands_once_in_the_report(trained_copy):
    _, _, run = trained_copy
    again = run / "eval-val"
    again.mkdir()
    for name in ("evaluation.json", "predictions.json"):
        shutil.copy(run / name, again / name)
    assert write_report(run).read_text().count("On the val split, with the best weights") == 1
    found = json.loads((run / "evaluation.json").read_text())
    (again / "evaluation.json").write_text(json.dumps({**found, "weights": "last"}))
    text = write_report(run).read_text()
    assert "with the best weights" in text and "with the last weights" in text
