"""Loss terms of one batch, from either of the two kinds of model that `fit` trains."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sightline.nn.wrappers import unwrapped

__all__ = ["Loss", "compute_terms", "prepare_loss"]

# loss(outputs, targets) -> a scalar, or a dict of scalars whose sum is minimised.
Loss = Callable[[Any, Any], Tensor | dict[str, Tensor]]


def prepare_loss(loss: Loss | None, model: nn.Module) -> nn.Module | None:
    """Move a loss that is a module to the model's device; the loss again where it has a state.

    Raises:
        TypeError: `loss` cannot be called, or there is none and `model` does not take targets.
    """
    if isinstance(loss, nn.Module):
        loss.to(next(model.parameters()).device)
        return loss if loss.state_dict() else None
    if loss is not None:
        if isinstance(loss, type):
            raise TypeError(f"`loss` must be an instance: loss={loss.__name__}()")
        if not callable(loss):
            raise TypeError(
                "`loss` must be a function of (outputs, targets) or a module such as "
                f"torch.nn.CrossEntropyLoss(), got {type(loss).__name__}"
            )
        return None
    model = unwrapped(model)
    try:
        inspect.signature(model.forward).bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"{type(model).__name__}.forward does not take (images, targets), so it gives no "
            "losses: give `loss`, such as loss=torch.nn.CrossEntropyLoss()"
        ) from error
    except ValueError:  # no signature to look at
        pass
    return None


def compute_terms(
    model: nn.Module, loss: Loss | None, inputs: Any, targets: Any
) -> tuple[Any, Any]:
    """Loss terms and outputs of one batch.

    With `loss` the model runs once and both are there. Without it `model(inputs, targets)` gives
    the terms and the outputs are None; a model that gives a list of predictions there in evaluation
    mode, as torchvision's detectors do, has no terms, and they are None.
    """
    if loss is None:
        found = model(inputs, targets)
        if isinstance(found, list) and not model.training:
            return None, found
        return found, None
    outputs = model(inputs)
    terms = loss(outputs, _as_labels(targets))
    if isinstance(terms, Tensor):
        terms = {"loss": terms}
    if not isinstance(terms, dict):
        raise TypeError(
            "loss(outputs, targets) must return a scalar tensor or a dict of them, "
            f"got {type(terms).__name__}"
        )
    return terms, outputs


def _as_labels(targets: Any) -> Any:
    """Targets of our classification loader as the tensor [B] that losses take."""
    ours = isinstance(targets, (list, tuple)) and len(targets) > 0
    if not ours or not all(isinstance(t, dict) and t.keys() >= {"label", "index"} for t in targets):
        return targets
    return torch.stack([target["label"] for target in targets])
