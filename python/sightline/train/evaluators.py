"""What `fit` asks of an evaluator, and how those of `sightline.metrics` answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from sightline._suggest import did_you_mean
from sightline.metrics import AccuracyEvaluator, DetectionEvaluator
from sightline.train.early_stopping import monitor_mode

__all__ = ["Evaluator", "as_evaluator", "check_column", "monitor_of", "monitored_mode"]


class Evaluator(Protocol):
    """What `fit` asks of an evaluator.

    It may also have `monitor`, the column to pick the best epoch by ("val/accuracy"), and
    `directions`, which says of its metrics whether "min" or "max" is better.
    """

    def reset(self) -> None:
        """Forget every image seen."""

    def update(self, predictions: Any, targets: Any) -> None:
        """Take in one batch: what `model(inputs)` returned, and the targets of those inputs."""

    def compute(self) -> dict[str, float]:
        """Metric name -> value over the images seen since `reset`."""


def as_evaluator(evaluator: Any) -> Evaluator | None:
    """The evaluator, and a `DetectionEvaluator` in the form that `fit` asks for."""
    if isinstance(evaluator, DetectionEvaluator):
        return _Detection(evaluator)
    if isinstance(evaluator, type):
        raise TypeError(f"`evaluator` must be an instance: evaluator={evaluator.__name__}()")
    for method in ("reset", "update", "compute") if evaluator is not None else ():
        if not callable(getattr(evaluator, method, None)):
            raise TypeError(
                f"`evaluator` must have reset(), update(predictions, targets) and compute(); "
                f"{type(evaluator).__name__} has no {method}()"
            )
    return evaluator


def monitor_of(evaluator: Evaluator | None, *, validated: bool) -> str:
    """The column that the best epoch is picked by where nobody says."""
    if not validated:
        return "train/loss"
    return getattr(evaluator, "monitor", None) or "val/loss"


def check_column(name: str, column: str, evaluator: Evaluator | None, *, validated: bool) -> None:
    """Raise ValueError for a column that no epoch will have; `name` is what asks for it.

    Of evaluators that are not ours, and of the terms of losses, only training tells.
    """
    split, _, metric = column.partition("/")
    if split == "val" and not validated:
        raise ValueError(f"{name} {column!r} needs a `val_loader`: give one, or 'train/loss'")
    if column in ("epoch", "lr") or (split in ("train", "val") and metric.endswith("loss")):
        return
    if split == "val" and not isinstance(evaluator, _Detection | AccuracyEvaluator | None):
        return
    known = ["train/loss", *(["val/loss"] if validated else [])]
    if validated:
        known += [f"val/{metric}" for metric in getattr(evaluator, "directions", ())]
    if column not in known:
        hint = did_you_mean(column, known, quoted=True)
        needs = "; metrics need an `evaluator`" if evaluator is None and not hint else ""
        raise ValueError(f"{name} {column!r} is not among {known}{hint}{needs}")


def monitored_mode(monitor: str, mode: str | None, evaluator: Evaluator | None) -> str:
    """ "min" or "max": what the caller says, else the evaluator, else the column's name."""
    directions: Mapping[str, str] = getattr(evaluator, "directions", None) or {}
    declared = directions.get(monitor.removeprefix("val/"))
    return monitor_mode(monitor, mode or declared)


class _Detection:
    """A `DetectionEvaluator` whose images are named by their targets, or counted."""

    monitor = "val/AP50"

    def __init__(self, evaluator: DetectionEvaluator) -> None:
        self.evaluator = evaluator
        evaluator.reset()
        self.directions = dict.fromkeys(evaluator.compute().named, "max")

    def reset(self) -> None:
        self.evaluator.reset()

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        count = len(self.evaluator)
        ids = [target.get("image_id", None) for target in targets]
        if any(image_id is None for image_id in ids):
            ids = list(range(count, count + len(targets)))
        ids = [int(i) if isinstance(i, Tensor) else i for i in ids]
        self.evaluator.update(ids, list(predictions), list(targets))

    def compute(self) -> dict[str, float]:
        return dict(self.evaluator.compute().named)
