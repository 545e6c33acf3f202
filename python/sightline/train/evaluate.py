"""Losses and metrics of a model over a loader, in evaluation mode."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from sightline.train.batches import Batch, batch_size
from sightline.train.metric import Metric, as_metric
from sightline.train.precision import Precision
from sightline.train.step import Step
from sightline.train.terms import BatchTerms, Loss, TermsFunction, TermsMeter, check_terms

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: Step | nn.Module,
    loader: Iterable,
    *,
    loss: Loss | None = None,
    terms: TermsFunction | None = None,
    metric: Any = None,
    evaluator: Any = None,
    precision: Precision | None = None,
    losses: bool = True,
) -> dict[str, float]:
    """ "val/loss", its terms, and "val/<name>" for each number of the metric.

    The model is in evaluation mode (for the loss too: dropout off, batch norm with running
    statistics), and is then put back into its mode. It runs once per batch; only where
    `forward(inputs, targets)` returns the losses does a metric need a second run.

    Args:
        model: a step, or a module.
        loader: as in `fit`.
        loss, terms: as in `fit`, for a module.
        metric: as in `fit`.
        evaluator: the earlier name of `metric`.
        precision: the computing type for a module; None for that of its weights.
        losses: False leaves out the losses.

    Raises:
        ValueError: the loader has no batch.
        TypeError: neither losses nor a metric: a model that only predicts in evaluation mode.
        FloatingPointError: a loss term is not finite.
    """
    metric = as_metric(metric, evaluator)
    if isinstance(model, Step):
        step = model
    else:
        step = _Judged(model, BatchTerms(model, loss, terms) if losses else None, precision)
    was_training = step.network.training
    meter, seen = TermsMeter(), 0
    if metric is not None:
        metric.reset()
    step.train(False)
    try:
        for number, batch in enumerate(loader, start=1):
            batch = step.take(batch)
            images = batch_size(batch.inputs)
            seen += images
            found, outputs = _validated(step, batch) if losses else (None, None)
            if found is not None:
                meter.add(check_terms(found, where=f"validation, step {number}"), images)
            elif metric is None:
                raise TypeError(
                    "there are no losses in evaluation mode: give a `metric`, such as "
                    "sightline.metrics.DetectionEvaluator() for a detector"
                )
            if metric is not None:
                metric.update(step.predict(batch, outputs), batch.targets, batch.samples)
    finally:
        step.train(was_training)
    if not seen:
        raise ValueError("the loader to evaluate on gave no batch")
    row = meter.columns("val") if meter.images else {}
    numbers = _numbers(metric) if metric is not None else {}
    twice = [name for name in numbers if name in row]
    if twice:
        raise ValueError(
            f"the metric and the losses or logs both make the column {', '.join(twice)}: give one "
            "of them another name"
        )
    return row | numbers


def _validated(step: Step, batch: Batch) -> tuple[Any, Any]:
    found = step.validate(batch)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(
            f"{type(step).__name__}.validate(batch) must return a pair, the terms (None where "
            f"there is no loss) and the outputs of the model, got {type(found).__name__}"
        )
    return found


def _numbers(metric: Metric) -> dict[str, float]:
    numbers = metric.compute()
    if not isinstance(numbers, Mapping):
        raise TypeError(
            f"`metric.compute()` must return a dict of name: number, got {type(numbers).__name__}"
        )
    for name, value in numbers.items():
        if not hasattr(value, "__float__"):
            raise TypeError(
                f"`metric.compute()` must return numbers, got {type(value).__name__} for {name!r}"
            )
    return {f"val/{name}": float(value) for name, value in numbers.items()}


class _Judged(Step):
    """A step for a module that is only validated."""

    def __init__(
        self, model: nn.Module, terms: BatchTerms | None, precision: Precision | None
    ) -> None:
        self.model, self.terms = model, terms
        self.precision = precision or Precision("off", self.device)

    def __call__(self, batch: Batch, progress: Any) -> Any:
        raise TypeError("a module to evaluate is not trained")

    def validate(self, batch: Batch) -> tuple[Any, Any]:
        with self.autocast():
            assert self.terms is not None
            return self.terms(self.model, batch.inputs, batch.targets)

    def train(self, mode: bool) -> None:
        self.model.train(mode)
        if self.terms is not None:
            self.terms.train(mode)
