"""A step for two networks that train against each other: a generator and a discriminator."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sightline.losses import Terms, as_terms
from sightline.nn.wrappers import device_of
from sightline.optim.ema import EMA
from sightline.optim.schedule import Schedule
from sightline.train.arguments import (
    as_schedule,
    check_count,
    check_instance,
    check_schedule,
)
from sightline.train.batches import Batch, batch_size, check_optimizer
from sightline.train.log import Log
from sightline.train.precision import Precision
from sightline.train.step import Progress, Step, batch_generator
from sightline.train.terms import check_terms

__all__ = ["AdversarialStep", "Player"]


@dataclass(frozen=True)
class Player:
    """One of the two networks, with its optimizer and loss.

    Attributes:
        model: the network, on the device to train on.
        optimizer: over the parameters of `model`.
        loss: the loss to minimise, returned as a scalar, a dict of scalars that are summed, or
            `Terms`: `loss(generated_scores)` for a generator, `loss(real_scores, generated_scores)`
            for a discriminator. Scores are the outputs of the discriminator.
        schedule: a `Schedule`, or a torch scheduler that is stepped once per epoch.
        clip_norm: largest L2 norm of all gradients of the network together.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[..., Tensor | Mapping[str, Tensor] | Terms]
    schedule: Schedule | LRScheduler | None = None
    clip_norm: float | None = None


class AdversarialStep(Step):
    """Train a generator against a discriminator, as in a GAN.

    Each batch of real images updates the discriminator `critic_steps` times, each time with newly
    generated images, and then the generator once. Loss columns have the name of the network:
    "train/generator_loss", and "train/discriminator_real_loss" for a term "real". Their sum,
    "train/loss", does not measure the quality of the images; a `metric` can, which gets images that
    the generator makes from the same latents in every validation.

    Args:
        generator: makes images from latents [B, *latent_shape] of a normal distribution.
        discriminator: scores images, in any shape that the losses accept.
        latent_shape: shape of one latent.
        critic_steps: updates of the discriminator per update of the generator, >= 1.
        ema: averaged weights of the generator; where given, they are validated and saved.
        amp: "auto" (bfloat16 on a GPU, off on the CPU), "bf16", "fp16" or "off".
        seed: seed of the latents, which depend only on (seed, epoch, batch), so that a resumed run
            continues with the same ones.

    Batches are real images, alone or with targets, which are only passed to a `metric`.

    Raises:
        TypeError: a `Player` that lacks something, or an argument of another kind.
        ValueError: an argument outside its range, or an optimizer of another network.
        FloatingPointError: when called: a loss is NaN or infinite; the message names the epoch and
            the step.

    Source: Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1.
    """

    def __init__(
        self,
        generator: Player,
        discriminator: Player,
        *,
        latent_shape: Sequence[int],
        critic_steps: int = 1,
        ema: EMA | None = None,
        amp: str = "auto",
        seed: int = 0,
    ) -> None:
        check_count(critic_steps, "critic_steps")
        if not isinstance(latent_shape, Sequence) or isinstance(latent_shape, str):
            raise TypeError(f"`latent_shape` must be a shape such as (64,), got {latent_shape!r}")
        if ema is not None:
            check_instance(ema, "ema", "model", "EMA(generator)")
        self.latent_shape, self.critic_steps = tuple(latent_shape), critic_steps
        self.ema, self.seed = ema, seed
        self.generator = _Training("generator", generator, amp)
        self.discriminator = _Training("discriminator", discriminator, amp)
        self.model = generator.model if ema is None else ema.model
        self.precision = self.generator.precision
        self._generator_terms = _GeneratorTerms(generator, discriminator.model)
        self._discriminator_terms = _DiscriminatorTerms(discriminator)
        self._monitor = "train/loss"
        self._validated = 0  # batches since the validation began

    @property
    def network(self) -> nn.Module:
        return self.generator.model

    def take(self, batch: Any) -> Batch:
        """Real images, alone or with targets, on the generator's device."""
        alone = isinstance(batch, (list, tuple)) and len(batch) == 1
        if alone or isinstance(batch, Tensor):
            batch = (batch[0] if alone else batch, None)
        return super().take(batch)

    def __call__(self, batch: Batch, progress: Progress) -> Terms:
        count, where = batch_size(batch.inputs), str(progress)
        random = batch_generator(self.device, self.seed, progress)
        for _ in range(self.critic_steps):
            with self.autocast():
                with torch.no_grad():
                    generated = self.network(self._latents(count, random))
                found = self._discriminator_terms(batch.inputs, generated)
            of_discriminator = check_terms(found, where=where)
            self.discriminator.update(found.total)
        with _frozen(self.discriminator.model):
            with self.autocast():
                found = self._generator_terms(self._latents(count, random))
            of_generator = check_terms(found, where=where)
            updated = self.generator.update(found.total)
        if updated and self.ema is not None:
            self.ema.step(self.network)
        return Terms(
            {**of_generator.losses, **of_discriminator.losses},
            {**of_generator.logs, **of_discriminator.logs},
        )

    def validate(self, batch: Batch) -> tuple[None, Any]:
        """No losses, and as many generated images as the batch has real ones."""
        self._validated += 1
        # Epochs count from 1, so training never uses these latents.
        place = Progress(epoch=0, epochs=0, batch=self._validated)
        random = batch_generator(self.device, self.seed, place)
        with self.autocast():
            return None, self.model(self._latents(batch_size(batch.inputs), random))

    @property
    def has_val_loss(self) -> bool:
        return False

    def _latents(self, count: int, random: torch.Generator) -> Tensor:
        return torch.randn(count, *self.latent_shape, generator=random, device=self.device)

    def begin(self, *, epochs: int, monitor: str, mode: str, log: Log) -> None:
        self._monitor = monitor
        for training in (self.generator, self.discriminator):
            if training.schedule is not None:
                check_schedule(
                    training.schedule, epochs=epochs, monitor=monitor, mode=mode, log=log
                )

    def end_epoch(self, row: Mapping[str, float]) -> None:
        for training in (self.generator, self.discriminator):
            if training.schedule is not None:
                training.schedule.end_epoch(row[self._monitor])

    def rates(self) -> dict[str, float]:
        """ "lr" of the generator, and "discriminator_lr"."""
        return {"lr": self.generator.rate, "discriminator_lr": self.discriminator.rate}

    def parts(self) -> dict[str, Any]:
        others = self.discriminator.parts()
        parts = self.generator.parts() | {f"discriminator_{name}": p for name, p in others.items()}
        return parts if self.ema is None else {**parts, "ema": self.ema}

    def train(self, mode: bool) -> None:
        self.generator.model.train(mode)
        self.discriminator.model.train(mode)
        self._validated = 0


