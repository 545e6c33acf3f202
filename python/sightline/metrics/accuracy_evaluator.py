"""Accuracy of a classifier over batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.metrics._arrays import as_labels, check_label_range, on_host
from sightline.metrics.classification import top_k_accuracy

__all__ = ["AccuracyEvaluator"]


class AccuracyEvaluator:
    """Accuracy, and optionally top-k accuracy, over batches.

    `sightline.train.fit` takes it as its metric and then chooses the best epoch by the column
    `monitor`, unless told otherwise.

    Args:
        top_k: values of k, such as (5,), which adds a column "top5": the share of samples whose
            true class is among the five best.

    Example:
        >>> evaluator = AccuracyEvaluator(top_k=(2,))
        >>> evaluator.update([[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]], [0, 2])
        >>> evaluator.compute()
        {'accuracy': 0.5, 'top2': 1.0}
    """

    monitor = "val/accuracy"

    def __init__(self, *, top_k: Sequence[int] = ()) -> None:
        if isinstance(top_k, int) or any(k < 2 for k in top_k):
            raise ValueError(f"`top_k` must hold integers of at least 2, such as (5,), got {top_k}")
        self.top_k = tuple(top_k)
        self.directions = {"accuracy": "max", **{f"top{k}": "max" for k in self.top_k}}
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.samples = 0
        self._right = dict.fromkeys((1, *self.top_k), 0)

    def update(self, outputs: Any, targets: Any) -> None:
        """Add one batch.

        Args:
            outputs: logits or probabilities [B, K], array or tensor. The predicted class is that
                of the largest value, the first one among equal values.
            targets: labels [B], integers in [0, K), array or tensor; or a list of B dicts with a
                "label"; or soft targets [B, K], such as one-hot targets or those of mixup, where
                the true class is that of the largest value, the first one among equal values.

        Raises:
            ValueError: wrong shapes, a label outside [0, K), a NaN in `outputs` or `targets`.
            TypeError: labels that are not integers.
        """
        scores = on_host(outputs)
        if scores.ndim != 2:
            raise ValueError(f"`outputs` must have shape [B, K], got {list(scores.shape)}")
        if isinstance(targets, Sequence) and targets and isinstance(targets[0], dict):
            targets = [int(target["label"]) for target in targets]
        labels = as_labels(_hard(targets, scores.shape), "`targets`")
        if len(labels) != len(scores):
            raise ValueError(
                f"`targets` must have shape [{len(scores)}] as `outputs`, got [{len(labels)}]"
            )
        check_label_range(labels, scores.shape[1], "`targets`")
        _check_no_nan(scores, "`outputs`")
        if not len(labels):
            return
        self.samples += len(labels)
        self._right[1] += int((scores.argmax(axis=1) == labels).sum())
        for k in self.top_k:
            # With fewer classes than k, every label is among the k best.
            best = min(k, scores.shape[1])
            self._right[k] += round(top_k_accuracy(labels, scores, k=best) * len(labels))

    def compute(self) -> dict[str, float]:
        """ "accuracy" and each "top<k>" of the samples since `reset`; NaN without samples."""
        shares = {
            f"top{k}": right / self.samples if self.samples else float("nan")
            for k, right in self._right.items()
        }
        return {"accuracy": shares.pop("top1"), **shares}


def _hard(targets: Any, shape: tuple[int, ...]) -> Any:
    """The classes of soft targets [B, K], K > 1; other targets unchanged."""
    try:
        soft = on_host(targets)
    except ValueError:  # rows of several lengths
        return targets
    if soft.ndim != 2 or shape[1] < 2:
        return soft
    if soft.shape != shape:
        raise ValueError(
            f"`targets` must have shape [{shape[0]}], or {list(shape)} as `outputs`, got "
            f"{list(soft.shape)}"
        )
    _check_no_nan(soft, "`targets`")
    return soft.argmax(axis=1)


def _check_no_nan(values: np.ndarray, name: str) -> None:
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values).any(axis=1)))
        raise ValueError(f"{name} must not be NaN, got one in row {row}")
