import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sightline
from sightline.cli import main
from sightline.settings.groups import SettingsError
from sightline.settings.read import config_layer, override_layer
from sightline.train.checkpoint import load_weights
from sightline.train.header import print_header
from sightline.train.log import Log
from sightline.train.prepare import prepare
from sightline.train.run_dir import RunDir
from sightline.train.session import resume_run, train_from_settings

from ..tiny import write_colours, write_squares
from ..trained import QUICK, train_quickly


def test_a_run_folder_holds_all_that_a_run_is(trained):
    task, _, run = trained
    names = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml",
        "data.json",
        "env.json",
        "events.jsonl",
        "results.csv",
        "evaluation.json",
        "predictions.json",
        "weights/best.safetensors",
        "weights/last.safetensors",
        "weights/last.state.pt",
        "weights/previous.state.pt",
    }
    assert run.evaluation.task == task and len(run.history.rows) == 2
    env = json.loads((run.path / "env.json").read_text())
    assert env["packages"]["torch"] == torch.__version__
    assert len(env["data"]["train"]) == 64


def test_task_size_and_classes_come_from_the_data(trained):
    task, _, run = trained
    _, metadata = load_weights(run.path / "weights" / "best.safetensors")
    assert metadata["task"] == task and set(metadata["class_names"]) == {"red", "green"}
    options = metadata["model"]["options"]
    assert options["in_channels"] == 3
    if task == "detect":
        widths = [pair[0] for level in options["anchors"] for pair in level]
        assert len(widths) >= 3 and all(10 < width < 34 for width in widths)


def test_final_metrics_are_those_of_the_best_epoch(trained):
    _, _, run = trained
    best = run.history.rows[run.history.best_epoch - 1]
    for name, value in run.evaluation.metrics.items():
        if f"val/{name}" in best:
            assert value == pytest.approx(best[f"val/{name}"], abs=1e-6, nan_ok=True), name


def test_a_run_predicts_with_nothing_but_its_folder(trained, tmp_path):
    task, data, run = trained
    data_elsewhere = next(data.rglob("*.png"))
    predictor = sightline.load(run.path)
    array = np.asarray(Image.open(data_elsewhere))
    results = predictor.predict([data_elsewhere, array, Image.open(data_elsewhere)])
    for result in results:
        if task == "detect":
            np.testing.assert_array_equal(result.boxes, results[0].boxes)
            assert result.boxes.shape == (len(result), 4) and result.boxes.dtype == np.float64
            assert (result.boxes >= 0).all() and (result.boxes <= 64).all()
            assert set(result.names) <= {"red", "green"}
        else:
            assert result.name in ("red", "green")
            assert result.probabilities.sum() == pytest.approx(1)
            assert result.score == result.probabilities.max() == results[0].score
    from_file = sightline.load(run.path / "weights" / "last.safetensors")
    assert from_file.class_names == predictor.class_names


def test_config_runs_again_to_the_same_bits(trained, tmp_path):
    _, _, run = trained
    again = train_from_settings(
        [config_layer(run.path)], log=Log(quiet=True), out=tmp_path / "again"
    )
    assert_same_weights(run.path, again.path)


def test_a_stopped_run_is_resumed_from_its_folder_to_the_same_bits(trained, tmp_path, monkeypatch):
    task, data, run = trained
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "save_epoch", stopping_after(1))
        stopped = train_quickly(data, task, out=tmp_path / "run")
    assert stopped.history.stopped == "interrupted" and stopped.evaluation is None
    finished = resume_run(stopped.path, log=Log(quiet=True))
    assert len(finished.history.rows) == 2 and finished.evaluation is not None
    assert_same_weights(run.path, finished.path)


def stopping_after(last):
    """`RunDir.save_epoch` of a process that gets Ctrl-C right after epoch `last` is saved."""
    save = RunDir.save_epoch

    def call(self, epoch, *arguments, **options):
        save(self, epoch, *arguments, **options)
        if epoch == last:
            raise KeyboardInterrupt

    return call


def assert_same_weights(first, second):
    for name in ("best", "last"):
        one, _ = load_weights(first / "weights" / f"{name}.safetensors")
        two, _ = load_weights(second / "weights" / f"{name}.safetensors")
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name


def test_resume_refuses_data_that_changed(trained_copy, tmp_path):
    task, data, run = trained_copy
    moved = Path(shutil.copytree(data, tmp_path / "data"))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(data), str(moved)))
    resume_run(run, log=Log(quiet=True))  # a copy of the data set is the same data set
    picture = next(moved.rglob({"detect": "train0.png", "classify": "red0.png"}[task]))
    Image.new("RGB", (32, 32) if task == "classify" else (64, 64)).save(picture)
    said = rf"is not what .* was trained on: in the .* split another picture in .*{picture.name}"
    with pytest.raises(ValueError, match=said):
        resume_run(run, log=Log(quiet=True))


def test_resume_refuses_settings_that_were_edited_and_names_them(trained_copy):
    _, _, run = trained_copy
    config = run / "config.yaml"
    edited = config.read_text().replace("batch_size: 4", "batch_size: 8")
    config.write_text(edited.replace("weight_decay: 0.05", "weight_decay: 0.5"))
    said = r"data.batch_size is 8, the state was trained with 4; optimizer.weight_decay is 0.5"
    with pytest.raises(ValueError, match=said):
        resume_run(run, log=Log(quiet=True))
    # What changes no bit is free.
    config.write_text(edited.replace("batch_size: 8", "batch_size: 4").replace("mb: 2048", "mb: 0"))
    resume_run(run, log=Log(quiet=True))


