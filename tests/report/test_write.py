import shutil

import pytest
from PIL import Image

from sightline.report import write_report


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
    assert len(said) == 1 and "no example pictures" in said[0] and str(data) in said[0]
    assert ">Examples</h3>" not in text and ">Training</h3>" in text


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no run with finished epochs"):
        write_report(tmp_path)
