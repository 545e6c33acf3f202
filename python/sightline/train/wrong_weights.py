"""Weights that are not those of a model, or no weights at all, in words of one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from sightline.nn.wrappers import plain_state, unwrapped

__all__ = ["check_finite", "what_does_not_fit"]

_NAMED = 3


def what_does_not_fit(model: nn.Module, given: Mapping[str, Tensor], source: Path) -> str:
    """How the tensors of the file `source` differ from those that `model` has."""
    here = plain_state(model)
    missing = [name for name in here if name not in given]
    unknown = [name for name in given if name not in here]
    shapes = [
        f"{name} {list(given[name].shape)} for {list(here[name].shape)}"
        for name in here
        if name in given and given[name].shape != here[name].shape
    ]
    differences = [
        f"{len(names)} {words} ({_listed(names)})"
        for names, words in (
            (missing, f"of its {len(here)} tensors missing"),
            (unknown, "unknown to it"),
            (shapes, "of another shape"),
        )
        if names
    ]
    kind = type(unwrapped(model)).__name__
    return f"{source} holds weights of another model than {kind}: {', '.join(differences)}"


def check_finite(model: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Raise ValueError where weights are NaN or infinite, as diverged training leaves them.

    What is no parameter may be infinite, as the buffer of a mask is, but not NaN.
    """
    parameters = {name for name, _ in model.named_parameters()}
    bad = [
        name
        for name, value in weights.items()
        if value.is_floating_point()
        and bool((~value.isfinite() if name in parameters else value.isnan()).any())
    ]
    if bad:
        raise ValueError(
            f"{source} cannot be used: {len(bad)} of {len(weights)} tensors are NaN or infinite "
            f"({_listed(bad)}), as after training that diverged; take an earlier epoch, or train "
            "with a lower learning rate"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
