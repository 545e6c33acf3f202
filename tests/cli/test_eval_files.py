"""`sightline eval --gt --dt`: the table of classes and the pictures."""

import json
import re
from pathlib import Path

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


def test_masks_and_keypoints_are_evaluated(words, capsys):
    truth, found = (json.loads(Path(words[i]).read_text()) for i in (2, 4))
    for side in (truth["annotations"], found):
        for row in side:
            x, y, w, h = row["bbox"]
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            row["keypoints"] = [x, y, 2] * 17
            row["num_keypoints"] = 17
    for image in truth["images"]:
        image |= {"height": 40, "width": 80}
    for i, side in ((2, truth), (4, found)):
        Path(words[i]).write_text(json.dumps(side))
    assert main([*words, "--iou-type", "segm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["AP50"] == pytest.approx(
        0.50495, abs=1e-5
    )
    assert main([*words, "--iou-type", "keypoints", "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    assert len(stats) == 10 and stats[1] == pytest.approx(0.50495, abs=1e-5)


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


def test_numbers_are_those_of_pycocotools_or_corrected(words, capsys):
    truth = json.loads(Path(words[2]).read_text())
    truth["annotations"][0]["id"] = 0
    Path(words[2]).write_text(json.dumps(truth))
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["AP50"] == 0, "pycocotools' fault"
    assert (
        captured.err.count("\n") == 1
        and "annotations with id 0: 1 of 2, of image 1" in captured.err
    )
    assert "AP 0.000 and AP50 0.000 are with this fault" in captured.err
    assert captured.err.endswith("(--corrected) gives AP 0.505 and AP50 0.505\n")
    assert main([*words, "--json", "--corrected"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["AP50"] == pytest.approx(0.50495, abs=1e-5)
    assert not captured.err


def test_a_file_of_lvis_is_refused_unless_cocos_rules_are_asked_for(words, capsys):
    truth = json.loads(Path(words[2]).read_text())
    truth["images"][1]["not_exhaustive_category_ids"] = []
    Path(words[2]).write_text(json.dumps(truth))
    for more in ([], ["--corrected"]):
        assert main([*words, *more]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert "is an LVIS file" in captured.err and "--protocol coco" in captured.err
    assert main([*words, "--json", "--protocol", "coco"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["AP50"] == pytest.approx(0.50495, abs=1e-5)
    assert not captured.err
    assert main([*words, "--protocol", "lvis"]) == 2
    assert "`protocol` must be None or 'coco', got 'lvis'" in capsys.readouterr().err


def test_masks_overlap_where_they_are_asked_for(words, capsys):
    square = [[0, 0, 9, 0, 9, 9, 0, 9]]
    truth, found = (json.loads(Path(path).read_text()) for path in (words[2], words[4]))
    for image in truth["images"]:
        image |= {"height": 40, "width": 80}
    for record in [*truth["annotations"], *found]:
        record["segmentation"] = {"size": [40, 80], "counts": [0, 9] + [31, 9] * 8 + [2871]}
    truth["annotations"][0]["segmentation"] = square
    Path(words[2]).write_text(json.dumps(truth))
    Path(words[4]).write_text(json.dumps(found))
    assert main([*words, "--json", "--iou-type", "segm"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["AP50"] == pytest.approx(1)


def test_what_pycocotools_takes_silently_is_a_warning_or_an_error_of_one_line(words, capsys):
    gt, dt = words[2], words[4]
    found = json.loads(Path(dt).read_text())
    found[1]["score"] = float("nan")
    found.append({**found[0], "category_id": 8})
    Path(dt).write_text(json.dumps(found))
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 12
    assert captured.err == (
        f"sightline eval: warning: {dt}: results[1] has score nan: "
        "kept, and NaN sorted last, as in pycocotools\n"
        f"sightline eval: warning: {dt}: 1 results of unknown categories left out, "
        "such as results[2] with category_id 8\n"
    )
    assert main([*words, "--corrected"]) == 2
    said = capsys.readouterr().err
    assert said == f"sightline eval: {dt}: results[1] has score nan, need finite numbers\n"
    Path(gt).write_text('{"images": [{"id": 1}, {"id": 2')
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said == (
        f"sightline eval: {gt}: byte 31 (line 1), images[1]: "
        "expected ',' or '}', found the end of the file\n"
    )
    assert main([*words, "--iou-type", "boxes"]) == 2
    assert "`iou_type` must be one of" in capsys.readouterr().err


def test_a_run_has_its_own_plots(capsys):
    assert main(["eval", "some/run", "--per-class"]) == 2
    assert "for a run they are always written" in capsys.readouterr().err
    for words in (["--corrected"], ["--protocol", "coco"]):
        assert main(["eval", "some/run", *words]) == 2
        assert "--corrected go with --gt and --dt" in capsys.readouterr().err
