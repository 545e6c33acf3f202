import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from .conftest import load_example

example = load_example("dcgan_digits")


class LinearReader:
    """Stands in for a run of `sightline train data=digits`, and reads in milliseconds."""

    class_names = tuple("0123456789")

    def __init__(self):
        pictures, labels = example.real_digits().tensors
        self.model = LogisticRegression(max_iter=200).fit(pictures.flatten(1), labels)

    def predict(self, pictures):
        rows = self.model.predict_proba(np.stack(pictures).reshape(-1, 64) / 127.5 - 1)
        return [SimpleNamespace(label=int(row.argmax()), score=row.max()) for row in rows]


def test_it_learns_to_draw_and_resumes_to_the_same_bits(stopped_and_resumed, monkeypatch):
    reader = LinearReader()
    untrained = example.read_digits(reader, example.draw(example.Generator(), 200))
    monkeypatch.setattr(example.sightline, "load", lambda run: reader)
    run = stopped_and_resumed(example.main, "--epochs", "2", "--classifier", "reader")
    numbers = json.loads((run / "numbers.json").read_text())
    kinds = [sum(count > 0 for count in found["each"]) for found in (untrained, numbers)]
    assert kinds[0] <= 2 and kinds[1] >= 5
    assert numbers["read with confidence above .5"] > 0.4
    samples = np.asarray(Image.open(run / "samples.png"))
    assert samples.shape == (8 * 60, 16 * 60) and samples.min() < 50 and samples.max() == 255


def test_the_same_latents_are_drawn_each_time():
    torch.manual_seed(0)
    generator = example.Generator()
    first = example.draw(generator, 3)
    torch.rand(1)
    assert first.shape == (3, 8, 8) and first.dtype == np.uint8
    assert (example.draw(generator, 3) == first).all()


def test_reading_counts_what_is_sure():
    answers = [(3, 0.9), (3, 0.51), (7, 0.5), (1, 1.0)]
    reader = SimpleNamespace(
        predict=lambda pictures: [SimpleNamespace(label=k, score=s) for k, s in answers]
    )
    found = example.read_digits(reader, np.zeros((4, 8, 8), np.uint8))
    assert found["read with confidence above .5"] == 0.75
    assert found["each"] == [0, 1, 0, 2, 0, 0, 0, 0, 0, 0]


def test_a_folder_without_a_classifier_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main(["--classifier", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and "none: no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_classifier_of_something_else_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        example.sightline, "load", lambda run: SimpleNamespace(class_names=("cat", "dog"))
    )
    with pytest.raises(SystemExit) as stop:
        example.main(["--classifier", "pets", "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and "pets does not classify the digits" in capsys.readouterr().err
