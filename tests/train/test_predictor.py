import pytest
import torch

import sightline
from sightline.train.checkpoint import save_weights
from sightline.train.predictor import weights_file


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no finished epoch in it \(looked for .*best"):
        sightline.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone: no such file or folder"):
        sightline.load(tmp_path / "gone")


def test_weights_of_another_kind_say_what_they_lack(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, {"class_names": []})
    with pytest.raises(ValueError, match=r"lacks model, preprocess, task in its header"):
        sightline.load(tmp_path / "w.safetensors")


def test_only_best_and_last_exist(tmp_path):
    with pytest.raises(ValueError, match="`weights` must be 'best' or 'last', got 'final'"):
        weights_file(tmp_path, "final")
