"""How an op's `_<op>_torch.py` gives it derivatives: of every order, in reverse and forward mode.

The kernels know one derivative, the first in reverse mode, and that is what nearly every call asks
for. Gradients of gradients, forward mode and the transforms of `torch.func` take the op's formula
composed of torch's own operations, which torch differentiates itself: as often as one likes, right
in every mode, equal to the kernels but for the last bits, at the cost of a dozen operations and
their memory. Both stand behind the op, so that no caller chooses.
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
    """Registers what op `name` does where a derivative is asked for.

    Args:
        name: of an op of `sightline`, or with its namespace.
        composed: the op's inputs -> its outputs, of torch's own operations.
        setup_context: as of `torch.library.register_autograd`, for `backward`.
        backward: the context and gradients of the outputs -> gradients of the inputs, as there. Its
            own derivatives are those of the ops in it. Without one every gradient is `composed`'s.
        library: that defined the op, where the registration is to end with it.
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
        if len(inputs) < len(declared):  # the dispatcher leaves out what equals its default
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
    """The gradient of op `name` is op `<name>_backward(grad, *inputs)`, in the inputs' shapes.

    The first `differentiable` inputs are tensors with gradients, the others numbers without.
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
    # Asking a tensor costs as much as a small op. The level is not told where a compiled graph
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
    """Whether a derivative by one of them is asked for."""
    wanted = torch.is_grad_enabled() and torch._C._any_requires_grad(*inputs)
    return wanted or has_tangent(inputs)


def is_transformed(inputs: Sequence[Any]) -> bool:
    """Whether a rule for the gradient alone would not do: forward mode, or `torch.func`."""
    return torch._C._are_functorch_transforms_active() or has_tangent(inputs)


def without_derivatives(op: Any, *inputs: Any) -> Any:
    """What the kernel of an op gives, as a constant, in the `composed` of that op."""
    with torch._C._AutoDispatchBelowAutograd():
        return op(*inputs)


def pull_back(
    function: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of `function` by its inputs, given those of its outputs; to differentiate again."""
    if not inputs:
        return ()
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, so that an input that depends on another one does not count that one's share.
        aliases = [t.view_as(t) for t in inputs]
        for alias in aliases:
            if not alias.requires_grad:
                alias.requires_grad_()
        outputs = function(*aliases)
    return torch.autograd.grad(
        outputs, aliases, grads, create_graph=create_graph, materialize_grads=True
    )


def with_value(value: Tensor, derivative_of: Tensor) -> Tensor:
    """`value` with the derivatives of the other, from which rounding or a clamp took it."""
    return derivative_of + (value - derivative_of).detach()
