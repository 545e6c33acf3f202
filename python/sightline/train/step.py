"""Steps, which train one batch: the base class, and the usual `SupervisedStep`."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sightline.losses import Terms, as_terms
from sightline.nn.wrappers import device_of, predictions_of
from sightline.optim.ema import EMA
from sightline.optim.schedule import Schedule
from sightline.train.arguments import (
    as_schedule,
    binds,
    check_count,
    check_instance,
    check_schedule,
)
from sightline.train.batches import Batch, check_optimizer, move_batch, split_batch
from sightline.train.log import Log
from sightline.train.precision import Precision
from sightline.train.terms import BatchTerms, Loss, TermsFunction, check_terms, prepare_loss

__all__ = ["Progress", "Step", "SupervisedStep", "batch_generator", "is_part"]


@dataclass(frozen=True)
class Progress:
    """The position of a batch in a run.

    Attributes:
        epoch: current epoch, from 1.
        epochs: number of epochs of the run.
        batch: current batch within the epoch, from 1.
        batches: number of batches per epoch; None where the loader has no length.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int | None = None

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.batch}"


def batch_generator(device: torch.device, seed: int, progress: Progress) -> torch.Generator:
    """The random numbers of one batch, which depend only on seed, epoch and batch."""
    return _seeded(torch.Generator(device), seed, progress.epoch, progress.batch)


def _seeded(generator: torch.Generator, *seed: int) -> torch.Generator:
    return generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))


def is_part(value: Any) -> bool:
    """Whether the state of an object can be saved: by its methods, or of a `torch.Generator`."""
    methods = ("state_dict", "load_state_dict")
    return isinstance(value, torch.Generator) or (
        not isinstance(value, type)
        and all(callable(getattr(value, method, None)) for method in methods)
    )


