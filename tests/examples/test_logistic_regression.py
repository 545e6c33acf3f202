import json

import numpy as np
import pytest
from PIL import Image

from .conftest import load_example

example = load_example("logistic_regression")


def test_it_reaches_the_loss_of_scikit_learn_and_resumes_to_the_same_bits(
    stopped_and_resumed, capsys
):
    run = stopped_and_resumed(example.main, "--epochs", "6")
    numbers = json.loads((run / "numbers.json").read_text())
    assert numbers["L-BFGS"] == pytest.approx(numbers["scikit-learn"], abs=1e-3)
    assert 0.1 < numbers["scikit-learn"] < 0.3
    assert np.asarray(Image.open(run / "weights.png")).std() > 5
    assert "continue with --resume" in capsys.readouterr().out


def test_the_loss_is_that_of_scikit_learn():
    # At weights 0 every class has probability .1; with one weight 2 of one pixel that is 1 and
    # another 0 the penalty is 4 / (2 * 4).
    torch = example.torch
    model = example.nn.Linear(2, 10, dtype=torch.float64)
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    pixels, labels = torch.tensor([[0.0, 1.0]] * 4, dtype=torch.float64), torch.arange(4)
    terms, logits = example.regularised(model, pixels, labels, count=4)
    assert logits.shape == (4, 10)
    assert terms["cross_entropy"].item() == pytest.approx(np.log(10)) and terms["penalty"] == 0
    model.weight[3, 0] = 2
    terms, _ = example.regularised(model, pixels, labels, count=4)
    assert terms["cross_entropy"].item() == pytest.approx(np.log(10)) and terms["penalty"] == 0.5


def test_a_run_that_is_there_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "results.csv").touch()
    with pytest.raises(SystemExit) as stop:
        example.main(["--out", str(tmp_path)])
    assert stop.value.code == 2 and "already holds a run" in capsys.readouterr().err
