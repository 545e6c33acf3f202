"""Small functions of `fit` for loaders and batches."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, IterableDataset

__all__ = [
    "Batch",
    "Stopwatch",
    "batch_size",
    "check_loader",
    "check_optimizer",
    "count_batches",
    "move_batch",
    "set_epoch",
    "split_batch",
    "waiting_hint",
]

# Waiting for longer than this share of an epoch, and this many seconds of it, is worth a hint.
_LONG_SHARE, _LONG_WAIT = 0.3, 1.0
_MOST_SUGGESTED = 8  # worker processes

# Keys of inputs and targets, where batches are dicts.
_INPUTS = ("inputs", "input", "images", "image", "pixel_values", "x")
_TARGETS = ("targets", "target", "labels", "label", "y")


class Batch(NamedTuple):
    """One batch in the form that a step takes.

    Attributes:
        inputs: the model's inputs: tensors, or lists, tuples and dicts of them.
        targets: the targets for its outputs.
        samples: information on each input for metrics (`sightline.data.Sample` from our loaders);
            None where the loader gives none.
    """

    inputs: Any
    targets: Any
    samples: Sequence[Any] | None = None


def count_batches(loader: Any) -> int | None:
    """The number of batches of a loader; None where it is unknown."""
    try:
        return len(loader)
    except TypeError:  # also a DataLoader over an iterable data set without a length
        return None


def check_loader(loader: Any, name: str) -> None:
    """Raise TypeError for a data set, which has no batches, and ValueError for an empty loader."""
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise TypeError(
            f"`{name}` must give batches and {type(loader).__name__} is a data set: put it into "
            "torch.utils.data.DataLoader(data_set, batch_size=...)"
        )
    if count_batches(loader) == 0:
        raise ValueError(
            f"`{name}` has no batch: the data set is empty, or smaller than one batch with "
            "drop_last=True"
        )


def check_optimizer(optimizer: Optimizer, model: nn.Module, loss: nn.Module | None) -> None:
    """Raise ValueError for an optimizer without parameters of the model or the loss."""
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


def split_batch(batch: Any) -> Batch:
    """The inputs, targets and samples of a loader's batch.

    Args:
        batch: `(inputs, targets)`; `(inputs, targets, samples)`, samples being a list; or a dict
            with inputs and targets under their usual names.

    Raises:
        TypeError: anything else; the message describes it.
    """
    if isinstance(batch, Mapping):
        inputs = [batch[name] for name in _INPUTS if name in batch]
        targets = [batch[name] for name in _TARGETS if name in batch]
        if len(inputs) == len(targets) == 1:
            return Batch(inputs[0], targets[0])
        what = f"a dict of {', '.join(map(repr, batch))}"
    elif isinstance(batch, (tuple, list)):
        if len(batch) == 2 or (len(batch) == 3 and isinstance(batch[2], list | tuple | None)):
            return Batch(*batch)
        what = f"a {type(batch).__name__} of {len(batch)}"
    else:
        what = f"a {type(batch).__name__}"
    raise TypeError(
        "a batch must be (inputs, targets), or (inputs, targets, samples) with a list of samples, "
        f"or a dict with one of {', '.join(_INPUTS)} and one of {', '.join(_TARGETS)}; the loader "
        f"gave {what}"
    )


def batch_size(inputs: Any) -> int:
    """The number of samples in a batch: the first dimension, or the length of a list."""
    if isinstance(inputs, Mapping):
        return batch_size(next(iter(inputs.values())))
    if isinstance(inputs, tuple) and inputs and isinstance(inputs[0], Tensor):
        return len(inputs[0])  # several inputs of one model
    return len(inputs)


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The batch with inputs and targets on `device`; anything but tensors is unchanged."""
    return Batch(_move(batch.inputs, device), _move(batch.targets, device), batch.samples)


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


class Stopwatch:
    """Measures the time of a loop, and the share of it spent waiting for data."""

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


def waiting_hint(waited: float, seconds: float, loader: Any) -> str | None:
    """What would shorten the wait for data in an epoch; None where it was short.

    Args:
        waited: seconds of the epoch's training spent waiting.
        seconds: of the epoch's training.
        loader: the loader; only a torch DataLoader can have worker processes.
    """
    workers = getattr(loader, "num_workers", None)
    if workers is None or waited < _LONG_WAIT or waited < _LONG_SHARE * seconds:
        return None
    text = f"training waited for data during {100 * waited / seconds:.0f} % of this epoch"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    more = min(cpus, _MOST_SUGGESTED)
    if more > max(workers, 1):
        return f"{text}; data.workers={more} loads images in as many processes, now {workers}"
    return f"{text}; data.cache_mb= keeps more decoded images, data.cache=disk also for later runs"
