import errno
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sightline import _files as files
from sightline.train import fit, load_state, load_weights, save_state, save_weights
from sightline.train.checkpoint import random_state, set_random_state

from .test_files import full_disk_open
from .toy import ToyClassifier, toy_run


def test_weights_come_back_with_their_metadata(tmp_path):
    model = ToyClassifier()
    save_weights(tmp_path / "w.safetensors", model.state_dict(), {"class_names": ["a", "ü"]})
    weights, metadata = load_weights(tmp_path / "w.safetensors")
    assert metadata == {"class_names": ["a", "ü"]}
    assert weights.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(weights[name], value) and weights[name].dtype == value.dtype


def test_tied_and_strided_weights_are_saved(tmp_path):
    matrix = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "w.safetensors", {"a": matrix, "b": matrix, "c": matrix.T})
    weights, _ = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(weights["c"], matrix.T) and torch.equal(weights["a"], weights["b"])


def test_state_loads_without_running_code(tmp_path):
    fit(**toy_run(1), out=tmp_path)
    state = torch.load(tmp_path / "weights" / "last.state.pt", weights_only=True)
    assert state["epoch"] == 1 and {"model", "ema", "optimizer", "best"} <= state["parts"].keys()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="file is damaged or not a training state"):
        load_state(path)
    with pytest.raises(ValueError, match="file is not a safetensors file"):
        load_weights(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.7, 0.97])
def test_one_flipped_bit_is_noticed(tmp_path, part):
    save_state(tmp_path / "state", {"a": torch.arange(500.0), "epoch": 3})
    save_weights(tmp_path / "weights", {"a": torch.arange(500.0)}, {"names": ['"sha256":"']})
    for name, load in (("state", load_state), ("weights", load_weights)):
        path = tmp_path / name
        load(path)
        content = bytearray(path.read_bytes())
        content[int(part * len(content))] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged: its checksum does not match"):
            load(path)


def test_files_without_a_checksum_still_load(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "state")
    assert load_state(tmp_path / "state") == {"epoch": 3}
    save_file({"a": torch.ones(2)}, tmp_path / "weights")
    assert torch.equal(load_weights(tmp_path / "weights")[0]["a"], torch.ones(2))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing to resume from: no .*gone"):
        load_state(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"no weights file .*gone"):
        load_weights(tmp_path / "gone")


def test_random_state_repeats_all_three_generators(tmp_path):
    np.random.standard_normal()  # noqa: NPY002  (leaves a cached second normal behind)
    save_state(tmp_path / "s", random_state())

    def draw():
        return random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist()  # noqa: NPY002

    first = draw()
    set_random_state(load_state(tmp_path / "s"))
    assert draw() == first


def test_a_disk_that_fills_up_during_training_keeps_the_last_saved_epoch(tmp_path, monkeypatch):
    fit(**toy_run(), out=tmp_path / "whole")

    def fill(row, model):
        if row["epoch"] == 3:
            monkeypatch.setattr(files, "open", full_disk_open, raising=False)

    with pytest.raises(OSError, match="No space left on device") as error:
        fit(**toy_run(), out=tmp_path / "parts", on_epoch_end=[fill])
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert load_state(tmp_path / "parts" / "weights" / "last.state.pt")["epoch"] == 2
    fit(**toy_run(seed=8), out=tmp_path / "parts", resume=True)
    weights = [
        load_weights(tmp_path / n / "weights" / "last.safetensors")[0] for n in ("whole", "parts")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
