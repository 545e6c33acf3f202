"""`sightline eval --gt --dt`: the table of classes and the pictures."""

import json
import re

import pytest

from sightline.cli import main


@pytest.fixture
def words(tmp_path):
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 7,
                "bbox": [0, 0, 9, 9],
                "area": 81,
                "iscrowd": 0,
            }
            for i in (1, 2)
        ],
    }
    found = [
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "score": 0.9},
        {"image_id": 2, "category_id": 7, "bbox": [50, 0, 9, 9], "score": 0.5},
    ]
    gt, dt = tmp_path / "gt.json", tmp_path / "dt.json"
    gt.write_text(json.dumps(truth))
    dt.write_text(json.dumps(found))
    return ["eval", "--gt", str(gt), "--dt", str(dt)]


def test_the_table_of_classes_follows_the_twelve_numbers(words, capsys):
    assert main([*words, "--per-class"]) == 0
    table = capsys.readouterr().out.splitlines()[12:]
    columns = ["class", "objects", "detections", "AP", "AP50", "AP75", "AR", "F1", "at score"]
    assert re.split(r"\s{2,}", table[1]) == columns
    assert table[2].split() == ["cat", "2", "2", *["0.5050"] * 3, "0.5000", "0.6667", "0.9000"]
    assert table[3].split() == ["dog", "0", "0", *["-"] * 6]


def test_plots_are_written_and_named(words, tmp_path, capsys):
    folder = tmp_path / "plots"
    assert main([*words, f"--plots={folder}"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote ")]
    assert sorted(said) == sorted(f"wrote {path}" for path in folder.iterdir()) and len(said) == 5


def test_json_stays_one_object_beside_plots(words, tmp_path, capsys):
    assert main([*words, "--json", "--plots", str(tmp_path / "plots")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["AP50"] == pytest.approx(0.50495, abs=1e-5)
    assert found["per_class"][1]["ap"] is None


def test_a_run_has_its_own_plots(capsys):
    assert main(["eval", "some/run", "--per-class"]) == 2
    assert "of a run they are always there" in capsys.readouterr().err
