"""Classification metrics on label arrays. They agree with scikit-learn; tests compare them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.metrics._arrays import as_labels, check_label_range

_NORMALIZE = (None, "true", "pred", "all")
_AVERAGES = (None, "binary", "macro", "micro", "weighted")


@dataclass(frozen=True)
class PrecisionRecallF1:
    """Floats where averaged, otherwise arrays [K] with one value per class."""

    precision: Any
    recall: Any
    f1: Any
    support: Any  # true labels of the class; of all classes where averaged


def confusion_matrix(
    targets: Any,
    predictions: Any,
    *,
    num_classes: int | None = None,
    normalize: str | None = None,
) -> np.ndarray:
    """Counts of (truth, prediction) pairs: rows are the truth, columns the prediction.

    Args:
        targets: [N] integer labels from 0.
        predictions: [N] integer labels from 0.
        num_classes: K; by default the largest label plus one.
        normalize: "true" divides by row sums, "pred" by column sums, "all" by N; where a sum is
            0, the result is 0.

    Returns:
        [K, K], int64, or float64 with `normalize`.

    Raises:
        ValueError: different lengths, a negative label, a label of K or more, an unknown
            `normalize`.
        TypeError: labels that are not integers.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1])
        array([[1, 1],
               [0, 1]])
    """
    if normalize not in _NORMALIZE:
        raise ValueError(f"`normalize` must be one of {_NORMALIZE}, got {normalize!r}")
    truth, predicted = _label_pair(targets, predictions, num_classes)
    size = _num_classes(truth, predicted, num_classes)
    counts = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    if normalize is None:
        return counts
    total = {
        "true": counts.sum(axis=1, keepdims=True),
        "pred": counts.sum(axis=0, keepdims=True),
        "all": counts.sum(),
    }[normalize]
    return counts / np.maximum(total, 1)


def accuracy(targets: Any, predictions: Any) -> float:
    """Share of predictions that are right; NaN without predictions.

    Misleading where classes are imbalanced: with 1 positive in 1,000,000, always predicting
    "negative" is right in 99.9999 % of cases. See `precision_recall_f1` too.

    Arguments and errors are those of `confusion_matrix`.

    Example:
        >>> accuracy([0, 1, 1, 1], [0, 1, 1, 0])
        0.75
    """
    truth, predicted = _label_pair(targets, predictions, None)
    return float(np.mean(truth == predicted)) if len(truth) else float("nan")


def top_k_accuracy(targets: Any, scores: Any, *, k: int = 5) -> float:
    """Share of samples whose true class is among the k best scores; NaN without samples.

    Among equal scores the class with the larger index ranks first, as in scikit-learn.

    Args:
        targets: [N] integer labels in [0, K).
        scores: [N, K] on any scale; NaN is refused.
        k: from 1 to K.

    Raises:
        ValueError: wrong shapes, a label outside [0, K), a NaN score, k outside [1, K].
        TypeError: labels that are not integers.

    Example:
        >>> top_k_accuracy([0, 1], [[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]], k=2)
        0.5
    """
    truth, values = as_labels(targets, "`targets`"), np.asarray(scores)
    if values.ndim != 2 or len(values) != len(truth):
        raise ValueError(
            f"`scores` must have shape [N, K] with N = {len(truth)}, got {list(values.shape)}"
        )
    num_classes = values.shape[1]
    if not 1 <= k <= num_classes:
        raise ValueError(f"`k` must be in 1 ... {num_classes}, the number of classes, got {k}")
    check_label_range(truth, num_classes, "`targets`")
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values).any(axis=1)))
        raise ValueError(f"`scores` must not be NaN, got one in row {row}")
    if not len(truth):
        return float("nan")
    own = np.take_along_axis(values, truth[:, None], axis=1)
    higher = np.arange(num_classes) > truth[:, None]
    ahead = (values > own) | ((values == own) & higher)
    return float(np.mean(ahead.sum(axis=1) < k))


def precision_recall_f1(
    targets: Any,
    predictions: Any,
    *,
    average: str | None = "macro",
    num_classes: int | None = None,
    positive_label: int = 1,
) -> PrecisionRecallF1:
    """Precision, recall and F1, per class or averaged.

    Args:
        targets: [N] integer labels from 0.
        predictions: [N] integer labels from 0.
        average: None for one value per class; "binary" for `positive_label` against the rest;
            "macro" for the plain mean over the classes that occur in targets or predictions;
            "weighted" for the mean weighted by support; "micro" for the values from the counts of
            all classes together (then all three equal accuracy).
        num_classes: K of the arrays; by default the largest label plus one.
        positive_label: the class of "binary".

    Returns:
        A `PrecisionRecallF1`. Where a denominator is 0 (no prediction or no sample of the class),
        the value is 0, without a warning.

    Raises:
        ValueError, TypeError: as in `confusion_matrix`. "binary" accepts more than two labels:
            all but `positive_label` are one class.

    Example:
        >>> result = precision_recall_f1([1, 1, 0, 0], [1, 0, 0, 0], average="binary")
        >>> result.precision, result.recall, round(result.f1, 4)
        (1.0, 0.5, 0.6667)
    """
    if average not in _AVERAGES:
        raise ValueError(f"`average` must be one of {_AVERAGES}, got {average!r}")
    counts = confusion_matrix(targets, predictions, num_classes=num_classes)
    hits, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    if average == "micro":
        hits, predicted, support = (x.sum(keepdims=True) for x in (hits, predicted, support))
    elif average == "binary":
        if positive_label < 0:
            raise ValueError(f"`positive_label` must be at least 0, got {positive_label}")
        chosen = slice(positive_label, positive_label + 1)
        hits, predicted, support = (
            x[chosen] if positive_label < len(counts) else np.zeros(1, np.int64)
            for x in (hits, predicted, support)
        )
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    if average is None:
        return PrecisionRecallF1(precision, recall, f1, support)
    weights = np.ones(len(hits))
    if average == "macro":
        weights = (predicted + support > 0).astype(np.float64)
    elif average == "weighted":
        weights = support.astype(np.float64)
    total = weights.sum()
    return PrecisionRecallF1(
        precision=float(_ratio((weights * precision).sum(), total)),
        recall=float(_ratio((weights * recall).sum(), total)),
        f1=float(_ratio((weights * f1).sum(), total)),
        support=int(support.sum()),
    )


def _ratio(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, 0 where the denominator is 0."""
    return numerator / np.where(denominator == 0, 1, denominator)


def _label_pair(
    targets: Any, predictions: Any, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = as_labels(targets, "`targets`"), as_labels(predictions, "`predictions`")
    if len(truth) != len(predicted):
        raise ValueError(
            "`targets` and `predictions` must have the same length, "
            f"got {len(truth)} and {len(predicted)}"
        )
    check_label_range(truth, num_classes, "`targets`")
    check_label_range(predicted, num_classes, "`predictions`")
    return truth, predicted


def _num_classes(truth: np.ndarray, predicted: np.ndarray, num_classes: int | None) -> int:
    if num_classes is not None:
        return num_classes
    return int(max(truth.max(), predicted.max())) + 1 if len(truth) else 0
