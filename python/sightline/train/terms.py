"""Computes the loss terms of a batch, and their means over an epoch."""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from sightline.losses import Terms, as_terms
from sightline.nn.wrappers import device_of, unwrapped
from sightline.train.arguments import asks_for, binds

__all__ = [
    "BatchTerms",
    "Loss",
    "TermsFunction",
    "TermsMeter",
    "call_with_targets",
    "check_terms",
    "prepare_loss",
]

# loss(outputs, targets) -> a scalar, or a dict of scalars whose sum is minimised, or Terms.
Loss = Callable[[Any, Any], Tensor | Mapping[str, Tensor] | Terms]
# terms(model, inputs, targets) or terms(model, inputs, targets, generator) -> what a loss returns
# (None: the batch has no loss) and the outputs (None: they cost a second pass).
TermsFunction = Callable[..., tuple[Any, Any]]


def call_with_targets(model: nn.Module, inputs: Any, targets: Any) -> tuple[Any, Any]:
    """Terms of a module whose `forward(inputs, targets)` returns a dict of losses.

    torchvision's detectors are such modules. The outputs are None, since they need a second call,
    `model(inputs)`. A module that returns predictions in evaluation mode has no terms there.
    """
    found = model(inputs, targets)
    if isinstance(found, list) and not model.training:
        return None, found
    return found, None


def prepare_loss(loss: Loss | None, model: nn.Module) -> nn.Module | None:
    """Move a loss that is a module to the model's device; returns it where it has a state.

    Raises:
        TypeError: `loss` is a class, or cannot be called.
    """
    if isinstance(loss, nn.Module):
        loss.to(device_of(model))
        return loss if loss.state_dict() else None
    if isinstance(loss, type):
        raise TypeError(f"`loss` must be an instance: loss={loss.__name__}()")
    if loss is not None and not callable(loss):
        raise TypeError(
            "`loss` must be a function of (outputs, targets) or a module such as "
            f"torch.nn.CrossEntropyLoss(), got {type(loss).__name__}"
        )
    return None


class BatchTerms:
    """Computes `terms(model, inputs, targets, generator)` of a batch for any kind of model.

    It uses, in this order, the function `terms`; `loss(outputs, targets)`; the `loss` method of the
    model's class; or `call_with_targets` where the model's forward takes two arguments.

    Raises:
        TypeError: none of them is available, both of the first two are given, or `terms` cannot be
            called.
    """

    def __init__(
        self, model: nn.Module, loss: Loss | None = None, terms: TermsFunction | None = None
    ) -> None:
        if terms is not None and loss is not None:
            raise TypeError(
                "`loss` and `terms` exclude each other: `terms` returns the losses itself"
            )
        if terms is not None and not callable(terms):
            raise TypeError(
                "`terms` must be a function of (model, inputs, targets) such as "
                f"sightline.train.call_with_targets, got {type(terms).__name__}"
            )
        inner = unwrapped(model)
        # A module may have an attribute of this name for its own use: only a method counts.
        source = loss if loss is not None else getattr(type(inner), "loss", None)
        self._loss, self._function = loss, terms
        if terms is None and source is None:
            if not binds(inner.forward, 2):
                raise TypeError(
                    f"{type(inner).__name__}.forward does not take (images, targets), so it gives "
                    "no losses: give `loss`, such as loss=torch.nn.CrossEntropyLoss()"
                )
            self._function = call_with_targets
        self._module = loss if isinstance(loss, nn.Module) else None
        # The losses of torch and ours have no logs, so their columns are known before training.
        known = str(getattr(source, "__module__", "")).startswith(("torch.nn.", "sightline."))
        self.may_log = terms is not None or (source is not None and not known)
        self.takes_generator = terms is not None and asks_for(terms, "generator", beyond=3)

    def __call__(
        self, model: nn.Module, inputs: Any, targets: Any, generator: torch.Generator | None = None
    ) -> tuple[Any, Any]:
        """The terms for `check_terms` (None: no losses), and the outputs (None: call `model`)."""
        if self._function is None:
            outputs, inner = model(inputs), cast(Any, unwrapped(model))
            loss = inner.loss if self._loss is None else self._loss
            found = loss(outputs, targets)
            return as_terms(found, source="loss(outputs, targets)"), outputs
        more = (generator,) if self.takes_generator else ()
        found = self._function(model, inputs, targets, *more)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(
                "`terms` must return a pair, the terms and the outputs of the model, got "
                f"{type(found).__name__}"
            )
        terms, outputs = found
        if terms is not None and self._function is not call_with_targets:
            terms = as_terms(terms, source="terms(model, inputs, targets)")
        return terms, outputs

    def train(self, mode: bool) -> None:
        """Put a loss that is a module into training mode, or into evaluation mode."""
        if self._module is not None:
            self._module.train(mode)


