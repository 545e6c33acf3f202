"""Losses and metrics of a model over a loader, in evaluation mode."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sightline.train.batches import LossMeter, check_losses, move_batch
from sightline.train.precision import Precision

__all__ = ["Evaluator", "evaluate"]


class Evaluator(Protocol):
    """What `fit` asks of an evaluator."""

    def reset(self) -> None:
        """Forget every image seen."""

    def update(self, predictions: Any, targets: list[dict[str, Tensor]]) -> None:
        """Take in one batch: what `model(images)` returned, and the targets of those images."""

    def compute(self) -> dict[str, float]:
        """Metric name -> value over the images seen since `reset`."""


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Iterable,
    *,
    evaluator: Evaluator | None = None,
    precision: Precision | None = None,
    losses: bool = True,
) -> dict[str, float]:
    """ "val/loss", its terms, and "val/<metric>" for each metric of the evaluator.

    The model is in evaluation mode while it runs (the loss included: dropout off, batch-norm on its
    running statistics), and goes back to the mode it was in.

    Raises:
        ValueError: the loader has no batch.
        FloatingPointError: a loss term is not finite.
    """
    device = next(model.parameters()).device
    precision = precision or Precision("off", device)
    was_training = model.training
    model.eval()
    meter, seen = LossMeter(), 0
    if evaluator is not None:
        evaluator.reset()
    try:
        for step, (images, targets) in enumerate(loader, start=1):
            images, targets = move_batch(images, targets, device)
            seen += len(images)
            with precision.autocast():
                if losses:
                    terms = model(images, targets)
                    values = check_losses(terms, where=f"validation, step {step}")
                    meter.add(values, len(images))
                if evaluator is not None:
                    evaluator.update(model(images), targets)
    finally:
        model.train(was_training)
    if not seen:
        raise ValueError("the loader to evaluate on gave no batch")
    row = meter.columns("val") if losses else {}
    if evaluator is not None:
        row |= {f"val/{name}": float(value) for name, value in evaluator.compute().items()}
    return row
