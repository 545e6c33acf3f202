"""The commands from end to end, on data sets that train in a second."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.cli import main
from sightline.cli.predict import picture_files
from sightline.data import DataError
from sightline.train.predictor import Predictor

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


@pytest.mark.parametrize("trained", ["detect"], indirect=True)
def test_eval_matches_classes_by_name_and_refuses_a_set_of_others(trained_copy, tmp_path, capsys):
    _, data, run = trained_copy
    words = ["eval", str(run), "--json", f"out={tmp_path / 'out'}"]
    assert main(words) == 0
    expected = json.loads(capsys.readouterr().out)
    other = Path(shutil.copytree(data, tmp_path / "other"))
    listing = other / "data.yaml"
    listing.write_text(listing.read_text().replace("red, green", "blue, red, green"))
    for path in (other / "labels").rglob("*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{int(line[0]) + 1}{line[1:]}\n" for line in lines))
    assert main([*words, f"data={other}"]) == 0  # no object is blue
    assert json.loads(capsys.readouterr().out) == expected
    listing.write_text(listing.read_text().replace("blue, red, green", "blue, cat, dog"))
    assert main([*words, f"data={other}"]) == 2
    said = capsys.readouterr().err
    assert "the model knows 2 classes, red, green;" in said
    assert "has 3, blue, cat, dog, with labels of classes" in said


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
            own = (64, 64) if task == "detect" else (picture.width, picture.height)
            assert picture.size == own
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


def test_a_broken_picture_is_named_and_the_rest_is_done(trained_copy, tmp_path, capsys):
    _, data, run = trained_copy
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(next(data.rglob("*.png")).read_bytes())
    broken = folder / "b.jpg"
    broken.write_bytes(b"\xff\xd8\xff not a picture")
    out = tmp_path / "out"
    assert main(["predict", str(run), str(folder), f"out={out}"]) == 2
    said = capsys.readouterr()
    assert f"{broken}: not a readable image" in said.err
    assert "1 of 3 images could not be read" in said.err and f"results  {out}" in said.out
    rows = json.loads((out / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [str(folder / n) for n in ("a.png", "b.jpg", "c.png")]
    assert rows[1].keys() == {"image", "error"} and "not a readable" in rows[1]["error"]
    assert {path.name for path in out.iterdir()} == {"a.png", "c.png", "predictions.json"}


def test_ctrl_c_keeps_what_was_found(trained_copy, tmp_path, monkeypatch, capsys):
    _, data, run = trained_copy
    paths = sorted(data.rglob("*.png"))[:3]
    saved = Predictor.predict
    calls = []

    def interrupted(self, *arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return saved(self, *arguments, **options)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    out = tmp_path / "out"
    assert main(["predict", str(run), *map(str, paths), f"out={out}"]) == 130
    rows = json.loads((out / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [str(path) for path in paths[:2]]


def test_a_folder_of_results_is_not_written_over(trained_copy, tmp_path, capsys):
    _, data, run = trained_copy
    before = (run / "predictions.json").read_bytes()
    assert main(["predict", str(run), str(next(data.rglob("*.png"))), f"out={run}"]) == 2
    assert "already holds a predictions.json: choose another out=" in capsys.readouterr().err
    assert (run / "predictions.json").read_bytes() == before


def test_patterns_are_expanded_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p/a.jpg", "p/b.png", "p/notes.txt", "p/q/c.jpg", "p/a[1]*.jpg", "p/a1.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def names(*words):
        return [path.as_posix() for path in picture_files(words)]

    assert names("p/[ab].*") == ["p/a.jpg", "p/b.png"]
    assert names("p/**/*.jpg") == ["p/a.jpg", "p/a1.jpg", "p/a[1]*.jpg", "p/q/c.jpg"]
    assert names("p/a[1]*.jpg") == ["p/a[1]*.jpg"], "a file of that very name"
    assert names("p/*") == ["p/a.jpg", "p/a1.jpg", "p/a[1]*.jpg", "p/b.png"]
    assert names("p/q", "p/b.png") == ["p/q/c.jpg", "p/b.png"]
    with pytest.raises(
        DataError, match=r"p/\*\.bmp: no such image or folder, and no image matches"
    ):
        names("p/*.bmp")


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


def write_curve(run, scores, precision, recall, *, weights="best", path="evaluation.json"):
    found = json.loads((run / "evaluation.json").read_text())
    found |= {"weights": weights}
    found["score_curve"] = {"scores": scores, "precision": precision, "recall": recall}
    (run / path).parent.mkdir(exist_ok=True)
    (run / path).write_text(json.dumps(found))


@pytest.mark.parametrize("trained", ["detect"], indirect=True)
def test_predict_takes_the_threshold_of_a_recall_on_the_validation_split(
    trained_copy, monkeypatch, capsys
):
    _, data, run = trained_copy
    picture = str(next(data.rglob("*.png")))
    curve = json.loads((run / "evaluation.json").read_text())["score_curve"]
    assert curve.keys() == {"scores", "precision", "recall"}
    write_curve(run, [0.6, 0.02], [1.0, 0.4], [0.5, 0.9])
    words = ["predict", str(run), picture]
    thresholds = []
    predict = Predictor.predict

    def noted(self, *arguments, score_threshold):
        thresholds.append(score_threshold)
        return predict(self, *arguments, score_threshold=score_threshold)

    monkeypatch.setattr(Predictor, "predict", noted)
    assert main([*words, "recall=.9"]) == 0
    assert "score threshold 0.02: recall 0.900, precision 0.400" in capsys.readouterr().out
    assert main([*words, "precision=.9"]) == 0
    assert "score threshold 0.6: recall 0.500, precision 1.000" in capsys.readouterr().out
    assert thresholds == [0.02, 0.6]
    for options, message in (
        (["recall=.95"], "no score threshold reaches a recall of 0.95: the highest is 0.9"),
        (["recall=.9", "score_threshold=.1"], "give only one of score_threshold and recall"),
        (["recall=90"], "recall must be in [0, 1], got 90"),
        (["recall=.9", "weights=last"], f"run `sightline eval {run} weights=last`"),
    ):
        assert main([*words, *options]) == 2
        assert message in capsys.readouterr().err
    write_curve(run, [0.3], [1.0], [1.0], weights="last", path="eval-val/evaluation.json")
    for source in ([str(run), "weights=last"], [str(run / "weights" / "last.safetensors")]):
        assert main(["predict", *source, picture, "recall=.9"]) == 0
        assert "score threshold 0.3" in capsys.readouterr().out
    assert main(["eval", str(run), "weights=last"]) == 0
    found = json.loads((run / "eval-val" / "evaluation.json").read_text())
    assert found["weights"] == "last" and found["score_curve"].keys() == curve.keys()


@pytest.mark.parametrize("trained", ["classify"], indirect=True)
def test_a_recall_is_asked_of_detectors_alone(trained_copy, capsys):
    _, data, run = trained_copy
    assert main(["predict", str(run), str(next(data.rglob("*.png"))), "recall=.9"]) == 2
    assert (
        "is the run of a classifier: only detections have a score threshold"
        in capsys.readouterr().err
    )
