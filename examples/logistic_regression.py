"""Fit logistic regression to the digits with L-BFGS.

The loss is that of scikit-learn's `LogisticRegression(C=1)`: the mean cross-entropy of N digits
plus |weights|^2 / (2 N), without a penalty on the biases. `ClosureStep` lets `sightline.train.fit`
use an optimizer that evaluates the loss of a batch several times. Here one batch is the whole
training set.

    python examples/logistic_regression.py     takes seconds
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sightline.data import load_digits_classification
from sightline.metrics import AccuracyEvaluator
from sightline.train import ClosureStep, fit


def digits():
    """Training and validation set: pixels [N, 64] in [0, 1], float64, and labels [N]."""
    for annotations in load_digits_classification():
        pixels = np.stack([record.image.reshape(64) / 255 for record in annotations.records])
        labels = np.concatenate([record.labels for record in annotations.records])
        yield TensorDataset(torch.tensor(pixels), torch.tensor(labels))


def regularised(model, pixels, labels, count):
    """The loss in two terms, and the logits."""
    logits = model(pixels)
    terms = {
        "cross_entropy": F.cross_entropy(logits, labels),
        "penalty": model.weight.square().sum() / (2 * count),
    }
    return terms, logits


def fit_sklearn(train):
    """A model with the weights that scikit-learn finds."""
    pixels, labels = (tensor.numpy() for tensor in train.tensors)
    found = LogisticRegression(C=1, tol=1e-8, max_iter=10_000).fit(pixels, labels)
    model = nn.Linear(64, 10, dtype=torch.float64)
    model.load_state_dict(
        {"weight": torch.tensor(found.coef_), "bias": torch.tensor(found.intercept_)}
    )
    return model


def draw_weights(model, path):
    """Draw the weights of each class as an image: red where ink supports the class, else blue."""
    weights = model.weight.detach().numpy().reshape(10, 8, 8)
    limit = abs(weights).max()
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    for digit, axes in enumerate(figure.subplots(2, 5).flat):
        axes.imshow(weights[digit], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(title=str(digit), xticks=[], yticks=[])
    figure.savefig(path)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/logistic"), help="run folder (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--epochs", type=int, default=12, help="epochs of 10 iterations (default: %(default)s)"
    )
    options = parser.parse_args(words)

    train, val = digits()
    model = nn.Linear(64, 10, dtype=torch.float64)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)

    def terms(model, pixels, labels):
        return regularised(model, pixels, labels, len(train))

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=10, line_search_fn="strong_wolfe")
    try:
        history = fit(
            ClosureStep(model, optimizer, terms=terms),
            DataLoader(train, batch_size=len(train)),
            val_loader=DataLoader(val, batch_size=len(val)),
            metric=AccuracyEvaluator(),
            epochs=options.epochs,
            out=options.out,
            resume=options.resume,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if history.stopped:
        print(f"continue with --resume --out {options.out}")
        return 130

    @torch.no_grad()
    def loss(model):
        return sum(terms(model, *train.tensors)[0].values()).item()

    numbers = {"L-BFGS": loss(model), "scikit-learn": loss(fit_sklearn(train))}
    (options.out / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
    draw_weights(model, options.out / "weights.png")
    for name, value in numbers.items():
        print(f"{name:<12}  mean loss {value:.8f}")
    print(f"weights: {options.out / 'weights.png'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
