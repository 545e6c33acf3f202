"""What batch norm keeps for backward, derivatives of every order, training beside torch."""

import pytest
import torch
from torch.nn import functional as F

from sightline import ops

from .batch_norm_cases import (
    ACTIVATIONS,
    LAYOUTS,
    TOLERANCE,
    arguments,
    call,
)


def saved_bytes(function, *args, **settings):
    """Bytes that autograd keeps for the backward pass of a call, tensors counted once."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        function(*args, **settings)
    return sum(kept.values())


def test_memory_kept_for_the_backward_pass():
    args = arguments((4, 64, 32, 32), residual=True)
    size = args["x"].numel() * 4
    vectors = 64 * (2 * 8 + 2 * 4) + 64  # statistics, weight and bias
    alone = {**args, "residual": None}
    for activation in ACTIVATIONS:
        assert saved_bytes(call, alone, activation=activation) <= size + vectors
    for activation in ("relu", "leaky_relu"):
        kept = saved_bytes(call, args, activation=activation)
        assert kept <= size + size // 32 + vectors  # one bit per element
    for activation in (None, "leaky_relu"):  # y, and not x
        assert saved_bytes(call, alone, activation=activation, save="output") <= size + vectors
    frozen = {k: v if v is None else v.detach() for k, v in args.items()}
    frozen["x"].requires_grad_(), frozen["residual"].requires_grad_()
    for activation, most in ((None, 0), ("relu", size), ("leaky_relu", size)):
        kept = saved_bytes(call, frozen, activation=activation, training=False)
        assert kept <= most + vectors

    def eager(x, weight, bias):
        return F.silu(F.batch_norm(x, None, None, weight, bias, True))

    theirs = saved_bytes(eager, *(args[k] for k in ("x", "weight", "bias")))
    assert saved_bytes(call, alone, activation="silu") <= 0.51 * theirs


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", [None, "leaky_relu"])
def test_gradients_from_the_output_are_those_from_the_input(activation, layout, dtype):
    args = arguments((4, 10, 9, 7), dtype, layout)
    with torch.no_grad():  # of every sign, and not too small
        args["weight"].copy_(args["weight"].sign() * (args["weight"].abs() + 0.5))
    grad = torch.randn(4, 10, 9, 7).to(dtype)
    inputs = [args[k] for k in ("x", "weight", "bias")]
    found = [
        torch.autograd.grad(
            call(args, activation=activation, negative_slope=0.1, save=save), inputs, grad
        )
        for save in ("input", "output")
    ]
    for a, b in zip(*found):
        room = 30 if dtype in (torch.float16, torch.bfloat16) else 300
        scale = a.abs().max().item()
        torch.testing.assert_close(a, b, rtol=0, atol=room * torch.finfo(dtype).eps * scale)


def test_output_is_no_start_where_a_weight_is_too_small():
    args = arguments((4, 3, 5, 5))
    for weight, bias in ((0.0, 0.0), (1e-5, 0.0), (0.01, 100.0)):
        with torch.no_grad():
            args["weight"][1], args["bias"][1] = weight, bias
        with pytest.raises(RuntimeError, match=r"`weight\[1\]` is"):
            call(args, save="output")
        # On CUDA, which does not wait to raise: never a wrong gradient.
        x, w, b = (args[k].detach() for k in ("x", "weight", "bias"))
        y, statistics, _ = torch.ops.sightline.batch_norm_act(x, w, b, None, 0, 0.0, 1e-5, 0)
        grad_x, grad_weight, *_ = torch.ops.sightline.batch_norm_act_backward(
            torch.ones_like(y), None, y, w, b, statistics, None, None, 0, 0.0, True, 1e-5, True,
            False,
        )  # fmt: skip
        assert grad_x[:, 1].isnan().all() and grad_weight.isnan().tolist() == [False, True, False]
        assert not grad_x[:, [0, 2]].isnan().any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_derivatives_of_higher_order(activation, residual, layout, training):
    args = arguments((3, 2, 2, 2), torch.float64, layout, residual)
    running = [args[k].clone() for k in ("running_mean", "running_var")]
    settings = {"activation": activation, "negative_slope": 0.2, "training": training}
    after = {
        None: lambda u: u,
        "relu": F.relu,
        "leaky_relu": lambda u: F.leaky_relu(u, 0.2),
        "silu": F.silu,
    }[activation]

    def theirs(x, w, b, z):
        u = F.batch_norm(x, *(t.clone() for t in running), w, b, training)
        return after(u if z is None else u + z)

    def ours(x, w, b, z):
        return ops.batch_norm_act(x, w, b, *(t.clone() for t in running), residual=z, **settings)

    given = [args[k] for k in ("x", "weight", "bias", "residual")]
    inputs = [t for t in given if t is not None]
    orders = []
    for function in (theirs, ours):
        value = function(*given).pow(3).sum()
        first = torch.autograd.grad(value, inputs, create_graph=True)
        squares = sum(g.square().sum() for g in first)
        orders.append((*first, *torch.autograd.grad(squares, inputs)))
    for a, b in zip(*orders):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)

    def second(x):
        (g,) = torch.autograd.grad(ours(x, *given[1:]).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), x, create_graph=True)[0]

    # torch's third order is wrong: ours is held to differences of the second.
    x, step, direction = args["x"], 1e-6, torch.randn_like(args["x"])
    third = torch.autograd.grad((second(x) * direction).sum(), x)[0]
    above, below = (
        second((x + sign * step * direction).detach().requires_grad_()).detach() for sign in (1, -1)
    )
    expected = (above - below) / (2 * step)  # a Hessian is symmetric
    scale = max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(third, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_second_gradients_of_an_empty_batch(activation, training):
    for layout in LAYOUTS:
        args = arguments((0, 2, 3, 3), layout=layout, residual=True)
        inputs = [args[k] for k in ("x", "weight", "bias", "residual")]
        value = call(args, activation=activation, training=training).pow(3).sum()
        first = torch.autograd.grad(value, inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        for got, given in zip(second, inputs):
            assert got.shape == given.shape and got.eq(0).all()


def test_second_gradients_from_the_output_raise():
    args = arguments((3, 2, 4, 4))
    (grad,) = torch.autograd.grad(
        call(args).pow(2).sum(), args["x"], create_graph=True
    )  # save="input" can
    grad.sum().backward()
    y = call(args, save="output")
    with pytest.raises(RuntimeError, match='save="output" keeps no input'):
        torch.autograd.grad(y.pow(2).sum(), args["x"], create_graph=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("activation", "residual"), [("relu", 0), ("relu", 1), ("silu", 0)])
def test_a_hundred_training_steps_from_the_state_of_torch(activation, residual, layout):
    torch.manual_seed(0)
    theirs, ours = torch.nn.BatchNorm2d(6), torch.nn.BatchNorm2d(6)
    act = getattr(F, activation)
    for _ in range(100):
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(4, 6, 5, 6) * 2 + torch.randn(6, 1, 1)
        z = torch.randn(4, 6, 5, 6) if residual else None
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        target = torch.randn(4, 6, 5, 6)
        found = []
        for module in (theirs, ours):
            a = x.clone(memory_format=torch.preserve_format).requires_grad_()
            b = z if z is None else z.clone().requires_grad_()
            if module is theirs:
                u = module(a)
                y = act(u if b is None else u + b)
            else:
                y = ops.batch_norm_act(
                    a, module.weight, module.bias, module.running_mean, module.running_var,
                    residual=b, activation=activation,
                    num_batches_tracked=module.num_batches_tracked,
                )  # fmt: skip
            (y - target).square().mean().backward()
            found.append([y, a.grad, module.weight.grad, module.bias.grad])
            found[-1] += [] if b is None else [b.grad]
            found[-1] += list(module.buffers())
        for p, q in zip(*found, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter -= 0.1 * parameter.grad
        theirs.zero_grad(), ours.zero_grad()
