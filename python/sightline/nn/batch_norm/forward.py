"""Rewrites forwards from a graph, in classes that can be copied, pickled and compiled."""

import linecache
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F


def add_into(norm: Any, x: Tensor, residual: Tensor) -> Tensor:
    """`norm(x, residual)`, with the type promotion and broadcasting of `+`.

    `norm` is a `BatchNormAct`, or a Sequential that ends in one.
    """
    if isinstance(norm, nn.Sequential) or isinstance(x, fx.Proxy):
        return norm(x, residual)
    if torch.broadcast_shapes(x.shape, residual.shape) != x.shape:
        return _add_after(norm, x, residual)
    if residual.dtype != x.dtype:
        wide = torch.promote_types(x.dtype, residual.dtype)
        x, residual = x.to(wide), residual.to(wide)
    return norm(x, residual if residual.shape == x.shape else residual.expand_as(x))


def _add_after(norm: Any, x: Tensor, residual: Tensor) -> Tensor:
    """For a residual larger than x, such as a map to which a pooled vector is added."""
    activation, norm.activation = norm.activation, None
    try:
        y = norm(x)
    finally:
        norm.activation = activation
    return activate(y + residual, activation, norm.negative_slope)


def as_one_step(module: nn.Module, x: fx.Proxy, residual: Any) -> fx.Proxy:
    """The call of `module` in a graph that torch.fx traces, as that of a batch norm of torch is."""
    tracer: Any = x.tracer
    arguments = (x,) if residual is None else (x, residual)
    return tracer.create_proxy("call_module", tracer.path_of_module(module), arguments, {})


def activate(x: Tensor, activation: str | None, negative_slope: float) -> Tensor:
    if activation == "leaky_relu":
        return F.leaky_relu(x, negative_slope)
    return x if activation is None else {"relu": F.relu, "silu": F.silu}[activation](x)


# The forward of a Sequential that ends in the batch norm to which its caller adds.
SEQUENTIAL_SOURCE = """\
def forward(self, input, residual=None):
    *first, last = self
    for module in first:
        input = module(input)
    return last(input) if residual is None else add_into(last, input, residual)
"""


def rewrite_forward(
    module: nn.Module, source: str, names: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Make `module` an instance of a subclass of its class whose forward is `source`.

    `names` are the globals of the source. `settings` are attributes that the old forward read and
    the new one does not: setting one of them to another value raises an error.
    """
    base: Any = type(module)
    stored = {n: _Module(v.__name__) if isinstance(v, ModuleType) else v for n, v in names.items()}
    module.__class__ = _class(base, source, tuple(stored.items()), tuple(settings.items()))


def takes_residual(module: nn.Module) -> bool:
    """Whether this is a Sequential that passes a residual on to its last module."""
    return isinstance(module, Rewritten) and module.source == SEQUENTIAL_SOURCE


def source_of(graph: fx.Graph) -> tuple[str, dict[str, Any]]:
    """The source of a forward with this graph, and the globals that it needs."""
    for node in graph.nodes:
        node.type = None  # an annotation would be one more name
    code = graph.python_code("self")
    source = code.src.strip() + "\n"
    used = set(_all_names(compile(source, "<forward>", "exec")))
    return source, {name: value for name, value in code.globals.items() if name in used}


def _all_names(code: Any) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _all_names(constant)


class _Module(str):
    """A Python module by its name, which pickles and copies."""


class Rewritten:
    """The base of the classes that are created here."""

    source: str
    names: dict[str, Any]
    settings: dict[str, Any]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.settings and value != self.settings[name]:
            raise RuntimeError(
                f"`{name}` was {self.settings[name]!r} when convert_batch_norm rewrote the forward "
                f"of this {type(self).__name__}, which no longer reads it: set it before converting"
            )
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(self)
        recipe = (
            kind.__mro__[2],
            kind.source,
            tuple(kind.names.items()),
            tuple(self.settings.items()),
        )
        return _blank, recipe, self.__getstate__()


def _blank(*recipe: Any) -> Any:
    kind = _class(*recipe)
    return kind.__new__(kind)


@cache
def _class(base: Any, source: str, names: tuple[Any, ...], settings: tuple[Any, ...]) -> Any:
    """One class for all modules with the same forward, so that torch compiles them once."""
    found: dict[str, Any] = {}
    file = f"<forward of {base.__name__}, batch norms fused: {hash((base, source)):x}>"
    modules = {n: import_module(v) for n, v in names if isinstance(v, _Module)}
    exec(compile(source, file, "exec"), {**dict(names), **modules}, found)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    body = {
        "forward": found["forward"],
        "source": source,
        "names": dict(names),
        "settings": dict(settings),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base)(base.__name__, (Rewritten, base), body)
