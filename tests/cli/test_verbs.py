"""The commands from end to end, on data sets that train in a second."""

import json

import numpy as np
import pytest
from PIL import Image

from sightline.cli import main

from ..tiny import write_colours
from ..trained import WRITE, quick_words


def test_train_prints_where_everything_lies(tmp_path, capsys):
    data = write_colours(tmp_path / "data")
    words = [f"data={data}", *quick_words("classify"), f"out={tmp_path / 'runs'}"]
    assert main(["train", *words]) == 0
    out = capsys.readouterr().out
    run = tmp_path / "runs" / "classify" / "train"
    assert f"report   {run / 'report.html'}" in out and (run / "report.html").is_file()
    for part in ("model    resnet20", "classes  green", "epoch 2/2", "train.epochs=2", "cli"):
        assert part in out, part
    # A second run of the same name gets a folder of its own.
    assert main(["train", *words, "--quiet"]) == 0
    assert (run.parent / "train-2" / "report.html").is_file()


def test_resume_of_a_finished_run_changes_nothing(trained_copy, capsys):
    _, _, run = trained_copy
    before = (run / "weights" / "last.state.pt").read_bytes()
    assert main(["train", f"resume={run}"]) == 0
    assert (run / "weights" / "last.state.pt").read_bytes() == before
    assert "report" in capsys.readouterr().out


def test_eval_writes_metrics_and_predictions(trained_copy, capsys):
    task, data, run = trained_copy
    split = "test" if task == "detect" else "val"
    assert main(["eval", str(run), f"data={data}", f"split={split}", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    name = "AP50" if task == "detect" else "accuracy"
    folder = run / f"eval-{split}"
    saved = json.loads((folder / "evaluation.json").read_text())
    assert metrics["split"] == split and metrics[name] == saved["metrics"][name]
    assert main(["eval", str(run), "weights=last", f"split={split}"]) == 0
    out = capsys.readouterr().out
    assert "weights last" in out and "green" in out and name in out
    page = (run / "report.html").read_text()
    assert f"On the {split} split, with the last weights" in page


@pytest.mark.parametrize("trained", ["detect"], indirect=True)
def test_eval_of_predictions_equals_eval_of_the_run(trained_copy, tmp_path, capsys):
    _, data, run = trained_copy
    assert main(["eval", str(run), "split=test", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["coco_stats"]
    truth = coco_truth(data, "test")
    detections = json.loads((run / "eval-test" / "predictions.json").read_text())
    numbers = {image["file_name"]: image["id"] for image in truth["images"]}
    for row in detections:
        row["image_id"] = numbers[row["image_id"].rsplit("/", 1)[-1].removesuffix(".png")]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(detections))
    words = ["--gt", str(tmp_path / "gt.json"), "--dt", str(tmp_path / "dt.json"), "--json"]
    assert main(["eval", *words]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    np.testing.assert_allclose(stats, expected, atol=1e-12)


def coco_truth(data, split):
    images, annotations = [], []
    for path in sorted((data / "labels" / split).glob("*.txt")):
        images.append({"id": len(images), "file_name": path.stem, "width": 64, "height": 64})
        for line in path.read_text().splitlines():
            label, x, y, w, h = map(float, line.split())
            box = [(x - w / 2) * 64, (y - h / 2) * 64, w * 64, h * 64]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images) - 1,
                    "category_id": int(label),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def test_predict_writes_pictures_and_a_list(trained_copy, tmp_path, capsys):
    task, data, run = trained_copy
    folder = data / ("images/val" if task == "detect" else "red")
    words = [str(run), str(folder), f"out={tmp_path / 'out'}", "score_threshold=0.01"]
    assert main(["predict", *words]) == 0
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(rows) == len(list(folder.glob("*.png")))
    for row in rows:
        with Image.open(tmp_path / "out" / row["picture"]) as picture:
            picture.load()
        if task == "detect":
            assert all(d["score"] >= 0.01 and len(d["box"]) == 4 for d in row["detections"])
        else:
            assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert f"results  {tmp_path / 'out'}" in capsys.readouterr().out


def test_predict_keeps_pictures_of_one_name_apart(trained_copy, tmp_path):
    _, data, run = trained_copy
    source = next(data.rglob("*.png"))
    copies = [tmp_path / "a" / "same.png", tmp_path / "b" / "same.png"]
    for copy in copies:
        copy.parent.mkdir()
        copy.write_bytes(source.read_bytes())
    assert main(["predict", str(run), *map(str, copies), f"out={tmp_path / 'out'}"]) == 0
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {"same.png", "same-2.png"}


def test_a_corrupt_picture_is_named(trained_copy, tmp_path, capsys):
    _, _, run = trained_copy
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff not a picture")
    assert main(["predict", str(run), str(broken), f"out={tmp_path / 'out'}"]) == 2
    assert str(broken) in capsys.readouterr().err


def test_eval_on_another_data_set_shows_the_pictures_of_that_one(trained_copy, tmp_path, capsys):
    task, _, run = trained_copy
    other = WRITE[task](tmp_path / "other")
    assert main(["eval", str(run), f"data={other}"]) == 0
    assert "warning" not in capsys.readouterr().out
    saved = json.loads((run / "eval-val" / "evaluation.json").read_text())
    assert saved["data"] == str(other)
    assert (run / "eval-val" / "plots" / "predictions.png").is_file()


def test_evaluation_against_another_task_is_refused(trained_copy, tmp_path, capsys):
    task, _, run = trained_copy
    other = {"detect": "classify", "classify": "detect"}[task]
    data = WRITE[other](tmp_path / "data")
    assert main(["eval", str(run), f"data={data}"]) == 2
    assert f"the model is for {task}" in capsys.readouterr().err
