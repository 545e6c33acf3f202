"""Recognises timm's batch norms with an activation by what they compute."""

import copy

import torch
from torch import nn

from sightline.nn.batch_norm.forward import activate
from sightline.nn.batch_norm.graph import has_hooks
from sightline.nn.batch_norm.match import Settings, activation_of


def own_activation(module: nn.Module) -> Settings | None:
    """The settings of timm's BatchNormAct2d: a batch norm, no dropout, then an activation.

    It is recognised by its attributes and then by running it, since it has its own forward. None
    for other modules.
    """
    children = {name: child for name, child in module._modules.items() if child is not None}
    if not isinstance(module, nn.BatchNorm2d) or type(module).__name__ != "BatchNormAct2d":
        return None
    if has_hooks(module) or "forward" in vars(module):
        return None
    act = children.pop("act", None)
    if act is None or any(type(child) is not nn.Identity for child in children.values()):
        return None
    none: Settings = {"activation": None}
    settings = none if type(act) is nn.Identity else activation_of(act)
    return settings if settings and _acts_as(module, settings) else None


def subclass_reason(module: nn.Module) -> str:
    """Why a batch norm of another class is left: the class, and the parts it has."""
    parts = [type(m).__name__ for m in module.children() if type(m) is not nn.Identity]
    within = f" with {' and '.join(parts)}" if parts else ""
    return f"it is a subclass, {type(module).__name__}{within}"


def _acts_as(module: nn.BatchNorm2d, settings: Settings) -> bool:
    """Whether a copy of `module` computes batch norm and this activation on a small input."""
    plain = nn.BatchNorm2d(
        module.num_features,
        module.eps,
        module.momentum,
        module.affine,
        module.track_running_stats,
    )
    theirs = copy.deepcopy(module).to("cpu", torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, module.num_features, 2, 3, dtype=torch.float64, generator=generator)
    slope = settings.get("negative_slope", 0.0)
    try:
        plain.double().load_state_dict(theirs.state_dict())
        for training in (True, False):
            expected = activate(plain.train(training)(x), settings["activation"], slope)
            if not torch.allclose(theirs.train(training)(x), expected):
                return False
    except Exception:  # whatever it is, it is not a batch norm and an activation
        return False
    ours, own = plain.state_dict(), theirs.state_dict()
    return all(torch.allclose(ours[name], own[name]) for name in ours)
