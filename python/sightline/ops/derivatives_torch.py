"""Registers derivatives of ops, of every order, in reverse and forward mode.

The kernels compute one derivative, the first in reverse mode, which nearly all calls need.
Gradients of gradients, forward mode and the transforms of `torch.func` use the op's formula
composed of torch's own operations, which torch can differentiate any number of times in every mode.
The results equal those of the kernels up to the last bits, at the cost of a dozen operations and
their memory. The op chooses between the two, so that no caller has to.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Inputs = tuple[Any, ...]

_PLAIN = frozenset({Tensor, torch.nn.Parameter, float, int, bool, type(None)})

_libraries: dict[str, torch.library.Library] = {}  # registrations live as long as these


def register_derivatives(
    name: str,
    composed: Callable[..., Any],
    *,
    setup_context: Callable[[Any, Inputs, Any], None] | None = None,
    backward: Callable[..., Any] | None = None,
    library: torch.library.Library | None = None,
) -> None:
    """Register the derivatives of op `name`.

    Args:
        name: name of an op of `sightline`, or with its namespace.
        composed: maps the op's inputs to its outputs, by torch's own operations.
        setup_context: as in `torch.library.register_autograd`, for `backward`.
        backward: maps the context and gradients of the outputs to those of the inputs, as there.
            Its derivatives are those of the ops in it. Without it gradients come from `composed`.
        library: the library that defined the op, where the registration should end with it.
    """
    namespace, _, short = name.rpartition("::")
    namespace = namespace or "sightline"
    op = getattr(getattr(torch.ops, namespace), short).default
    declared = op._schema.arguments

    class Native(torch.autograd.Function):
        """The kernel, with its gradient."""

        @staticmethod
        def forward(ctx: Any, *inputs_and_keys: Any) -> Any:
            *inputs, keys = inputs_and_keys
            outputs = kernel(keys, *inputs)
            assert setup_context is not None
            setup_context(ctx, tuple(inputs), outputs)
            return outputs

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            assert backward is not None
            return *backward(ctx, *grads), None

    def kernel(keys: Any, *inputs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keys & torch._C._after_autograd_keyset, *inputs)

    def rule(keys: Any, *inputs: Any) -> Any:
        if len(inputs) < len(declared):  # the dispatcher leaves out arguments with default values
            inputs += tuple(argument.default_value for argument in declared[len(inputs) :])
        if has_tangent(inputs):
            return composed(*inputs)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*inputs):
            if backward is None or torch._C._are_functorch_transforms_active():
                return composed(*inputs)
            return Native.apply(*inputs, keys)
        return kernel(keys, *inputs)

    if library is None:
        library = _libraries.setdefault(namespace, torch.library.Library(namespace, "FRAGMENT"))
    library.impl(short, rule, "Autograd", with_keyset=True)


def register_with_backward(name: str, composed: Callable[..., Any], *, differentiable: int) -> None:
    """Register op `<name>_backward(grad, *inputs)` as the gradient of op `name`.

    It returns gradients in the shapes of the inputs. The first `differentiable` inputs are tensors
    with gradients, the others numbers.
    """
    backward_op = getattr(torch.ops.sightline, f"{name}_backward")

    def setup_context(ctx: Any, inputs: Inputs, output: Any) -> None:
        ctx.save_for_backward(*inputs[:differentiable])
        ctx.numbers = inputs[differentiable:]

    def backward(ctx: Any, grad: Tensor) -> Inputs:
        grads = backward_op(grad, *ctx.saved_tensors, *ctx.numbers)
        return *grads, *(None for _ in ctx.numbers)

    def composed_backward(grad: Tensor, *inputs: Any) -> Inputs:
        tensors, numbers = inputs[:differentiable], inputs[differentiable:]
        return pull_back(lambda *t: composed(*t, *numbers), tensors, [grad])

    register_derivatives(name, composed, setup_context=setup_context, backward=backward)
    register_derivatives(f"{name}_backward", composed_backward)


def has_tangent(inputs: Sequence[Any]) -> bool:
    """Whether one of them is a tensor that carries a tangent of forward mode."""
    # Checking a tensor costs as much as a small op. The level is unknown where a compiled graph
    # entered it: there functorch is active, or tensors are of the compiler's classes.
    if (
        forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and all(type(t) in _PLAIN for t in inputs)
    ):
        return False
    return any(
        isinstance(t, Tensor) and forward_ad.unpack_dual(t, level=0).tangent is not None
        for t in inputs
    )


def is_differentiated(inputs: Sequence[Any]) -> bool:
    """Whether a derivative with respect to one of them is needed."""
    wanted = torch.is_grad_enabled() and torch._C._any_requires_grad(*inputs)
    return wanted or has_tangent(inputs)


def is_transformed(inputs: Sequence[Any]) -> bool:
    """Whether more than a gradient is needed: forward mode, or `torch.func`."""
    return torch._C._are_functorch_transforms_active() or has_tangent(inputs)


def without_derivatives(op: Any, *inputs: Any) -> Any:
    """The result of an op's kernel as a constant, for use in the `composed` of that op."""
    with torch._C._AutoDispatchBelowAutograd():
        return op(*inputs)


def pull_back(
    function: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Differentiable gradients of `function` with respect to its inputs, given those of outputs."""
    if not inputs:
        return ()
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, so that an input that depends on another input does not include its gradient.
        aliases = [t.view_as(t) for t in inputs]
        for alias in aliases:
            if not alias.requires_grad:
                alias.requires_grad_()
        outputs = function(*aliases)
    return torch.autograd.grad(
        outputs, aliases, grads, create_graph=create_graph, materialize_grads=True
    )


def with_value(value: Tensor, derivative_of: Tensor) -> Tensor:
    """`value` with the derivatives of the other, which differs by rounding or clamping."""
    return derivative_of + (value - derivative_of).detach()