class _Training:
    """The training state of one of the two networks."""

    def __init__(self, name: str, player: Player, amp: str) -> None:
        example = f"torch.optim.Adam({name}.parameters())"
        check_instance(player, name, "optimizer", f"Player({name}, optimizer, loss)")
        check_instance(player.optimizer, f"{name}.optimizer", "param_groups", example)
        if not callable(player.loss):
            raise TypeError(f"`{name}.loss` must be a function, got {type(player.loss).__name__}")
        if player.clip_norm is not None and not player.clip_norm > 0:
            raise ValueError(f"`{name}.clip_norm` must be > 0, got {player.clip_norm}")
        check_optimizer(player.optimizer, player.model, None)
        self.model, self.optimizer = player.model, player.optimizer
        self.clip_norm = player.clip_norm
        self.schedule = as_schedule(player.schedule, player.optimizer)
        self.precision = Precision(amp, device_of(player.model))

    @property
    def rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def update(self, loss: Tensor) -> bool:
        """Returns whether the weights were updated: not where float16 overflowed."""
        updated = self.precision.step(loss, self.optimizer, self.model, self.clip_norm)
        if updated and self.schedule is not None:
            self.schedule.step()
        return updated

    def parts(self) -> dict[str, Any]:
        names = ("model", "optimizer", "precision", "schedule")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


# These two are to be wrapped for several processes, or compiled: in each, one call of `forward`
# uses every parameter that its loss trains.


class _DiscriminatorTerms(nn.Module):
    """Terms of real and generated images, which are separate batches for batch norm."""

    def __init__(self, player: Player) -> None:
        super().__init__()
        self.discriminator, self.loss = player.model, player.loss

    def forward(self, real: Tensor, generated: Tensor) -> Terms:
        scores = self.discriminator(real), self.discriminator(generated)
        return _named("discriminator", self.loss(*scores))


class _GeneratorTerms(nn.Module):
    """Terms of the images that the generator makes from latents."""

    def __init__(self, player: Player, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.loss = player.model, player.loss
        self._scores = (discriminator,)  # in a tuple, so that its parameters are not registered

    def forward(self, latents: Tensor) -> Terms:
        (discriminator,) = self._scores
        return _named("generator", self.loss(discriminator(self.generator(latents))))


def _named(network: str, value: Any) -> Terms:
    """Terms with the name of the network in their names."""

    def name(term: str) -> str:
        return network if term == "loss" else f"{network}_{term}"

    terms = as_terms(value)
    return Terms(
        {name(term): loss for term, loss in terms.losses.items()},
        {name(term): number for term, number in terms.logs.items()},
    )


@contextlib.contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Disable the gradients of its parameters, which are not needed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
