"""Symbolic tracing of what one module's own `forward` does with its children.

Every module of a model is traced by itself, with its children as single steps, so that a `forward`
that cannot be traced hides only the modules that it calls itself. Tracing runs on a copy of the
module object and records what a graph does not contain (reads of settings, `with` blocks, random
numbers), so that a caller knows what the graph can be used for.
"""

import dis
import inspect
import os
import random
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import torch
from torch import fx, nn

from sightline.nn.batch_norm.forward import Rewritten, takes_residual

# With a separator at the end: the folders of torchvision and others begin with torch's name.
_TORCH_FOLDER = os.path.join(torch.__path__[0], "")
_STANDARD_LIBRARY = os.path.join(sysconfig.get_paths()["stdlib"], "")
_IN_ORDER = nn.Sequential.forward
# Globals with which a forward can tell a proxy from a tensor.
_LOOKS_AT_TYPES = {"isinstance", "type", "hasattr", "issubclass"}


@dataclass
class Traced:
    """The graph of one module's forward, or why there is none."""

    name: str
    module: nn.Module
    graph: fx.Graph | None = None
    reason: str = ""  # why there is no graph
    is_chain: bool = False  # each child is called once, in order, under its own name
    rewritable: str = ""  # why the graph must not replace the forward; "" where it may
    settings: dict[str, Any] = field(default_factory=dict)  # plain attributes that it read
    codes: set[CodeType] = field(default_factory=set)  # the model's own functions that ran

    def target(self, node: fx.Node) -> nn.Module:
        return self.module.get_submodule(str(node.target))


def is_in_order(module: nn.Module) -> bool:
    """Whether `module` calls its children one after the other, with an unchanged forward."""
    return (
        isinstance(module, nn.Sequential)
        and type(module).forward is _IN_ORDER
        and "forward" not in vars(module)
    )


def check_module(model: Any) -> None:
    """Raises TypeError unless `model` is a module."""
    if not isinstance(model, nn.Module):
        named = f" {model!r}: sightline.models.create_model makes one by its name"
        raise TypeError(
            f"`model` must be a torch.nn.Module, got {type(model).__name__}"
            f"{named if isinstance(model, str) else ''}"
        )


