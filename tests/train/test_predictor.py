import io

import numpy as np
import pytest
import torch
from PIL import Image

import sightline
from sightline.data import read_image
from sightline.train.checkpoint import save_weights
from sightline.train.predictor import weights_file


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no finished epoch in it \(looked for .*best"):
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
        predictor.model.score_threshold = 0.0  # two epochs teach it no score worth keeping
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
