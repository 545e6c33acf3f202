"""Methods other than `forward` that use a batch norm or its activation."""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from sightline.nn.batch_norm.graph import Traced

# Attributes of a batch norm that do not change when it is fused.
_STAY = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked", "eps", "momentum"}
_STAY |= {"num_features", "affine", "track_running_stats", "training"}


def method_in_conflict(
    traced: Traced, norms: set[str], activation: str | None = None
) -> str | None:
    """A method outside the forward whose result fusing `norms` would change; or None.

    With `activation`, that module becomes an identity, and a method may call it on the output of
    one of the norms. Otherwise methods may only read tensors and settings of the norms.
    """
    activations = set() if activation is None else {activation}
    names = norms | activations
    for method, function in _other_methods(traced):
        mentions = not names.isdisjoint(_words(function.__code__))
        if mentions and not _agrees(function, norms, activations):
            return method
    return None


def _other_methods(traced: Traced) -> Iterator[tuple[str, Any]]:
    for kind in type(traced.module).__mro__:
        if kind.__module__.startswith("torch.nn.modules.") or kind is object:
            continue
        for method, found in vars(kind).items():
            function = getattr(found, "fget", None) or getattr(found, "__func__", found)
            code = getattr(function, "__code__", None)
            overridden = inspect.getattr_static(type(traced.module), method) is not found
            is_other = code is not None and code not in traced.codes and method != "__init__"
            if is_other and not overridden:
                yield method, function


def _words(code: Any) -> set[Any]:
    """Names and texts of a function and those within it."""
    inner = [_words(constant) for constant in code.co_consts if hasattr(constant, "co_names")]
    texts = {constant for constant in code.co_consts if isinstance(constant, str)}
    return texts.union(code.co_names, *inner)


def _agrees(function: Any, norms: set[str], activations: set[str]) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    known: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _STAY:
            known.add(node.value)
        elif isinstance(node, ast.Call):
            known.update(_read(node))
            if len(node.args) == 1 and isinstance(node.args[0], ast.Call):
                known.update(_pair(node.args[0], node, norms, activations))
        for body in ("body", "orelse", "finalbody"):
            statements = getattr(node, body, None)
            if isinstance(statements, list):
                for first, second in itertools.pairwise(statements):
                    known.update(_lines(first, second, norms, activations))
    names = norms | activations
    uses = [node for node in ast.walk(tree) if _is_one_of(node, names)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return known.issuperset(uses) and not texts & names  # a text may be for `getattr`


def _read(call: ast.Call) -> list[ast.AST]:
    """`getattr(self.norm, "weight", ...)` and `hasattr`."""
    reads = isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr")
    if not reads or len(call.args) < 2 or not isinstance(call.args[1], ast.Constant):
        return []
    return [call.args[0]] if call.args[1].value in _STAY else []


def _pair(
    inner: ast.Call, outer: ast.Call, norms: set[str], activations: set[str]
) -> list[ast.AST]:
    """`self.activation(self.norm(x))`"""
    fits = _is_one_of(inner.func, norms) and _is_one_of(outer.func, activations)
    return [inner.func, outer.func] if fits and not outer.keywords else []


def _lines(
    first: ast.stmt, second: ast.stmt, norms: set[str], activations: set[str]
) -> list[ast.AST]:
    """`x = self.norm(...)` and then `x = self.activation(x)`"""
    if not isinstance(first, ast.Assign) or not isinstance(second, ast.Assign):
        return []
    inner, outer = first.value, second.value
    if not isinstance(inner, ast.Call) or not isinstance(outer, ast.Call) or len(outer.args) != 1:
        return []
    names = [ast.unparse(node) for node in (outer.args[0], *first.targets, *second.targets)]
    same = isinstance(outer.args[0], ast.Name) and names == 3 * names[:1]
    return _pair(inner, outer, norms, activations) if same else []


def _is_one_of(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in names