class _Checked(Terms):
    """The result of `check_terms`, which is not checked again."""


def check_terms(found: Any, *, where: str) -> Terms:
    """The terms as float64 scalars on the host, from any device.

    Args:
        found: `Terms`, or the dict of losses that `model(images, targets)` returned.
        where: the place for errors, such as "epoch 3, step 17".

    Raises:
        TypeError: not a dict of scalar tensors.
        ValueError: one of several losses, or a log, has the name of the sum of the losses.
        FloatingPointError: a loss is NaN or infinite; the error names every such term.
    """
    if isinstance(found, _Checked):
        return found
    if isinstance(found, Terms) and not found.losses:
        raise TypeError(f"there is no loss among the terms in {where}")
    if not isinstance(found, Mapping | Terms) or not as_terms(found).losses:
        raise TypeError(
            "model(images, targets) must return a dict of loss terms, "
            f"got {type(found).__name__} in {where}; a model that returns outputs trains with "
            "`loss`, such as loss=torch.nn.CrossEntropyLoss()"
        )
    terms = as_terms(found)
    if "loss" in terms.logs or (len(terms.losses) > 1 and "loss" in terms.losses):
        names = ", ".join(map(repr, (*terms.losses, *terms.logs)))
        raise ValueError(
            f"loss terms are summed, so 'loss' cannot be one of {names}: "
            "leave out the sum, or give the term another name"
        )
    values = {**terms.losses, **terms.logs}
    if len(values) < len(terms.losses) + len(terms.logs):
        twice = ", ".join(repr(name) for name in terms.losses if name in terms.logs)
        raise ValueError(f"{twice} is both a loss and a log in {where}: give one another name")
    for name, value in values.items():
        number = isinstance(value, int | float) and name in terms.logs
        if not number and not (isinstance(value, Tensor) and value.numel() == 1):
            kind = "log" if name in terms.logs else "loss term"
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{kind} {name!r} must be a scalar tensor, got {shape} in {where}")
    numbers = _on_host(values)
    losses = {name: numbers[name] for name in terms.losses}
    bad = [f"{name!r} is {value}" for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"loss term {', '.join(bad)} in {where}: try a lower learning rate, clip_norm=1, "
            "or amp='off', and check the labels"
        )
    return _Checked(
        {name: torch.tensor(value, dtype=torch.float64) for name, value in losses.items()},
        {name: numbers[name] for name in terms.logs},
    )


def _on_host(values: Mapping[str, Tensor | float]) -> dict[str, float]:
    # One transfer for all of them, so that a GPU is synchronised once per step.
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    device = next(iter(tensors.values())).device
    scalars = [value.detach().float().reshape(()).to(device) for value in tensors.values()]
    numbers = dict(zip(tensors, torch.stack(scalars).tolist(), strict=True))
    return {name: numbers[name] if name in numbers else float(v) for name, v in values.items()}


class TermsMeter:
    """Means of losses and logs over the images of an epoch.

    A loss that a batch lacks counts as 0 there; a log is averaged over the batches that have it.
    """

    def __init__(self) -> None:
        self.images = 0
        self._losses: dict[str, float] = {}
        self._logs: dict[str, tuple[float, int]] = {}

    def add(self, terms: Terms, images: int) -> None:
        """Add one batch, as returned by `check_terms`."""
        self.images += images
        for name, value in terms.losses.items():
            self._losses[name] = self._losses.get(name, 0.0) + float(value) * images
        for name, number in terms.logs.items():
            total, count = self._logs.get(name, (0.0, 0))
            self._logs[name] = total + float(number) * images, count + images

    def columns(self, split: str) -> dict[str, float]:
        """ "<split>/loss", which is the sum, one column per loss where there are several, and logs.

        Raises:
            ValueError: a log has the name of a loss's column.
        """
        means = {name: total / self.images for name, total in self._losses.items()}
        columns = {f"{split}/loss": math.fsum(means.values())}
        if len(means) > 1:
            columns |= {_loss_column(split, name): mean for name, mean in means.items()}
        for name, (total, count) in self._logs.items():
            if f"{split}/{name}" in columns:
                raise ValueError(
                    f"the log {name!r} and a loss both make the column {split}/{name}: give one "
                    "of them another name"
                )
            columns[f"{split}/{name}"] = total / count
        return columns


def _loss_column(split: str, term: str) -> str:
    return f"{split}/{term}" if term.endswith("loss") else f"{split}/{term}_loss"
