"""Losses and metrics of a model over a loader, in evaluation mode."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from sightline.metrics import DetectionEvaluator
from sightline.train.batches import LossMeter, batch_size, check_losses, move_batch, split_batch
from sightline.train.evaluators import Evaluator, as_evaluator
from sightline.train.precision import Precision
from sightline.train.terms import Loss, compute_terms

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Iterable,
    *,
    loss: Loss | None = None,
    evaluator: Evaluator | DetectionEvaluator | None = None,
    precision: Precision | None = None,
    losses: bool = True,
) -> dict[str, float]:
    """ "val/loss", its terms, and "val/<metric>" for each metric of the evaluator.

    The model is in evaluation mode while it runs (the loss included: dropout off, batch-norm on its
    running statistics), and goes back to the mode it was in. Model, loader, loss and evaluator are
    those of `fit`; with `loss` the model runs once a batch, without it once for the losses and once
    for the evaluator. `losses=False` leaves the losses out.

    Raises:
        ValueError: the loader has no batch.
        TypeError: neither losses nor an evaluator: a model that only predicts in evaluation mode.
        FloatingPointError: a loss term is not finite.
    """
    evaluator = as_evaluator(evaluator)
    device = next(model.parameters()).device
    precision = precision or Precision("off", device)
    was_training = model.training
    model.eval()
    meter, seen = LossMeter(), 0
    if evaluator is not None:
        evaluator.reset()
    try:
        for step, batch in enumerate(loader, start=1):
            inputs, targets = move_batch(*split_batch(batch), device)
            seen += batch_size(inputs)
            with precision.autocast():
                terms = outputs = None
                if losses:
                    terms, outputs = compute_terms(model, loss, inputs, targets)
                if terms is not None:
                    values = check_losses(terms, where=f"validation, step {step}")
                    meter.add(values, batch_size(inputs))
                elif evaluator is None:
                    raise TypeError(
                        "the model gives no losses in evaluation mode: give an `evaluator`, such "
                        "as sightline.metrics.DetectionEvaluator()"
                    )
                if evaluator is not None:
                    evaluator.update(model(inputs) if outputs is None else outputs, targets)
    finally:
        model.train(was_training)
    if not seen:
        raise ValueError("the loader to evaluate on gave no batch")
    row = meter.columns("val") if meter.images else {}
    if evaluator is not None:
        numbers = evaluator.compute()
        if not isinstance(numbers, Mapping):
            raise TypeError(
                f"`evaluator.compute()` must return a dict of name: number, got "
                f"{type(numbers).__name__}"
            )
        row |= {f"val/{name}": float(value) for name, value in numbers.items()}
    return row