class Step:
    """Training and validation of one batch, with everything that has a state; used by `fit`.

    Your own step sets `model`, and defines `__call__` and, where there is a validation loss,
    `validate`. The rest has defaults for one `model` and one `optimizer`.

    Attributes:
        model: the module that is validated and saved; with averaged weights, the average.
        may_log: whether terms may have logs, so that the columns are known only in training.

    Example:
        >>> class Distillation(Step):
        ...     def __init__(self, model, teacher, optimizer):
        ...         self.model, self.optimizer = model, optimizer
        ...         self.teacher = teacher.eval().requires_grad_(False)
        ...
        ...     def terms(self, inputs):
        ...         outputs = self.model(inputs)
        ...         distance = (outputs - self.teacher(inputs)).square().mean()
        ...         return Terms({"distance": distance}), outputs
        ...
        ...     def __call__(self, batch, progress):
        ...         terms, _ = self.terms(batch.inputs)
        ...         self.optimizer.zero_grad()
        ...         terms.total.backward()
        ...         self.optimizer.step()
        ...         return terms
        ...
        ...     def validate(self, batch):
        ...         return self.terms(batch.inputs)
    """

    model: nn.Module
    may_log: bool = True

    def __call__(self, batch: Batch, progress: Progress) -> Terms:
        """Train on one batch: forward, backward, update. The model is in training mode."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(batch, progress)")

    def validate(self, batch: Batch) -> tuple[Terms | None, Any]:
        """Losses and outputs of one batch in one forward pass, in evaluation mode.

        Returns:
            The terms, None where there is no loss, and the outputs of `model(inputs)`; None instead
            of the outputs where they need a separate forward pass, which `predict` then makes.
        """
        with self.autocast():
            return None, self.model(batch.inputs)

    @property
    def has_val_loss(self) -> bool:
        """Whether `validate` may return losses: by default, whether the class defines it."""
        return type(self).validate is not Step.validate

    def predict(self, batch: Batch, outputs: Any = None) -> Any:
        """The input of a metric: `model.predictions(outputs)` where the model has that method.

        Args:
            batch: its inputs go through the model where `outputs` is None.
            outputs: those that `validate` returned.
        """
        with self.autocast():
            if outputs is None:
                outputs = self.model(batch.inputs)
            return predictions_of(self.model, outputs)

    def take(self, batch: Any) -> Batch:
        """Convert a loader's batch to a `Batch` on the model's device; override for other forms."""
        return move_batch(split_batch(batch), self.device)

    def begin(self, *, epochs: int, monitor: str, mode: str, log: Log) -> None:
        """Called by `fit` before the first epoch, with the column that it monitors."""

    def end_batches(self) -> None:
        """Called by `fit` after the last batch of an epoch, before validation."""

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Step the schedules that are stepped once per epoch; `row` has the epoch's columns."""

    def rates(self) -> dict[str, float]:
        """Columns of rates at the start of an epoch: "lr", where the step has an `optimizer`.

        Names that start with "lr" are printed in the epoch's line.
        """
        optimizer = getattr(self, "optimizer", None)
        return {"lr": optimizer.param_groups[0]["lr"]} if optimizer is not None else {}

    def parts(self) -> dict[str, Any]:
        """Name -> object with `state_dict` and `load_state_dict`; everything needed for resuming.

        By default these are all attributes that have both methods, and those that are a
        `torch.Generator`. Extend it by `return super().parts() | {"name": part}`.
        """
        return {name: value for name, value in vars(self).items() if is_part(value)}

    def train(self, mode: bool) -> None:
        """Put all networks into training mode, or into evaluation mode."""
        self.network.train(mode)

    @property
    def network(self) -> nn.Module:
        """The module that is trained: `model`, unless that is its average."""
        return self.model

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The computing type of forward passes: that of `precision` where the step has one."""
        precision = getattr(self, "precision", None)
        return contextlib.nullcontext() if precision is None else precision.autocast()


class StepOptions(TypedDict, total=False):
    """Arguments of `SupervisedStep` that `fit` takes with a module and its optimizer."""

    loss: Loss | None
    terms: TermsFunction | None
    schedule: Schedule | LRScheduler | None
    ema: EMA | None
    clip_norm: float | None
    accumulate: int
    amp: str
    seed: int


class SupervisedStep(Step):
    """One model, one optimizer, and targets: forward, backward, update.

    Args:
        model: the model, on the device to train on.
        optimizer: over the parameters of `model`.
        loss: `loss(outputs, targets)`, such as `torch.nn.CrossEntropyLoss()`; it returns a scalar,
            a dict of scalars that are summed, or `Terms`. A module is moved to the model's device,
            follows it into training and evaluation mode, and its state is saved; its parameters
            must be in the optimizer. Without `loss` and `terms` the model's own method
            `loss(outputs, targets)` is called; a module without one whose `forward(inputs,
            targets)` returns a dict of losses trains by `terms=call_with_targets`.
        terms: `terms(model, inputs, targets)`, where the losses need more than outputs and targets;
            it returns the same as `loss`, and the outputs. With a fourth argument `generator` it
            gets a `torch.Generator` for the batch, seeded from `seed`, so that its random numbers
            do not depend on others.
        schedule: a `Schedule`, or a torch scheduler that is stepped once per epoch, for
            `optimizer`. `ReduceLROnPlateau` gets the column that `fit` monitors. A schedule by
            steps counts updates, without batches that float16 skipped.
        ema: averaged weights; where given, they are validated and saved.
        clip_norm: largest L2 norm of all gradients of the model together.
        accumulate: number of batches per update, which uses their mean gradient. Batches left over
            at the end of an epoch make one more update.
        amp: "auto" (bfloat16 on a GPU, off on the CPU), "bf16", "fp16" or "off".
        seed: seed of the generators for `terms`.

    Raises:
        TypeError: an argument of another type, or no way to compute losses from a batch.
        ValueError: an argument outside its range; an optimizer of another model, or a schedule of
            another optimizer.
    """

    gives_closure = False  # to `optimizer.step`

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        loss: Loss | None = None,
        terms: TermsFunction | None = None,
        schedule: Schedule | LRScheduler | None = None,
        ema: EMA | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        amp: str = "auto",
        seed: int = 0,
    ) -> None:
        example = "torch.optim.AdamW(model.parameters())"
        check_instance(optimizer, "optimizer", "param_groups", example)
        if not self.gives_closure and not binds(type(optimizer).step, 1):
            raise TypeError(
                f"{type(optimizer).__name__}.step needs a closure that evaluates a batch again: "
                "train by sightline.train.ClosureStep(model, optimizer, loss=...)"
            )
        if ema is not None:
            check_instance(ema, "ema", "model", "EMA(model)")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"`clip_norm` must be > 0, got {clip_norm}")
        check_count(accumulate, "accumulate")
        self.accumulate, self._held = accumulate, 0  # batches whose gradients wait for an update
        self._network, self.model = model, model if ema is None else ema.model
        self.optimizer, self.ema, self.clip_norm, self.seed = optimizer, ema, clip_norm, seed
        self.precision = Precision(amp, self.device)
        self._stateful_loss = prepare_loss(loss, model)
        self.batch_terms = BatchTerms(model, loss, terms)
        self.may_log = self.batch_terms.may_log
        check_optimizer(optimizer, model, self._stateful_loss)
        self.schedule = as_schedule(schedule, optimizer)
        # Only where it is needed: not every device has generators.
        wanted = self.batch_terms.takes_generator
        self._validation_noise = torch.Generator(self.device) if wanted else None
        self._monitor = "train/loss"

    @property
    def network(self) -> nn.Module:
        return self._network

    def __call__(self, batch: Batch, progress: Progress) -> Terms:
        terms = self._training_terms(batch, progress)
        numbers = check_terms(terms, where=str(progress))
        total = as_terms(terms).total
        if not self._held:
            self.optimizer.zero_grad(set_to_none=True)
        self.precision.backward(total if self.accumulate == 1 else total / self.accumulate)
        self._held += 1
        if self._held == self.accumulate:
            self._update()
        return numbers

    def end_batches(self) -> None:
        if self._held:
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(self.accumulate / self._held)
            self._update()

    def _update(self) -> None:
        self._held = 0
        if self.precision.update(self.optimizer, self.network, self.clip_norm):
            self._updated()

    def _training_terms(self, batch: Batch, progress: Progress) -> Any:
        """The terms of one forward pass, in the form for `check_terms`."""
        generator = None
        if self.batch_terms.takes_generator:
            generator = batch_generator(self.device, self.seed, progress)
        with self.autocast():
            return self.batch_terms(self.network, batch.inputs, batch.targets, generator)[0]

    def _updated(self) -> None:
        """Called after an update of the weights."""
        if self.ema is not None:
            self.ema.step(self.network)
        if self.schedule is not None:
            self.schedule.step()

    def validate(self, batch: Batch) -> tuple[Terms | None, Any]:
        with self.autocast():
            return self.batch_terms(self.model, batch.inputs, batch.targets, self._validation_noise)

    def begin(self, *, epochs: int, monitor: str, mode: str, log: Log) -> None:
        self._monitor = monitor
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        loss = self._stateful_loss
        if loss is not None and any(
            parameter.requires_grad and id(parameter) not in trained
            for parameter in loss.parameters()
        ):
            log.warn(
                "`loss` has parameters that `optimizer` lacks: they are not trained; give it "
                "loss.parameters() too, or set their requires_grad to False"
            )
        if self.schedule is not None:
            check_schedule(self.schedule, epochs=epochs, monitor=monitor, mode=mode, log=log)

    def end_epoch(self, row: Mapping[str, float]) -> None:
        if self.schedule is not None:
            self.schedule.end_epoch(row[self._monitor])

    def parts(self) -> dict[str, Any]:
        parts = {
            "model": self.network,
            "optimizer": self.optimizer,
            "precision": self.precision,
            "loss": self._stateful_loss,
            "schedule": self.schedule,
            "ema": self.ema,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def train(self, mode: bool) -> None:
        self.network.train(mode)
        self.batch_terms.train(mode)
        self._held = 0  # an interrupted epoch may have left some
        # Every validation uses the same random numbers, and does not affect those of training.
        if not mode and self._validation_noise is not None:
            _seeded(self._validation_noise, self.seed)
