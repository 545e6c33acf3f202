"""`Terms`: the losses of a batch, which are minimised, and numbers that are only shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["Terms", "as_terms"]


@dataclass(frozen=True)
class Terms:
    """The named numbers of one batch.

    Attributes:
        losses: term -> scalar tensor; their sum is minimised.
        logs: name -> scalar tensor or number; averaged over the images and shown, never minimised.

    Example:
        >>> import torch
        >>> terms = Terms({"class": torch.tensor(0.5), "box": torch.tensor(0.25)}, {"positives": 7})
        >>> terms.total
        tensor(0.7500)
    """

    losses: Mapping[str, Tensor]
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The sum of the losses, in their order; ValueError where there are none."""
        if not self.losses:
            raise ValueError("there is no loss among the terms, so nothing to minimise")
        first, *others = self.losses.values()
        return sum(others, start=first)


def as_terms(value: Any, *, source: str = "a loss") -> Terms:
    """Convert the return value of a loss to `Terms`.

    Args:
        value: a scalar tensor, which is named "loss"; a dict of scalar tensors, which are the
            losses; or `Terms`, which are returned unchanged.
        source: what returned it, for the error.

    Raises:
        TypeError: anything else.

    Example:
        >>> import torch
        >>> as_terms(torch.tensor(2.0)).losses
        {'loss': tensor(2.)}
    """
    if isinstance(value, Terms):
        return value
    if isinstance(value, Tensor):
        return Terms({"loss": value})
    if isinstance(value, Mapping):
        return Terms(value)
    raise TypeError(
        f"{source} must return a scalar tensor or a dict of them, or sightline.losses.Terms, "
        f"got {type(value).__name__}"
    )