def test_a_run_goes_on_from_the_epoch_before_its_last(trained, tmp_path):
    _, _, run = trained
    again = Path(shutil.copytree(run.path, tmp_path / "run"))
    (again / "weights" / "last.state.pt").write_bytes(b"damaged")
    finished = resume_run(again / "weights" / "previous.state.pt", log=Log(quiet=True))
    assert len(finished.history.rows) == 2
    assert_same_weights(run.path, again)


def test_training_without_validation_keeps_the_last_weights(tmp_path):
    data = write_squares(tmp_path / "data")
    run = train_quickly(data, "detect", out=tmp_path / "run", epochs=1, val_split=None)
    assert run.evaluation is None and run.history.monitor == "train/loss"
    assert_same_best_and_last(run.path)


def assert_same_best_and_last(path):
    best, _ = load_weights(path / "weights" / "best.safetensors")
    last, _ = load_weights(path / "weights" / "last.safetensors")
    assert all(torch.equal(best[key], last[key]) for key in best)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model=resnet20", "model resnet20 does not detect"),
        (
            "model=light_detectr",
            r"model light_detectr: unknown model 'light_detectr'; did you mean 'light_detector'",
        ),
        ("model.options.widht=3", r"model light_detector with options .*widht"),
        ("task=classify", r"train.task is classify, but the labels of .* are for detect"),
        ("task=detct", "train.task must be one of .*, got 'detct'; did you mean detect?"),
        ("preset=digit", "train.preset must be one of .*got 'digit'; did you mean digits"),
        ("device=cuda:9", "train.device is cuda:9, but torch .* sees 0 CUDA devices"),
        ("device=tpu", "train.device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("amp=fp16", "train.amp: amp='fp16' needs a GPU"),
        (
            "monitor=val/AP5",
            "train.monitor must be one of val/AP.*'val/AP5'; did you mean val/AP50",
        ),
        ("monitor=speed", "train.monitor: cannot tell whether a larger 'speed' is better"),
        ("monitor=AP50", r"train.monitor: cannot tell .*; did you mean 'val/AP50'"),
    ],
)
def test_what_cannot_be_trained_is_named_before_anything_is_written(tmp_path, word, message):
    if "cuda" in word and torch.cuda.device_count() > 9:
        pytest.skip("this machine has that many GPUs")
    data = write_squares(tmp_path / "data")
    key, value = word.split("=")
    layer = override_layer({"data": str(data), "epochs": 1, key: value})
    with pytest.raises(SettingsError, match=message):
        train_from_settings([layer], log=Log(quiet=True), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_detector_on_class_folders_is_refused_before_anything_is_written(tmp_path):
    data = write_colours(tmp_path / "data")
    layer = override_layer({"data": str(data), "epochs": 1, "model": "light_detector"})
    said = "model light_detector detects, and the labels of .* are classes without boxes"
    with pytest.raises(SettingsError, match=said):
        train_from_settings([layer], log=Log(quiet=True), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_column_without_validation_is_refused(tmp_path):
    data = write_squares(tmp_path / "data")
    with pytest.raises(SettingsError, match=r"is val/AP50, but data.val_split is none"):
        train_quickly(data, "detect", out=tmp_path / "run", val_split="none", monitor="val/AP50")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("monitor", [None, "val/AP"])
def test_a_val_split_without_objects_ends_with_weights(tmp_path, capsys, monitor):
    data = write_squares(tmp_path / "data")
    for file in (data / "labels" / "val").iterdir():
        file.write_text("")
    said = io.StringIO()
    words = {"data": str(data), **QUICK["detect"], "monitor": monitor, "patience": 1}
    run = train_from_settings([override_layer(words)], log=Log(said), out=tmp_path / "run")
    warning, *lines = said.getvalue().splitlines()
    assert warning.startswith("warning: no picture of the val split has an object, so val/AP")
    assert "chosen by val/loss" in warning and any("AP50 -" in line for line in lines)
    assert run.history.monitor == "val/loss" and run.history.best_epoch in (1, 2)
    assert np.isnan(run.evaluation.metrics["AP"])
    assert sightline.load(run.path).predict(next(data.rglob("*.png"))) is not None
    assert resume_run(run.path, log=Log(quiet=True)).history.monitor == "val/loss"
    assert main(["eval", str(run.path), f"out={tmp_path / 'eval'}"]) == 0
    shown = capsys.readouterr().out
    assert "AP50             -\n" in shown and "has an object of this class" in shown


def test_header_lists_only_what_differs_from_the_defaults(trained):
    _, _, run = trained
    said = io.StringIO()
    prepared = prepare([config_layer(run.path)], log=Log(quiet=True))
    print_header(prepared, run.path, Log(said))
    listed = said.getvalue().split("by where they come from:\n")[1]
    assert listed.startswith("  config ") and " train.epochs=2" in listed
    for default in ("train.seed", "optimizer.name", "data.workers", "data.resize"):
        assert default not in listed


def test_no_data_set_says_what_to_give():
    with pytest.raises(SettingsError, match="no data set: give data=<folder>"):
        train_from_settings([], log=Log(quiet=True))
