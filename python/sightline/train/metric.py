"""The metric interface of `fit`, and adapters for the metrics of `sightline.metrics`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from sightline._suggest import did_you_mean
from sightline.metrics import AccuracyEvaluator, DetectionEvaluator
from sightline.train.arguments import asks_for
from sightline.train.early_stopping import is_loss_column
from sightline.train.step import Step

__all__ = ["Metric", "as_metric", "check_column", "directions_of", "monitor_of"]


class Metric(Protocol):
    """The interface of a metric for `fit`.

    `directions` says for each name in `compute()`, without "val/", whether "min" or "max" is
    better. Without it, a column of this metric can be monitored only with `mode=`. A metric may
    also have `monitor`, the column by which the best epoch is chosen by default ("val/accuracy").
    """

    def reset(self) -> None:
        """Forget all images."""

    def update(self, outputs: Any, targets: Any, samples: Sequence[Any] | None) -> None:
        """Add one batch.

        Args:
            outputs: `model.predictions(outputs)` where the model has that method, otherwise the
                outputs of `model(inputs)`.
            targets: from the loader, on the model's device.
            samples: from the loader, None where it yields none. An `update` without this argument
                is called with the other two.
        """

    def compute(self) -> dict[str, float]:
        """Name -> value for the images since `reset`; each becomes a column "val/<name>"."""


class _WithoutSamples:
    """Adapts a metric whose `update` takes only outputs and targets to `Metric`."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self.reset, self.compute = metric.reset, metric.compute

    def update(self, outputs: Any, targets: Any, samples: Sequence[Any] | None) -> None:
        self._metric.update(outputs, targets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metric, name)


class _Detection:
    """Adapts a `DetectionEvaluator`; image ids come from samples or targets, or are counted."""

    monitor = "val/AP50"

    def __init__(self, evaluator: DetectionEvaluator) -> None:
        self.evaluator = evaluator
        evaluator.reset()
        self.directions = dict.fromkeys(evaluator.compute().named, "max")

    def reset(self) -> None:
        self.evaluator.reset()

    def update(
        self, outputs: Sequence[Any], targets: Sequence[Any], samples: Sequence[Any] | None
    ) -> None:
        count = len(self.evaluator)
        ids = [target.get("image_id", None) for target in targets]
        if samples is not None and any(image_id is None for image_id in ids):
            ids = [getattr(sample, "image_id", None) for sample in samples]
        if any(image_id is None for image_id in ids):
            ids = list(range(count, count + len(targets)))
        ids = [int(i) if isinstance(i, Tensor) else i for i in ids]
        self.evaluator.update(ids, list(outputs), list(targets))

    def compute(self) -> dict[str, float]:
        return dict(self.evaluator.compute().named)


def as_metric(metric: Any, evaluator: Any = None) -> Metric | None:
    """The metric as a `Metric`; `evaluator` is the earlier name of the argument.

    Raises:
        TypeError: both are given, a class, or an object without the methods of `Metric`.
    """
    if evaluator is not None:
        if metric is not None:
            raise TypeError("`evaluator` is the earlier name of `metric`: give `metric` alone")
        metric = evaluator
    if isinstance(metric, DetectionEvaluator):
        return _Detection(metric)
    if isinstance(metric, type):
        raise TypeError(f"`metric` must be an instance: metric={metric.__name__}()")
    if metric is None or isinstance(metric, _Detection | _WithoutSamples):
        return metric
    for method in ("reset", "update", "compute"):
        if not callable(getattr(metric, method, None)):
            raise TypeError(
                "`metric` must have reset(), update(outputs, targets, samples) and compute(); "
                f"{type(metric).__name__} has no {method}()"
            )
    return metric if asks_for(metric.update, "samples", beyond=2) else _WithoutSamples(metric)


def monitor_of(metric: Metric | None, *, validated: bool) -> str:
    """The column by which the best epoch is chosen by default."""
    if not validated:
        return "train/loss"
    return getattr(metric, "monitor", None) or "val/loss"


def directions_of(metric: Any) -> Mapping[str, str]:
    """Column -> "min" or "max", for the columns that the metric declares."""
    declared: Mapping[str, str] = getattr(metric, "directions", None) or {}
    if not isinstance(declared, Mapping) or any(
        direction not in ("min", "max") or name.startswith("val/")
        for name, direction in declared.items()
    ):
        raise ValueError(
            '`directions` of the metric must be a dict of a name in compute() to "min" or "max", '
            f"got {declared!r}"
        )
    return {f"val/{name}": direction for name, direction in declared.items()}


def check_column(
    name: str, column: str, *, step: Step, metric: Metric | None, validated: bool
) -> None:
    """Raise ValueError for a column that no epoch will have; `name` is the argument for the error.

    Columns of metrics that are not ours, and of loss terms and logs, are known only in training.
    """
    split, _, _ = column.partition("/")
    if split == "val" and not validated:
        raise ValueError(f"{name} {column!r} needs a `val_loader`: give one, or 'train/loss'")
    if column in ("epoch", *step.rates()):
        return
    totals = ["train/loss", "val/loss"] if validated and step.has_val_loss else ["train/loss"]
    if f"{split}/loss" in totals and (step.may_log or is_loss_column(column)):
        return
    ours = (_Detection, AccuracyEvaluator)
    if split == "val" and metric is not None and not isinstance(_inner(metric), ours):
        return
    known = [*totals, *(directions_of(metric) if validated else [])]
    if column not in known:
        hint = did_you_mean(column, known, quoted=True)
        needs = "; metrics need a `metric`" if metric is None and not hint else ""
        raise ValueError(f"{name} {column!r} is not among {known}{hint}{needs}")


def _inner(metric: Metric) -> Any:
    return metric._metric if isinstance(metric, _WithoutSamples) else metric
