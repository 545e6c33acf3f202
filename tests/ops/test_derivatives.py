"""Derivatives of every op that has one: forward mode, higher orders, `torch.func`, compiled."""

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad, gradcheck

from sightline import ops

from .box_cases import random_boxes
from .derivative_cases import assert_differentiable, leaves
from .rotated_cases import random_rotated_boxes


def boxes(n, seed=0):
    """[n, 4], each of which overlaps the others without a tie."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 4, (n, 2))
    return torch.tensor(np.concatenate([low, low + rng.uniform(4, 9, (n, 2))], 1))


def rotated_boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(0, 3, (n, 2)), rng.uniform(4, 8, (n, 2)), rng.uniform(-80, 80, (n, 1))]
    return torch.tensor(np.concatenate(columns, 1))


def normal(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def batch_norm_inputs(n):
    return normal(n, 2, 3), normal(2, seed=1), normal(2, seed=2), normal(n, 2, 3, seed=3)


# Of each op: the tensors to differentiate by, and the numbers behind them.
CASES = {
    "encode_boxes": ((boxes(4), boxes(2, 1)), (1.0, 2.0, -1.0, 0.5)),
    "decode_boxes": ((normal(2, 2, 4), boxes(2)), (10.0, 10.0, 5.0, 5.0, True, 8.0, 9.0)),
    "box_iou_max": ((boxes(3)[None], boxes(2, 1)[None]), ()),
    "box_iou_rotated": ((rotated_boxes(1), rotated_boxes(2, 1)), (True,)),
    "aligned_box_iou_rotated": ((rotated_boxes(2), rotated_boxes(2, 1)), (False,)),
    "batch_norm_act": (batch_norm_inputs(4), (2, 0.1, 1e-5, 1, 2)),
    "batch_norm_apply": (batch_norm_inputs(2), (3, 0.1, 1e-5, 0)),
}
for form in ("box_iou", "box_ioa", "generalized_box_iou", "distance_box_iou", "complete_box_iou"):
    eps = (1e-7,) if form.startswith(("distance", "complete")) else ()
    CASES[form] = (boxes(2)[None], boxes(4, 1).reshape(2, 2, 4)), eps
    CASES[f"{form}_aligned"] = (boxes(3), boxes(3, 1)), eps
    if "_box" in form:
        CASES[f"{form}_loss"] = (boxes(3), boxes(3, 1)), (1e-7,)
WITH_BACKWARD = sorted(name for name in CASES if not name.startswith("batch_norm"))


def values_of(name, *tensors):
    """What the op gives that has derivatives."""
    op, numbers = getattr(torch.ops.sightline, name), CASES[name][1]
    if name == "batch_norm_apply":
        x, weight, bias, residual = tensors
        running = normal(2, seed=4), normal(2, seed=5).abs()
        return op(x, weight, bias, *running, residual, *numbers)[0]
    found = op(*tensors, *numbers)
    if name == "box_iou_max":
        return found[::2]
    return found[0] if isinstance(found, tuple) else found


def loss_of(name, *tensors):
    values = values_of(name, *tensors)
    values = values if isinstance(values, tuple) else (values,)
    return sum(value.pow(3).sum() for value in values)


def assert_all_close(got, expected, **tolerances):
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerances)


def test_every_op_with_derivatives_is_tested_here():
    registered = {
        name.removeprefix("sightline::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("sightline::")
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, "Autograd")
    }
    assert registered == {*CASES, *(f"{name}_backward" for name in WITH_BACKWARD)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_derivatives_of_every_mode_and_order_are_those_of_the_value(name):
    assert_differentiable(lambda *t: values_of(name, *t), *CASES[name][0])


@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_derivatives_of_the_gradient_are_those_of_its_value(name):
    tensors, others = CASES[name]
    values = values_of(name, *tensors)
    if name == "box_iou_max":
        others = torch.ops.sightline.box_iou_max(*tensors)[1::2]
    grads = [normal(*value.shape) for value in (values if name == "box_iou_max" else [values])]
    op = getattr(torch.ops.sightline, f"{name}_backward")
    inputs = leaves(*grads, *tensors)
    assert gradcheck(lambda *t: op(*t, *others), inputs, check_forward_ad=True, fast_mode=True)
    native = op(*grads, *tensors, *others)
    assert not any(grad.requires_grad for grad in native)
    composed = [grad.detach() for grad in op(*inputs, *others)]
    assert_all_close(composed, native, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted(CASES))
def test_transforms_of_func_are_those_of_autograd(name):
    tensors = CASES[name][0]
    places = tuple(range(len(tensors)))
    loss = lambda *t: loss_of(name, *t)  # noqa: E731
    inputs = leaves(*tensors)
    grads = torch.autograd.grad(loss(*inputs), inputs)
    assert_all_close(torch.func.grad(loss, places)(*tensors), grads)
    tangents = tuple(t.cos() for t in tensors)
    along = sum((grad * tangent).sum() for grad, tangent in zip(grads, tangents))
    torch.testing.assert_close(torch.func.jvp(loss, tensors, tangents)[1], along)
    hessian = torch.autograd.functional.hessian(loss, tensors)
    for row, expected in zip(torch.func.hessian(loss, places)(*tensors), hessian, strict=True):
        assert_all_close(row, expected)
    per_sample = torch.vmap(torch.func.grad(loss, places))(*(t[None] for t in tensors))
    assert_all_close([grad[0] for grad in per_sample], grads)


@pytest.mark.parametrize(
    ("name", "backend"),
    [("box_iou_aligned", "aot_eager"), ("encode_boxes", "eager"), ("batch_norm_act", "aot_eager")],
)
def test_forward_mode_compiles_into_one_graph(name, backend):
    tensors = CASES[name][0]
    tangents = tuple(t.cos() for t in tensors)
    function = lambda *t: torch.func.jvp(lambda *t: loss_of(name, *t), t, tangents)[1]  # noqa: E731
    expected = function(*tensors)
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(*tensors), expected)


def test_dual_level_compiles_into_one_graph():
    a, b = CASES["box_iou_aligned"][0]

    def function(a, b):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(ops.box_iou(forward_ad.make_dual(a, b), b)).tangent

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a, b), function(a, b))


def test_second_derivative_of_a_compiled_op_is_refused():
    a, b = CASES["box_iou_aligned"][0]
    torch.compiler.reset()
    compiled = torch.compile(ops.box_iou, fullgraph=True, backend="aot_eager")
    (a,) = leaves(a)
    (grad,) = torch.autograd.grad(compiled(a, b).sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        grad.sum().backward()


def bad_cases(dtype):
    """Functions of two tensors with bad rows, equal rows and rows that lie edge to edge."""
    rng = np.random.default_rng(0)
    a, b = (torch.tensor(random_boxes(rng, 90, dtype, bad=True)) for _ in range(2))
    b[:20] = a[:20]
    for form in (name for name in CASES if name.endswith(("box_iou", "box_ioa", "_loss"))):
        yield form, getattr(ops, form), a, b
    yield "box_iou_max", lambda x, y: ops.box_iou_max(x, y).column_max, a, b
    # Infinite coordinates have infinite deltas, whose gradients mean nothing.
    a, b = (x[x.abs().amax(1) < 1e6][:50] for x in (a, b))
    yield "encode_boxes", ops.encode_boxes, a, b
    yield "decode_boxes", lambda x, y: ops.decode_boxes(x / 30, y, size=(60, 70)), a, b
    a, b = (torch.tensor(random_rotated_boxes(rng, 60, dtype, bad=True)) for _ in range(2))
    b[:20] = a[:20]
    b[20:30, 4] = a[20:30, 4] = 90
    yield "box_iou_rotated", ops.box_iou_rotated, a.round(), b.round()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_boxes_and_ties_have_the_value_and_gradient_of_the_kernel(dtype):
    tolerances = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {}
    for name, function, a, b in bad_cases(dtype):
        inputs = leaves(a, b)
        values = function(*inputs)
        weight = torch.tensor(np.random.default_rng(1).normal(size=values.shape).astype(dtype))
        weight[~values.isfinite()] = 0
        native = torch.autograd.grad(values, inputs, weight, retain_graph=True)
        composed = torch.autograd.grad(values, inputs, weight, create_graph=True)
        for got, expected in zip(composed, native, strict=True):
            assert got.requires_grad and got.isfinite().all(), name
            torch.testing.assert_close(got.detach(), expected, msg=name, **tolerances)
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, torch.ones_like(x)) for x in (a, b)]
            value, tangent = forward_ad.unpack_dual(function(*duals))
        torch.testing.assert_close(value, values.detach(), msg=name, **tolerances)
        along = (tangent * weight).sum(), sum(grad.sum() for grad in native)
        torch.testing.assert_close(*along, msg=name, rtol=1e-3, atol=1e-3)


def test_first_gradients_have_the_bits_of_the_kernel():
    name = "complete_box_iou_loss"
    inputs = leaves(*CASES[name][0])
    grads = torch.autograd.grad(values_of(name, *inputs).sum(), inputs)
    op = torch.ops.sightline.complete_box_iou_loss_backward
    native = op(torch.ones(3).double(), *CASES[name][0], 1e-7)
    assert all(torch.equal(one, other) for one, other in zip(grads, native, strict=True))


def test_a_gradient_penalty_counts():
    a, b = leaves(boxes(3))[0], boxes(3, 1)
    loss = ops.generalized_box_iou_loss(a, b, "sum")
    (grad,) = torch.autograd.grad(loss, a, create_graph=True)
    (of_penalty,) = torch.autograd.grad(grad.square().sum(), a)
    assert of_penalty.abs().max() > 1e-3


@pytest.mark.parametrize("function", [ops.box_iou, ops.box_iou_rotated])
def test_out_refuses_tangents(function):
    given = boxes(2) if function is ops.box_iou else rotated_boxes(2)
    out = torch.empty(2, 2).double()

    def filled(x):
        return function(x, given, out=out)

    with pytest.raises(ValueError, match="`out` is not differentiable: leave it out, or detach"):
        torch.func.jvp(filled, (given,), (given,))
    with pytest.raises(ValueError, match="`out` is not differentiable: leave it out, or detach"):
        torch.func.grad(lambda x: filled(x).sum())(given)


PLAIN = {
    "box_convert": lambda x: ops.box_convert(x, "xyxy", "cxcywh"),
    "box_convert rotated": lambda x: ops.box_convert(x, "cxcywhr", "xyxyxyxy"),
    "box_area": ops.box_area,
    "clip_boxes_to_image": lambda x: ops.clip_boxes_to_image(x, (5.3, 6.1)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_derivatives_of_conversions_are_those_of_the_value(name):
    assert_differentiable(PLAIN[name], (rotated_boxes if "rotated" in name else boxes)(2))
