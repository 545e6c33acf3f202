"""A step for optimizers that evaluate the loss several times, such as L-BFGS."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sightline.losses import Terms, as_terms
from sightline.optim.ema import EMA
from sightline.optim.schedule import Schedule
from sightline.train.batches import Batch
from sightline.train.checkpoint import random_state, set_random_state
from sightline.train.step import Progress, SupervisedStep
from sightline.train.terms import Loss, TermsFunction, check_terms

__all__ = ["ClosureStep"]


class ClosureStep(SupervisedStep):
    """A `SupervisedStep` whose optimizer is given a closure: `optimizer.step(closure)`.

    `torch.optim.LBFGS` compares the losses of one batch at several weights, so they must be values
    of the same function. Every evaluation therefore starts from the same random state (dropout
    drops the same units) and the same buffers. After the step both are as after a single
    evaluation, so the running statistics of batch norm are updated once per batch. The terms of the
    batch are those of the first evaluation, with the weights before the step.

    Args:
        model, optimizer, loss, terms, schedule, ema, seed: as in `SupervisedStep`.
        amp: "off" or "bf16". float16 is refused: it skips steps and rescales the loss between them.

    Gradients are neither clipped nor accumulated over batches: they would then not belong to the
    function whose values the optimizer compares. Use larger batches instead of accumulation;
    L-BFGS works best where one batch is the whole training set.

    Raises:
        TypeError, ValueError: as in `SupervisedStep`; `amp="fp16"`.
        FloatingPointError: when called: the first loss, or a weight after the step, is NaN or
            infinite; the message names the epoch and the step. An infinite loss at a trial point is
            left to the line search.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
        >>> step = ClosureStep(model, optimizer, loss=nn.MSELoss())
    """

    gives_closure = True

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        loss: Loss | None = None,
        terms: TermsFunction | None = None,
        schedule: Schedule | LRScheduler | None = None,
        ema: EMA | None = None,
        amp: str = "off",
        seed: int = 0,
    ) -> None:
        if amp not in ("off", "bf16"):
            raise ValueError(
                f"`amp` must be 'off' or 'bf16' in a ClosureStep, got {amp!r}: the optimizer "
                "compares losses, and float16 skips steps and rescales the loss between them"
            )
        super().__init__(
            model,
            optimizer,
            loss=loss,
            terms=terms,
            schedule=schedule,
            ema=ema,
            amp=amp,
            seed=seed,
        )

    def __call__(self, batch: Batch, progress: Progress) -> Terms:
        parts = (self.network, self._stateful_loss)
        buffers = [buffer for part in parts if part is not None for buffer in part.buffers()]
        before = _take(buffers)
        after: Any = None
        numbers: Terms | None = None

        def closure() -> float:
            nonlocal after, numbers
            _put(buffers, before)
            self.optimizer.zero_grad(set_to_none=True)
            terms = self._training_terms(batch, progress)
            if numbers is None:
                numbers = check_terms(terms, where=str(progress))
                after = _take(buffers)
            total = as_terms(terms).total
            total.backward()
            return total.item()

        self.optimizer.step(closure)
        if numbers is None:
            raise TypeError(
                f"{type(self.optimizer).__name__}.step(closure) did not call the closure: give an "
                "optimizer that does, such as torch.optim.LBFGS"
            )
        _put(buffers, after)
        self._check_weights(progress)
        self._updated()
        return numbers

    def _check_weights(self, progress: Progress) -> None:
        for name, weight in self.network.named_parameters():
            if not torch.isfinite(weight).all():
                raise FloatingPointError(
                    f"weight {name!r} is not finite after {progress}: give the optimizer a lower "
                    "lr, or a line search (line_search_fn='strong_wolfe')"
                )


State = tuple[dict[str, Any], list[Tensor]]


def _take(buffers: list[Tensor]) -> State:
    """The state that an evaluation depends on and changes: random state and buffers."""
    return random_state(), [buffer.clone() for buffer in buffers]


@torch.no_grad()
def _put(buffers: list[Tensor], state: State) -> None:
    set_random_state(state[0])
    for buffer, value in zip(buffers, state[1], strict=True):
        buffer.copy_(value)