def has_hooks(module: nn.Module) -> bool:
    return any(
        (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    )


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether `module` is exactly of one of these classes, without hooks or a replaced forward.

    A parametrised module has a class of its own; old-style weight norm is a hook.
    """
    return type(module) in kinds and not has_hooks(module) and "forward" not in vars(module)


def trace_all(model: nn.Module) -> list[Traced]:
    """Every module of `model` that has children and a forward, traced by itself."""
    found = []
    for name, module in model.named_modules():
        opaque = isinstance(module, (nn.ModuleList, nn.ModuleDict, torch.jit.ScriptModule))
        if any(child is not None for child in module._modules.values()) and not opaque:
            found.append(trace_forward(name, module))
    return found


def count_names(model: nn.Module) -> Counter[nn.Module]:
    """The number of names under which each module is registered."""
    children = [child for m in model.modules() for child in m._modules.values()]
    return Counter(child for child in children if child is not None)


def calls_of(traced: Traced) -> Iterator[tuple[fx.Node, nn.Module]]:
    """Each call of a child in the graph; none where there is no graph."""
    for node in () if traced.graph is None else list(traced.graph.nodes):
        if node.op == "call_module":
            yield node, traced.target(node)


def trace_forward(name: str, module: nn.Module) -> Traced:
    """`module.forward` as a graph in which each call of a child is one node."""
    traced = Traced(name, module)
    if isinstance(module, fx.GraphModule):
        traced.graph, traced.rewritable = module.graph, "it is a graph module"
    elif is_in_order(module) or takes_residual(module):
        traced.graph, traced.rewritable = _chain(module), "it is a Sequential"
        traced.is_chain = True
    elif "forward" in vars(module):
        traced.reason = "its forward was replaced on the instance"
    else:
        _trace_forward(traced)
        if isinstance(module, Rewritten):
            traced.rewritable = "it was rewritten before"
    return traced


def _chain(module: nn.Module) -> fx.Graph:
    """The graph of a Sequential, each position under its own name even where children repeat."""
    graph = fx.Graph()
    node = graph.placeholder("input")
    for name in module._modules:
        node = graph.call_module(name, (node,))
    graph.output(node)
    return graph


def _trace_forward(traced: Traced) -> None:
    try:
        traced.graph = _trace(traced, {})
        for changed in _variants(traced.module):
            other = _trace(Traced(traced.name, traced.module), changed)
            if _text(other) != _text(traced.graph):
                what = "whether it trains" if "training" in changed else "its optional arguments"
                traced.graph, traced.reason = None, f"its forward depends on {what}"
                break
    except Exception as error:  # a forward may do anything with a proxy
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        traced.graph, traced.reason = None, f"its forward cannot be traced: {said}"


def _variants(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Other circumstances, in which tracing must give the same graph."""
    yield {"training": not module.training}
    parameters = inspect.signature(module.forward).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    if defaults:
        yield {"defaults": defaults}


def _text(graph: fx.Graph) -> list[str]:
    """The graph as lines that do not depend on names, without what fixed arguments add to it."""
    kept: dict[fx.Node, str] = {}
    lines: list[str] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            kept[node] = f"input {len(kept)}"
        elif _is_assertion(node) or (node.users and all(map(_is_assertion, node.users))):
            continue
        else:
            kept[node] = str(len(lines))
            arguments = _named((node.args, node.kwargs), kept)
            lines.append(f"{node.op} {node.target} {arguments}")
    return lines


def _is_assertion(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") in ("_assert", "_assert_is_none")


def _named(arguments: Any, names: dict[fx.Node, str]) -> str:
    if isinstance(arguments, fx.Node):
        return f"%{names.get(arguments)}"
    if isinstance(arguments, (tuple, list)):
        return f"({', '.join(_named(a, names) for a in arguments)})"
    if isinstance(arguments, dict):
        return f"({', '.join(f'{k}={_named(a, names)}' for k, a in arguments.items())})"
    return repr(arguments)


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        # Patching `math`, the default, would affect modules that a forward imports while tracing.
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self.proxy_buffer_attributes = True  # else an update in place would happen while tracing
        self.modes: set[tuple[bool, ...]] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        self.modes.add(_modes())
        return super().create_node(*args, **kwargs)


def _modes() -> tuple[bool, ...]:
    devices = ("cpu", "cuda")
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        *(torch.is_autocast_enabled(device) for device in devices),
    )


def _trace(traced: Traced, changed: dict[str, Any]) -> fx.Graph:
    tracer = _Tracer()
    stand_in = _stand_in(traced.module, traced.settings)
    if "training" in changed:
        stand_in.__dict__["training"] = changed["training"]
    before = _contents(stand_in)
    state = random.getstate(), torch.get_rng_state()
    profiler = sys.getprofile()
    sys.setprofile(lambda frame, event, _: _note(traced.codes, frame, event))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional arguments that cannot be asserted
            graph = tracer.trace(stand_in, concrete_args=changed.get("defaults"))
    finally:
        sys.setprofile(profiler)
        drawn = random.getstate() != state[0] or not torch.equal(torch.get_rng_state(), state[1])
        random.setstate(state[0])
        torch.set_rng_state(state[1])
    after = _contents(stand_in)
    stored = [k for k in after if k not in before or after[k] is not before[k]]
    traced.rewritable = _objection(traced, graph, len(tracer.modes | {_modes()}) > 1, drawn, stored)
    return graph


def _stand_in(module: nn.Module, settings: dict[str, Any]) -> nn.Module:
    """A module with the children and tensors of `module` that records which settings are read."""
    kind: Any = type(module)

    class StandIn(kind):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            plain = value is None or isinstance(value, (bool, int, float, str))
            if plain and name != "training" and not name.startswith("_"):
                settings[name] = value
            return value

    stand_in: Any = object.__new__(StandIn)
    stand_in.__dict__.update(vars(module))
    for name in ("_modules", "_parameters", "_buffers"):
        stand_in.__dict__[name] = dict(vars(module)[name])
    return stand_in


def _contents(module: nn.Module) -> dict[str, Any]:
    """Every attribute, child and tensor, but the constants that tracing adds."""
    found = {**vars(module), **module._modules, **module._parameters, **module._buffers}
    return {name: value for name, value in found.items() if not name.startswith("_tensor_constant")}


def _note(codes: set[CodeType], frame: Any, event: str) -> None:
    """Collects the functions of the model that run: not torch's, Python's and this file's."""
    file = frame.f_code.co_filename
    ours = file == __file__ or file.startswith(("<frozen", _TORCH_FOLDER))
    library = file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file
    checkpoint = file.endswith("utils/checkpoint.py")
    if event == "call" and (checkpoint or not (ours or library)):
        codes.add(frame.f_code)


def _objection(
    traced: Traced, graph: fx.Graph, modes_change: bool, drawn: bool, stored: list[str]
) -> str:
    """Why the graph does not represent the whole forward; "" where it does."""
    module, codes = traced.module, traced.codes
    tensors = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    kinds = {p.kind for p in inspect.signature(module.forward).parameters.values()}
    objections = {
        "its forward takes any arguments": kinds
        & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD},
        "its forward draws random numbers": drawn,
        "its forward uses checkpointing": any(
            code.co_filename.startswith(_TORCH_FOLDER) for code in codes
        ),
        "its forward has a `with` block": modes_change or any(map(_has_with_block, codes)),
        "its forward looks at types": any(_LOOKS_AT_TYPES & set(c.co_names) for c in codes),
        f"its forward stores `{''.join(stored[:1])}`": stored,
        "its forward makes a tensor": any(
            n.op == "get_attr" and n.target not in tensors for n in graph.nodes
        ),
    }
    return next((reason for reason, holds in objections.items() if holds), "")


def _has_with_block(code: CodeType) -> bool:
    return any(i.opname in ("BEFORE_WITH", "LOAD_SPECIAL") for i in dis.get_instructions(code))


def loads(codes: set[CodeType], name: str) -> int:
    """How often these functions name the attribute `name`."""
    return sum(
        i.argval == name and i.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))
        for code in codes
        for i in dis.get_instructions(code)
    )
