"""Batch norm under forward-mode differentiation and the transforms of `torch.func`."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional as F

from sightline import ops

from .batch_norm_cases import ACTIVATIONS, LAYOUTS, arguments, assert_near, call

AFTER = {
    None: lambda u: u,
    "relu": F.relu,
    "leaky_relu": lambda u: F.leaky_relu(u, 0.2),
    "silu": F.silu,
}
SETTINGS = [(activation, training) for activation in ACTIVATIONS for training in (True, False)]


def ours(activation, training, running):
    def function(x, weight, bias, residual):
        return ops.batch_norm_act(
            x, weight, bias, *running, residual=residual, activation=activation,
            negative_slope=0.2, training=training,
        )  # fmt: skip

    return function


def theirs(activation, training, running):
    def function(x, weight, bias, residual):
        u = F.batch_norm(x, *running, weight, bias, training)
        return AFTER[activation](u + residual)

    return function


@pytest.fixture
def inputs():
    args = arguments((4, 3, 2, 2), torch.float64, residual=True)
    return tuple(args[k].detach() for k in ("x", "weight", "bias", "residual"))


def running_of(training):
    """Without those that a transform may not change in training."""
    if training:
        return None, None
    return torch.tensor([0.5, 0, -1]).double(), torch.tensor([2, 1, 0.5]).double()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("ghost_batches", [1, 2])
def test_forward_mode_derivatives_are_those_of_the_value(ghost_batches, residual, layout):
    args = arguments((4, 2, 1, 3), torch.float64, layout, residual)
    names = [k for k in ("x", "weight", "bias", "residual") if args[k] is not None]
    for activation, training in SETTINGS:
        running = (None, None) if training else (args["running_mean"], args["running_var"])

        def function(*tensors, activation=activation, training=training, running=running):
            given = {**dict.fromkeys(args), **dict(zip(names, tensors))}
            given["running_mean"], given["running_var"] = running
            return call(
                given, activation=activation, training=training, ghost_batches=ghost_batches
            )

        points = tuple(args[k] for k in names)
        assert torch.autograd.gradcheck(
            function, points, check_forward_ad=True, check_backward_ad=False
        )
    assert torch.autograd.gradgradcheck(function, points, check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_values_of_dual_numbers_are_the_usual_ones(dtype):
    for activation, training in SETTINGS:
        settings = {"activation": activation, "training": training, "ghost_batches": 2}
        plain, dual = (arguments((4, 3, 5, 7), dtype, residual=True) for _ in range(2))
        tracked = torch.tensor([3, 3])
        expected = call(plain, num_batches_tracked=tracked[:1], **settings)
        with forward_ad.dual_level():
            x = forward_ad.make_dual(dual["x"].detach(), torch.ones_like(dual["x"]))
            y = call({**dual, "x": x}, num_batches_tracked=tracked[1:], **settings)
            value, tangent = forward_ad.unpack_dual(y)
            assert tangent is not None and y.dtype == dtype
        assert_near(value, expected.detach().double(), dtype)
        for name in ("running_mean", "running_var"):
            assert forward_ad.unpack_dual(dual[name]).tangent is None
            torch.testing.assert_close(dual[name], plain[name])
        assert tracked[0] == tracked[1]


@pytest.mark.parametrize(("activation", "training"), SETTINGS)
def test_func_transforms_are_those_of_torch(activation, training, inputs):
    running = running_of(training)
    results = []
    for make in (theirs, ours):
        f = make(activation, training, running)
        tangents = tuple(t.cos() for t in inputs)
        loss = lambda *t, f=f: f(*t).pow(3).sum()  # noqa: E731
        results.append(
            (
                *torch.func.jvp(f, inputs, tangents),
                *torch.func.grad(loss, (0, 1, 2, 3))(*inputs),
                torch.func.hessian(loss)(*inputs),
            )
        )
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_vmap_over_models(inputs):
    x, weight, bias, residual = inputs
    f = ours("relu", True, (None, None))
    weights = torch.stack([weight, 2 * weight, -weight])
    y = torch.func.vmap(f, in_dims=(None, 0, None, None))(x, weights, bias, residual)
    for got, w in zip(y, weights):
        torch.testing.assert_close(got, f(x, w, bias, residual))


def test_running_statistics_move_as_without_a_transform(inputs):
    x, *others = inputs
    found = []
    for transform in (
        lambda f: f(x),
        lambda f: torch.func.grad(lambda t: f(t).sum())(x),
        lambda f: torch.func.jvp(f, (x,), (x,)),
        lambda f: torch.func.jacfwd(f)(x),
    ):
        running = torch.zeros(3).double(), torch.ones(3).double()
        f = ours("relu", True, running)
        transform(lambda t, f=f: f(t, *others))
        found.append(torch.cat(running))
    for values in found[1:]:
        torch.testing.assert_close(values, found[0])
    with pytest.raises(
        RuntimeError, match="Batching rule not implemented"
    ):  # which of the batches?
        torch.func.vmap(lambda t: f(t, *others))(torch.stack([x, x]))


def test_empty_batch_has_a_tangent():
    empty, ones = torch.zeros(0, 3, 2, 2), torch.ones(3)
    f = ours("silu", True, (None, None))
    y, tangent = torch.func.jvp(f, (empty, ones, ones, empty), (empty, ones, ones, empty))
    assert y.shape == tangent.shape == empty.shape
