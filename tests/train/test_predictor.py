import inspect
import io

import numpy as np
import pytest
import torch
from PIL import Image

import sightline
from sightline.cli import predict
from sightline.data import DataError, read_image
from sightline.models import Postprocess
from sightline.tasks import SCORE_THRESHOLD, Classification, Detections
from sightline.train.checkpoint import save_weights
from sightline.train.predictor import Predictor, weights_file


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no finished epoch in it \(looked for .*best"):
        sightline.load(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "detect" / name / "weights").mkdir(parents=True)
        (tmp_path / "detect" / name / "weights" / "best.safetensors").touch()
    with pytest.raises(FileNotFoundError, match=r"it contains runs: detect/a, detect/b"):
        sightline.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone: no such file or folder"):
        sightline.load(tmp_path / "gone")


def test_weights_of_another_kind_say_what_they_lack(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, {"class_names": []})
    with pytest.raises(ValueError, match=r"lacks model, preprocess, task in its header, so give"):
        sightline.load(tmp_path / "w.safetensors")


def test_only_best_and_last_exist(tmp_path):
    with pytest.raises(ValueError, match="`weights` must be 'best' or 'last', got 'final'"):
        weights_file(tmp_path, "final")


def test_a_picture_is_found_alike_by_every_route(trained, tmp_path):
    task, data, run = trained
    predictor = sightline.load(run.path)
    if task == "detect":
        predictor.model.postprocess = Postprocess(
            score_threshold=0.0
        )  # two epochs teach it no score worth keeping
    rgb = Image.open(next(data.rglob("*.png")))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, deep = tmp_path / "turned.jpg", tmp_path / "deep.png"
    rgb.crop((0, 0, 64, 40)).save(turned, exif=exif)
    Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257).save(deep)
    for path in (turned, deep):
        data = path.read_bytes()
        with Image.open(path) as picture, path.open("rb") as file:
            routes = [path, str(path), data, io.BytesIO(data), file, picture, read_image(path)]
            results = [predictor.predict(route, score_threshold=0) for route in routes]
        for result in results:
            if task == "detect":
                assert len(result)
                np.testing.assert_array_equal(result.boxes, results[0].boxes)
                np.testing.assert_array_equal(result.scores, results[0].scores)
            else:
                np.testing.assert_array_equal(result.probabilities, results[0].probabilities)
    with pytest.raises(TypeError, match=r"a picture is a path, .* got int"):
        predictor.predict(3)


def test_a_folder_is_the_images_in_it_by_name(trained, tmp_path):
    _, data, run = trained
    source = next(data.rglob("*.png"))
    for name in ("b.png", "a.png", "c.PNG", ".hidden.png"):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "inside.png").mkdir()
    predictor = sightline.load(run.path)
    for results in (predictor.predict(tmp_path), list(predictor.predict_each(str(tmp_path)))):
        assert [result.picture.name for result in results] == ["a.png", "b.png", "c.PNG"]
    for result in results:
        assert result.draw().width >= 32 and result.to_dict()["image"] == str(result.picture)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no image in this folder"):
        predictor.predict(tmp_path / "empty")


def test_pictures_of_an_endless_stream_are_predicted_a_batch_at_a_time(trained):
    _, data, run = trained
    predictor = sightline.load(run.path)
    path = next(data.rglob("*.png"))
    taken = []

    def stream():
        while True:
            taken.append(path)
            yield path

    results = predictor.predict_each(stream(), batch_size=4)
    found = [next(results) for _ in range(6)]
    assert len(found) == 6 and len(taken) == 8
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        predictor.predict_each([], batch_size=0)


def test_a_broken_picture_can_be_left_out(trained, tmp_path):
    _, data, run = trained
    path = next(data.rglob("*.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(path.read_bytes()[:50])
    predictor = sightline.load(run.path)
    failed = []
    results = predictor.predict_each(
        [path, broken, path], on_error=lambda *pair: failed.append(pair), batch_size=2
    )
    assert [result.picture for result in results] == [path, path]
    assert [picture for picture, _ in failed] == [broken]
    with pytest.raises(DataError, match=r"broken\.png: cannot decode"):
        predictor.predict([path, broken])


def test_lists_give_lists(trained):
    task, data, run = trained
    predictor = sightline.load(run.path)
    path = next(data.rglob("*.png"))
    assert predictor.predict([]) == [] and len(predictor.predict((path,))) == 1
    kind = Detections if task == "detect" else Classification
    assert isinstance(predictor.predict(path), kind)
    with path.open("rb") as file:
        assert predictor.predict(file).draw().width >= 32, "drawn after the file was read"


def test_python_and_the_command_line_have_one_default_threshold():
    for method in (Predictor.predict, Predictor.predict_each):
        default = inspect.signature(method).parameters["score_threshold"].default
        assert default == SCORE_THRESHOLD
    text = f"{SCORE_THRESHOLD:g}"
    assert f"0 to 1; {text} by default" in predict.__doc__
    assert f"[score_threshold={text}]" in predict.__doc__
    assert f"in [0, 1]; {text} by default" in Predictor.predict.__doc__
