"""Batch norm: hand-worked cases, torch, the reference, edges, gradients, and what torch asks."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sightline import ops, reference

ACTIVATIONS = (None, "relu", "leaky_relu", "silu")
LAYOUTS = ("contiguous", "channels_last")
# Largest difference from the truth, relative to the largest value: results of a kernel that
# computes in float32 or float64, then rounds to the type of x.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 3e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}
# Odd ones; channels that fold into one row, that fill it, that need tiles; one element a plane.
SHAPES = (
    (4, 3, 5, 7),
    (2, 16, 33, 9),
    (3, 5),
    (2, 3, 700),
    (5, 24, 8, 8),
    (2, 700, 3, 3),
    (70, 600),
    (129, 1, 1, 1),
    (1, 2, 3, 4, 5),
)


def assert_near(got, expected, dtype, what=""):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    scale = expected.abs().max().item() if expected.numel() else 1.0
    torch.testing.assert_close(
        got.detach().double(),
        expected,
        rtol=0,
        atol=TOLERANCE[dtype] * max(scale, 1e-3),
        msg=lambda text: f"{what}: {text}",
    )


def arguments(shape, dtype=torch.float32, layout="contiguous", residual=False, seed=0):
    torch.manual_seed(seed)
    x = (torch.randn(shape) * 2 + 1).to(dtype)
    if layout == "channels_last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    wide = torch.promote_types(dtype, torch.float32)
    weight, bias = torch.randn(shape[1], dtype=wide), torch.randn(shape[1], dtype=wide)
    running_mean, running_var = torch.randn(shape[1], dtype=wide), torch.rand(shape[1]).to(wide)
    return {
        "x": x.requires_grad_(),
        "weight": weight.requires_grad_(),
        "bias": bias.requires_grad_(),
        "running_mean": running_mean,
        "running_var": running_var + 0.5,
        "residual": torch.randn(shape).to(dtype).requires_grad_() if residual else None,
    }


def call(args, **settings):
    return ops.batch_norm_act(**args, **settings)


def test_two_values_a_channel_worked_by_hand():
    x = np.array([[1.0, 10.0], [3.0, 10.0]])
    running_mean, running_var = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    y = ops.batch_norm_act(
        x, np.array([2.0, 3.0]), np.array([1.0, -1.0]), running_mean, running_var, momentum=0.5,
        eps=0.5,
    )  # fmt: skip
    scale = 2 / np.sqrt(1.5)  # the variance of 1 and 3 divided by their count is 1
    np.testing.assert_allclose(y, [[1 - scale, -1.0], [1 + scale, -1.0]], rtol=1e-15)
    assert running_mean.tolist() == [1.0, 5.5]
    assert running_var.tolist() == [1.5, 0.5]  # divided by the count - 1 it is 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_reference(shape, layout, dtype):
    for activation, residual, training in itertools.product(ACTIVATIONS, (0, 1), (True, False)):
        args = arguments(shape, dtype, layout, residual)
        arrays = {k: v if v is None else v.detach().numpy().copy() for k, v in args.items()}
        settings = {"activation": activation, "training": training, "negative_slope": 0.2}
        what = f"{activation} residual={residual} training={training}"
        y = call(args, **settings)
        assert y.stride() == args["x"].stride() and y.dtype == dtype
        grad = torch.randn(shape).to(dtype)
        inputs = [args[k] for k in ("x", "weight", "bias", "residual") if args[k] is not None]
        got = torch.autograd.grad(y, inputs, grad)
        before = {k: v if v is None else v.copy() for k, v in arrays.items()}
        assert_near(y, reference.batch_norm_act(**arrays, **settings), dtype, what)
        for name in ("running_mean", "running_var"):
            assert_near(args[name], arrays[name], dtype, f"{what} {name}")
        expected = reference.batch_norm_act_backward(grad.numpy(), **before, **settings)
        for a, b, name in zip(got, expected, ("x", "weight", "bias", "residual")):
            assert_near(a, b, dtype, f"{what} gradient of {name}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_value(activation, residual, layout, training):
    args = arguments((3, 2, 2, 2), torch.float64, layout, residual)
    names = [k for k in ("x", "weight", "bias", "residual") if args[k] is not None]

    def function(*tensors):
        buffers = {k: args[k].clone() for k in ("running_mean", "running_var")}
        given = {**args, **buffers, **dict(zip(names, tensors))}
        return call(given, activation=activation, training=training)

    inputs = tuple(args[k] for k in names)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("training", [True, False])
def test_equals_torch(training):
    args = arguments((4, 6, 9, 5), residual=True)
    theirs = {k: v.detach().clone() for k, v in args.items()}
    y = call(args, activation="silu", training=training, momentum=0.3, eps=1e-3)
    u = F.batch_norm(
        theirs["x"],
        theirs["running_mean"],
        theirs["running_var"],
        theirs["weight"],
        theirs["bias"],
        training,
        momentum=0.3,
        eps=1e-3,
    )
    assert_near(y, F.silu(u + theirs["residual"]), torch.float32)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(args[name], theirs[name])


def test_single_value_and_empty_batch():
    for shape in ((1, 3), (1, 3, 1, 1)):
        args = arguments(shape)
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when train"):
            call(args)
        assert call(args, training=False).shape == shape
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
        args = arguments(shape)
        tracked = torch.tensor(5)
        before = args["running_mean"].clone()
        y = call(args, num_batches_tracked=tracked)
        y.sum().backward()
        assert y.shape == shape and args["weight"].grad.tolist() == [0, 0, 0]
        assert args["running_mean"].equal(before) and tracked == 5


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_opcheck(activation, training):
    args = arguments((2, 3, 4, 4), residual=True)
    buffers = args.pop("running_mean"), args.pop("running_var")
    code = ACTIVATIONS.index(activation)
    torch.library.opcheck(
        torch.ops.sightline.batch_norm_act.default,
        (args["x"], args["weight"], args["bias"], *buffers, args["residual"], code, 0.1, training,
         1e-5),
    )  # fmt: skip
    mean, var = torch.rand(3).double(), torch.rand(3).double()
    torch.library.opcheck(
        torch.ops.sightline.batch_norm_track.default,
        (mean, var, 32, None if training else 0.1, *buffers, torch.tensor(3)),
    )
