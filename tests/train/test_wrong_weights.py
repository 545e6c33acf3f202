import pytest
import torch
from torch import nn

import sightline
from sightline.cli import main
from sightline.train import fit, load_weights, save_weights

from .toy import toy_run


def change(run, **tensors):
    """Write other tensors into the best weights of a run; None takes one out."""
    path = run / "weights" / "best.safetensors"
    weights, metadata = load_weights(path)
    weights = {k: v for k, v in {**weights, **tensors}.items() if v is not None}
    save_weights(path, weights, metadata)
    return path


@pytest.mark.parametrize("trained", ["classify"], indirect=True)
def test_weights_of_another_model_are_one_line_with_the_file(trained_copy, capsys):
    _, data, run = trained_copy
    names = list(load_weights(run / "weights" / "best.safetensors")[0])
    picture = str(next(data.rglob("*.png")))
    path = change(run, **{names[0]: None, "other": torch.ones(1), names[-1]: torch.ones(5)})
    assert main(["predict", str(run), picture]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path} holds weights of another model than ResNet: 1 of its" in line
    assert f"missing ({names[0]}), 1 unknown to it (other)" in line
    assert f"1 of another shape ({names[-1]} [5] for [" in line


@pytest.mark.parametrize("trained", ["detect"], indirect=True)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(trained_copy, value):
    _, _, run = trained_copy
    weights, _ = load_weights(run / "weights" / "best.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    change(run, **{name: torch.full_like(weights[name], value)})
    with pytest.raises(ValueError, match=rf"best\.safetensors cannot be used: 1 of .*{name}"):
        sightline.load(run)


def test_an_infinite_buffer_is_no_damage(tmp_path):
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    save_weights(tmp_path / "w", model)
    load_weights(tmp_path / "w", model)


def test_a_state_of_another_model_says_what_differs(tmp_path):
    fit(**toy_run(1), out=tmp_path)
    run = toy_run(2)
    run["model"].head = nn.Linear(16, 4)
    with pytest.raises(ValueError, match=r"head\.weight \[3, 16\] for \[4, 16\]"):
        fit(**run, out=tmp_path, resume=True)
