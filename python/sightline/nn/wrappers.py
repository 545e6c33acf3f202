"""Reads models through their wrappers: the module inside, the names of its weights, its device.

`torch.compile`, `DistributedDataParallel` and `DataParallel` wrap a model, or a part of it, in
another module and add a prefix to the name of each tensor: `_orig_mod.head.weight`.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["device_of", "load_plain_state", "plain_state", "predictions_of", "unwrapped"]

_COMPILED, _PARALLEL = "_orig_mod", "module"


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside any number of wrappers; `model` itself without any."""
    while (held := _held_as(model)) is not None:
        model = getattr(model, held)
    return model


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter or buffer; the CPU for a module without either."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def predictions_of(model: nn.Module, outputs: Any) -> Any:
    """The predictions for each input: `model.predictions(outputs)` where it has that method.

    Other outputs are the predictions themselves: logits, or a list of one dict per image, as
    torchvision's detectors return them.
    """
    predictions = getattr(unwrapped(model), "predictions", None)
    return outputs if predictions is None or isinstance(outputs, list) else predictions(outputs)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The `state_dict()` of `model` with the names that it has without wrappers.

    Wrappers are recognised by their type: a part of a model that is called `module` keeps its name.
    """
    return {plain: state for plain, (_, state) in _by_plain_name(model).items()}


def load_plain_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """`model.load_state_dict(state)`, where either, both or neither may come from a wrapper.

    Names in `state` that match the model, wrapped or not, are used unchanged; otherwise prefixes of
    wrappers are removed where the names then match.

    Raises:
        RuntimeError: as in `load_state_dict`.
    """
    names = {plain: actual for plain, (actual, _) in _by_plain_name(model).items()}
    if state.keys() != set(names.values()):
        given = next((r for r in _renamings(state) if r.keys() == names.keys()), state)
        state = {names.get(n, n): value for n, value in zip(given, state.values(), strict=True)}
    model.load_state_dict(state)


def _by_plain_name(model: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """Name without wrappers -> name in the state dict, and the tensor."""
    return {_plain_name(model, name): (name, value) for name, value in model.state_dict().items()}


def _plain_name(model: nn.Module, name: str) -> str:
    parts = []
    module: nn.Module | None = model
    for part in name.split("."):
        if module is None or part != _held_as(module):
            parts.append(part)
        module = None if module is None else module._modules.get(part)
    return ".".join(parts)


def _held_as(module: nn.Module) -> str | None:
    """The attribute in which a wrapper holds the wrapped module; None for any other module."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return _PARALLEL
    # Importing it takes a second, and without it nothing is compiled.
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is not None and isinstance(module, dynamo.OptimizedModule):
        return _COMPILED
    return None


def _renamings(names: Iterable[str]) -> Iterator[dict[str, None]]:
    """The names in order, without prefixes that wrappers of the model or its parts may add."""
    shorter = list(names)
    yield dict.fromkeys(shorter)
    while {name.partition(".")[0] for name in shorter} in ({_COMPILED}, {_PARALLEL}):
        shorter = [name.partition(".")[2] for name in shorter]
        yield dict.fromkeys(shorter)
    for added in ({_COMPILED}, {_PARALLEL}, {_COMPILED, _PARALLEL}):
        yield dict.fromkeys(".".join(p for p in n.split(".") if p not in added) for n in names)
