"""What `fit` does to batches and losses, one small function each."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, IterableDataset

__all__ = [
    "LossMeter",
    "Stopwatch",
    "batch_size",
    "check_loader",
    "check_losses",
    "check_optimizer",
    "move_batch",
    "set_epoch",
    "split_batch",
]

# Names under which data sets keep the two halves of a sample, where batches are dicts.
_INPUTS = ("inputs", "input", "images", "image", "pixel_values", "x")
_TARGETS = ("targets", "target", "labels", "label", "y")


def check_loader(loader: Any, name: str) -> None:
    """TypeError for a data set, which gives no batches; ValueError for an empty loader."""
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise TypeError(
            f"`{name}` must give batches and {type(loader).__name__} is a data set: put it into "
            "torch.utils.data.DataLoader(data_set, batch_size=...)"
        )
    if hasattr(loader, "__len__") and len(loader) == 0:
        raise ValueError(
            f"`{name}` has no batch: the data set is empty, or smaller than one batch with "
            "drop_last=True"
        )


def check_optimizer(optimizer: Optimizer, model: nn.Module, loss: nn.Module | None) -> None:
    """ValueError for an optimizer that would leave model and loss as they are."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    parts = (model,) if loss is None else (model, loss)
    if not any(id(parameter) in trained for part in parts for parameter in part.parameters()):
        raise ValueError(
            "`optimizer` holds no parameter of `model`, so nothing would be trained; make it from "
            "model.parameters(), after the model was made, copied or loaded"
        )


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell the loader, its sampler or its data set which epoch (from 0) is about to start."""
    for owner in (loader, getattr(loader, "sampler", None), getattr(loader, "dataset", None)):
        call = getattr(owner, "set_epoch", None)
        if call is not None:
            call(epoch)
            return


def split_batch(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of what a loader gives: a pair, or a dict with both.

    Raises:
        TypeError: something else, which is named.
    """
    if isinstance(batch, Mapping):
        inputs = [batch[name] for name in _INPUTS if name in batch]
        targets = [batch[name] for name in _TARGETS if name in batch]
        if len(inputs) == len(targets) == 1:
            return inputs[0], targets[0]
        what = f"a dict of {', '.join(map(repr, batch))}"
    elif isinstance(batch, (tuple, list)):
        if len(batch) == 2:
            return batch[0], batch[1]
        what = f"a {type(batch).__name__} of {len(batch)}"
    else:
        what = f"a {type(batch).__name__}"
    raise TypeError(
        "a batch must be (inputs, targets), or a dict with one of "
        f"{', '.join(_INPUTS)} and one of {', '.join(_TARGETS)}; the loader gave {what}"
    )


def batch_size(inputs: Any) -> int:
    """How many samples the inputs of a batch hold: the first dimension, or the list's length."""
    if isinstance(inputs, Mapping):
        return batch_size(next(iter(inputs.values())))
    if isinstance(inputs, tuple) and inputs and isinstance(inputs[0], Tensor):
        return len(inputs[0])  # several inputs of one model
    return len(inputs)


def move_batch(inputs: Any, targets: Any, device: torch.device) -> tuple[Any, Any]:
    """The batch on `device`; what is not a tensor stays as it is."""
    return _move(inputs, device), _move(targets, device)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_move(item, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_move(item, device) for item in value)
    return value


def check_losses(losses: Any, *, where: str) -> dict[str, float]:
    """The loss terms as numbers.

    Args:
        losses: what `model(images, targets)` returned.
        where: named in errors, such as "epoch 3, step 17".

    Raises:
        TypeError: the model did not return a dict of scalar tensors.
        ValueError: one of several terms has the name of their sum.
        FloatingPointError: a term is NaN or infinite; the error names every such term.
    """
    if not isinstance(losses, dict) or not losses:
        raise TypeError(
            "model(images, targets) must return a dict of loss terms, "
            f"got {type(losses).__name__} in {where}"
        )
    if len(losses) > 1 and "loss" in losses:
        raise ValueError(
            f"loss terms are summed, so 'loss' cannot be one of {', '.join(map(repr, losses))}: "
            "leave out the sum, or give the term another name"
        )
    for name, term in losses.items():
        if not isinstance(term, Tensor) or term.numel() != 1:
            shape = list(term.shape) if isinstance(term, Tensor) else type(term).__name__
            raise TypeError(f"loss term {name!r} must be a scalar tensor, got {shape} in {where}")
    # One transfer for all the terms, so that a GPU is waited for once a step.
    stacked = torch.stack([term.detach().float().reshape(()) for term in losses.values()])
    values = dict(zip(losses, stacked.tolist(), strict=True))
    bad = [f"{name!r} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"loss term {', '.join(bad)} in {where}: try a lower learning rate, clip_norm=1, "
            "or amp='off', and check the labels"
        )
    return values


def term_column(split: str, term: str) -> str:
    return f"{split}/{term}" if term.endswith("loss") else f"{split}/{term}_loss"


class LossMeter:
    """Mean of the loss terms over the images of an epoch."""

    def __init__(self) -> None:
        self.images = 0
        self._sums: dict[str, float] = {}

    def add(self, values: dict[str, float], images: int) -> None:
        self.images += images
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * images

    def columns(self, split: str) -> dict[str, float]:
        """ "<split>/loss" (the sum of the terms) and one column a term where there are several."""
        means = {name: total / self.images for name, total in self._sums.items()}
        total = {f"{split}/loss": math.fsum(means.values())}
        if len(means) == 1:
            return total
        return total | {term_column(split, name): mean for name, mean in means.items()}


class Stopwatch:
    """How long a loop took, and how much of that it waited for data."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0

    def waiting(self, batches: Iterable) -> Iterator:
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - before
            yield batch

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started
