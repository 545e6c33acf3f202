"""Optimizers by name, with weight decay only on the weights that should decay."""

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["OPTIMIZERS", "make_optimizer", "parameter_groups"]

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad")


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict]:
    """The trainable parameters in two groups: weights that decay, and others that do not.

    Parameters of fewer than two dimensions (biases, batch-norm scales and shifts) do not decay:
    shrinking them does not regularise what the layer computes.

    Raises:
        ValueError: the model has no trainable parameter.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("`model` has no parameter with requires_grad=True, so nothing to train")
    decaying = [p for p in trainable if p.ndim >= 2]
    plain = [p for p in trainable if p.ndim < 2]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    model: nn.Module,
    name: str,
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """A torch optimizer by name over `parameter_groups(model)`.

    Args:
        model: its parameters with `requires_grad` are trained.
        name: one of `OPTIMIZERS`. "sgd" has no momentum; "momentum" and "nesterov" are SGD with it.
        lr: base learning rate, > 0.
        weight_decay: >= 0; decoupled for "adamw", added to the gradient for the others.
        momentum: in [0, 1), for "momentum", "nesterov" and "rmsprop".
        betas: for "adam" and "adamw".

    Raises:
        ValueError: an unknown name or a value outside its range.
    """
    if not lr > 0:
        raise ValueError(f"`lr` must be > 0, got {lr}")
    if not weight_decay >= 0:
        raise ValueError(f"`weight_decay` must be >= 0, got {weight_decay}")
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1), got {momentum}")
    groups = parameter_groups(model, weight_decay=weight_decay)
    match name:
        case "sgd":
            return torch.optim.SGD(groups, lr=lr)
        case "momentum":
            return torch.optim.SGD(groups, lr=lr, momentum=momentum)
        case "nesterov":
            return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)
        case "adam":
            return torch.optim.Adam(groups, lr=lr, betas=betas)
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, betas=betas)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=lr, momentum=momentum)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=lr)
    raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
