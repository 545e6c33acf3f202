"""Finds the add and activation that alone follow a batch norm in a traced graph."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from sightline.nn.batch_norm.graph import Traced, calls_of, has_hooks, is_in_order, is_plain

Settings = dict[str, Any]  # `activation` and where it has one `negative_slope`

_ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
_INTO_FIRST = (operator.iadd, "add_")
_RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
_LEAKY_RELUS = (F.leaky_relu, F.leaky_relu_)
_SILUS = (F.silu,)
_IN_PLACE = {getattr(operator, f"i{name}") for name in ("add", "sub", "mul", "truediv", "pow")}


@dataclass(eq=False)
class Match:
    """A batch norm in the graph of `traced` and what follows it there."""

    traced: Traced
    node: fx.Node  # the call of the norm, or of a Sequential that ends in it
    norm: Any
    sequentials: list[nn.Module]  # from that of `node` to that which holds the norm
    add: fx.Node | None = None
    residual: fx.Node | None = None
    activation: fx.Node | None = None
    settings: Settings = field(default_factory=lambda: {"activation": None})
    identities: list[fx.Node] = field(default_factory=list)  # that lie between
    reason: str = ""  # why nothing more follows

    @property
    def pattern(self) -> str:
        parts = ["batch norm", "add" if self.add else "", self.settings["activation"] or ""]
        return " + ".join(filter(None, parts))

    def last(self) -> fx.Node | None:
        """The node whose value the fused op gives; None where nothing can be fused."""
        return self.activation or self.add


def find_matches(traced: Traced, norms: Any) -> Iterator[Match]:
    """Every call of a module in `norms`, or of a Sequential that ends in one."""
    for node, module in calls_of(traced):
        sequentials = []
        while is_in_order(module) and not has_hooks(module) and module._modules:
            sequentials.append(module)
            module = next(reversed(module._modules.values()))  # type: ignore[assignment]
        if module in norms:
            yield _followed(Match(traced, node, module, sequentials))


def activation_of(module: nn.Module) -> Settings | None:
    """The settings of `BatchNormAct2d` that correspond to this activation."""
    if is_plain(module, nn.ReLU):
        return {"activation": "relu"}
    if is_plain(module, nn.LeakyReLU):
        return {"activation": "leaky_relu", "negative_slope": module.negative_slope}
    if is_plain(module, nn.SiLU):
        return {"activation": "silu"}
    return None


def only_user(traced: Traced, node: fx.Node) -> tuple[list[fx.Node], str]:
    """The identities after `node` and the only node that uses it; or nothing and a reason."""
    passed: list[fx.Node] = []
    while True:
        flat: list[fx.Node] = []
        for user in node.users:
            fx.node.map_arg((user.args, user.kwargs), flat.append)
        if flat.count(node) != 1:
            return [], f"its output is used {flat.count(node)} times"
        user = next(iter(node.users))
        if user.op == "output":
            return [], "its output is returned"
        passed.append(user)
        if user.op != "call_module" or not is_plain(traced.target(user), nn.Identity):
            return passed, ""
        node = user


def describe(traced: Traced, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(traced.target(node)).__name__
    return node.target if isinstance(node.target, str) else node.target.__name__  # type: ignore


def _followed(match: Match) -> Match:
    path, match.reason = only_user(match.traced, match.node)
    if not path:
        return match
    *identities, node = path
    if node.op != "call_module" and node.target in _ADDS:
        residual, match.reason = _residual(match, node, identities)
        if residual is None:
            return match
        match.add, match.residual, match.identities = node, residual, identities
        path, _ = only_user(match.traced, node)
        if not path:
            return match
        *identities, node = path
    settings = _activation_at(match.traced, node)
    if settings is not None:
        match.activation, match.settings = node, settings
        match.identities = match.identities + identities
    else:
        match.reason = f"{describe(match.traced, node)} follows it"
    return match


def _residual(match: Match, add: fx.Node, identities: list[fx.Node]) -> tuple[fx.Node | None, str]:
    """What is added to the output of the norm; None and the reason where it cannot be fused."""
    tail = identities[-1] if identities else match.node
    if len(add.args) != 2 or add.kwargs not in ({}, {"alpha": 1}):
        return None, "it is added with a factor or into a given tensor"
    first = add.args[0] is tail
    other = add.args[1] if first else add.args[0]
    if not isinstance(other, fx.Node) or other.op == "get_attr":
        return None, "what is added to it is not a feature map"
    if add.target in _INTO_FIRST and not first:
        return None, "it is added in place into another tensor"
    if len(match.node.args) != 1 or match.node.kwargs:
        return None, "it has a residual already"
    # The fused op runs where the add is: what it reads must still be what the norm read.
    x = match.node.args[0]
    node = match.node.next
    while node is not add:
        if _may_write(match.traced, node, x):
            return None, f"{describe(match.traced, node)} may change its input before the add"
        node = node.next
    return other, ""


def _may_write(traced: Traced, node: fx.Node, x: Any) -> bool:
    if node.op == "call_module":
        module = traced.target(node)
        return getattr(module, "inplace", False) or (
            x in node.all_input_nodes and not _only_reads(module)
        )
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    by_name = name.endswith("_") and not name.endswith("__")
    flagged = "out" in node.kwargs or node.kwargs.get("inplace") is True
    by_position = node.op == "call_function" and any(a is True for a in node.args)
    return node.op != "get_attr" and (by_name or flagged or by_position or node.target in _IN_PLACE)


def _only_reads(module: nn.Module) -> bool:
    """Whether calling `module` leaves its input unchanged."""
    if is_in_order(module):
        first = next(iter(module.children()), None)
        return first is None or isinstance(first, _NEW_OUTPUT)
    return type(module).__module__.startswith("torch.nn.modules.")


_NEW_OUTPUT = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.AvgPool2d)


def _activation_at(traced: Traced, node: fx.Node) -> Settings | None:
    if node.op == "call_module":
        return activation_of(traced.target(node))
    if node.target in _RELUS:
        return {"activation": "relu"}
    if node.target in _SILUS:
        return {"activation": "silu"}
    if node.target in _LEAKY_RELUS:
        slope = node.args[1] if len(node.args) > 1 else node.kwargs.get("negative_slope", 0.01)
        if isinstance(slope, (int, float)):
            return {"activation": "leaky_relu", "negative_slope": float(slope)}
    return None
