"""Batch norm: hand-worked cases, torch, the reference, edges, gradients, and what torch asks."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sightline import ops, reference
from sightline.ops import batch_norm_torch

from .batch_norm_bits import assert_same_at_every_level, assert_same_with_any_threads
from .batch_norm_cases import (
    ACTIVATIONS,
    LAYOUTS,
    SHAPES,
    TOLERANCE,
    arguments,
    assert_compiles,
    assert_near,
    call,
)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (2, 40, 17, 9), (2, 600, 3, 3)])
def test_half_types_compute_in_float32(shape, layout, dtype):
    for activation, residual, training in itertools.product(ACTIVATIONS, (0, 1), (True, False)):
        args = arguments(shape, dtype, layout, residual)
        arrays = {k: v if v is None else v.detach().double().numpy() for k, v in args.items()}
        settings = {"activation": activation, "training": training}
        y = call(args, **settings)
        assert y.dtype == dtype and y.stride() == args["x"].stride()
        inputs = [args[k] for k in ("x", "weight", "bias", "residual") if args[k] is not None]
        grad = torch.randn(shape).to(dtype)
        got = torch.autograd.grad(y, inputs, grad)
        assert [g.dtype for g in got] == [t.dtype for t in inputs]
        expected = reference.batch_norm_act_backward(grad.double().numpy(), **arrays, **settings)
        what = f"{activation} residual={residual} training={training}"
        for a, b, name in zip(got, expected, ("x", "weight", "bias", "residual")):
            assert_near(a, b, dtype, f"{what} gradient of {name}")
        assert_near(y, reference.batch_norm_act(**arrays, **settings), dtype, what)
        for name in ("running_mean", "running_var"):
            assert_near(args[name], arrays[name], torch.float32, name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_give_the_bits_of_tensors(dtype):
    for shape in SHAPES:
        tensors = arguments(shape, torch.from_numpy(np.zeros(1, dtype)).dtype, residual=True)
        arrays = {k: v.detach().numpy().copy() for k, v in tensors.items()}
        tracked = np.array(3)
        for training in (True, False):
            settings = {"activation": "silu", "training": training}
            y = ops.batch_norm_act(**arrays, **settings, num_batches_tracked=tracked)
            assert isinstance(y, np.ndarray) and y.dtype == dtype
            expected = call(tensors, **settings).detach().numpy()
            np.testing.assert_array_equal(y, expected)
        np.testing.assert_allclose(arrays["running_var"], tensors["running_var"].numpy(), rtol=3e-7)
        assert tracked == 4


def test_arrays_of_any_layout_and_integers():
    args = arguments((4, 6, 5, 7), residual=True)
    arrays = {k: v.detach().numpy() for k, v in args.items()}
    expected = ops.batch_norm_act(**arrays, training=False)
    for x in (
        np.asfortranarray(arrays["x"]),
        np.moveaxis(np.ascontiguousarray(np.moveaxis(arrays["x"], 1, -1)), -1, 1),
        np.repeat(arrays["x"], 2, axis=3)[..., ::2],
        arrays["x"].astype(">f4"),
    ):
        x.flags.writeable = False
        y = ops.batch_norm_act(**{**arrays, "x": x}, training=False)
        np.testing.assert_array_equal(y, expected)
    whole = np.arange(12).reshape(4, 3)
    y = ops.batch_norm_act(whole, None, None, None, None)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)


def test_tensors_of_other_layouts_are_read_right():
    base = torch.randn(6, 8, 10, 12)
    for x in (base[:, ::2], base[..., 1:], base.transpose(2, 3), base.permute(3, 1, 0, 2)):
        args = arguments(tuple(x.shape), residual=True)
        args["x"] = x
        expected = call({**args, "x": x.contiguous()}, training=False, activation="relu")
        y = call(args, training=False, activation="relu")
        assert torch.equal(y, expected) and y.is_contiguous()
    # The residual and the gradient may lie otherwise than x.
    for layout, other in (LAYOUTS, LAYOUTS[::-1]):
        args = arguments((2, 3, 4, 5), layout=layout, residual=True)
        moved = arguments((2, 3, 4, 5), layout=other, residual=True)["x"].detach()
        grads = []
        for residual in (moved, moved.clone(memory_format=torch.preserve_format)):
            y = call({**args, "residual": residual}, training=False, activation="silu")
            grads.append(torch.autograd.grad(y, args["x"], torch.ones(1, 3, 1, 1).expand_as(y))[0])
            assert y.stride() == args["x"].stride()
        assert torch.equal(*grads)


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outlier", [False, True])
def test_statistics_survive_a_mean_of_ten_thousand_deviations(layout, outlier):
    rng = np.random.default_rng(0)
    data = rng.normal(1000, 0.1, (50, 4, 80, 100)).astype(np.float32)
    if outlier:
        data[0, :, 0, 0] = 0.0  # the first element of a block, by which it is shifted
    x = torch.from_numpy(data)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    mean, var = torch.zeros(4), torch.ones(4)
    y = ops.batch_norm_act(x, None, None, mean, var, momentum=1, eps=0)
    wide = data.astype(np.float64)
    true_var = wide.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=6e-8)  # half an ulp
    np.testing.assert_allclose(var, true_var, rtol=1e-5 if outlier else 2e-7)
    if not outlier:
        normalized = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(
            wide.var((0, 2, 3), keepdims=True)
        )
        np.testing.assert_allclose(y.numpy(), normalized, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(50, 4, 80, 100), (200, 20, 10, 10)])
def test_variance_is_right_to_a_ten_millionth(shape, layout):
    # float32 near 1000 is a grid of steps, whose squares round to one side if nothing is done.
    torch.manual_seed(0)
    x = (torch.randn(shape, dtype=torch.float64) * 0.1 + 1000).float()
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    mean, m2 = torch.ops.sightline.batch_norm_moments(x)
    count, wide = x.numel() // shape[1], x.double()
    torch.testing.assert_close(mean, wide.mean((0, 2, 3)), rtol=0, atol=1e-8)  # 1e-7 deviations
    torch.testing.assert_close(m2 / count, wide.var((0, 2, 3), correction=0), rtol=1e-7, atol=0)


def test_momentum_none_averages_over_all_batches_as_torch_does():
    ours, theirs = torch.nn.BatchNorm2d(3, momentum=None), torch.nn.BatchNorm2d(3, momentum=None)
    for _ in range(4):
        x = torch.randn(2, 3, 4, 4) * 3 + 1
        theirs(x)
        ops.batch_norm_act(
            x,
            None,
            None,
            ours.running_mean,
            ours.running_var,
            momentum=None,
            num_batches_tracked=ours.num_batches_tracked,
        )
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_gradients_of_some_inputs_only():
    args = arguments((2, 3, 4, 4), residual=True)
    full = torch.autograd.grad(
        call(args, activation="silu").square().sum(), [args[k] for k in ("x", "bias", "residual")]
    )
    for name, expected in zip(("x", "bias", "residual"), full):
        alone = {k: v.detach() for k, v in args.items()}
        alone[name].requires_grad_()
        call(alone, activation="silu").square().sum().backward()
        torch.testing.assert_close(alone[name].grad, expected)
    nothing = {k: v.detach() for k, v in args.items()}
    assert not call(nothing).requires_grad


def test_second_gradients_where_one_input_depends_on_another():
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)

    def penalty(function):
        y = function(x, x.mean((0, 2)), None)
        (grad,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), x)[0]

    ours = penalty(lambda x, w, b: ops.batch_norm_act(x, w, b, None, None, activation="silu"))
    theirs = penalty(lambda x, w, b: F.silu(F.batch_norm(x, None, None, w, b, training=True)))
    torch.testing.assert_close(ours, theirs)


def test_nan_spreads_to_its_channel_only():
    x = torch.randn(4, 3, 5, 5)
    x[1, 2, 3, 4] = torch.nan
    for activation in ACTIVATIONS:
        y = ops.batch_norm_act(x, None, None, None, None, activation=activation)
        assert y[:, 2].isnan().all() and not y[:, :2].isnan().any()


def test_rounding_to_half_types_is_to_the_nearest_even():
    special = [0.0, -0.0, 65504, 65519.996, 65520, 1e38, 3.4e38, 2**-24, 2**-25, 2**-25 * 1.0001]
    special += [2**-14, 2**-14 * (1 - 2**-11), 1 + 2**-11, 1 + 3 * 2**-11]
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    moderate = (rng.normal(size=200_000) * 2.0 ** rng.integers(-26, 17, 200_000)).astype(np.float32)
    values = torch.from_numpy(np.concatenate([np.float32(special), bits, moderate]))
    values = values[values.isfinite()]
    zero, one = torch.zeros_like(values), torch.ones_like(values)
    for dtype in (torch.float16, torch.bfloat16):
        x = one[None].to(dtype)  # values * x + 0
        y = ops.batch_norm_act(x, values, None, zero, one, training=False, eps=0)
        assert torch.equal(y[0], values.to(dtype))


def test_half_types_are_read_exactly():
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        x = every.view(dtype)[:, None]
        y = ops.batch_norm_act(x, None, None, torch.zeros(1), torch.ones(1), training=False, eps=0)
        assert torch.equal(y.isnan(), x.isnan())
        assert torch.equal(y[~x.isnan()], x[~x.isnan()])


@pytest.mark.parametrize(("dtype", "ulps"), [(np.float32, 4), (np.float64, 4)])
def test_silu_is_within_four_ulp(dtype, ulps):
    limit = 87 if dtype is np.float32 else 707  # beyond, the result is subnormal
    u = np.concatenate([np.linspace(-limit, limit, 100_001), np.geomspace(1e-20, 1, 1001)])
    u = u.astype(dtype)[:, None]
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    y = ops.batch_norm_act(u, None, None, zero, one, training=False, eps=0, activation="silu")
    wide = u.astype(np.longdouble)
    expected = wide / (1 + np.exp(-wide))
    error = np.abs(y - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert error.max() <= ulps


def test_silu_of_extreme_values():
    u = np.array([[-1e30], [1e30], [-1000.0], [1000.0], [0.0], [np.inf]], np.float32)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    y = ops.batch_norm_act(u, None, None, zero, one, training=False, eps=0, activation="silu")
    assert y.ravel().tolist() == [0, np.float32(1e30), 0, 1000, 0, np.inf]


def test_every_isa_level_gives_the_same_bits():
    shapes = [(2, 24, 13, 7), (2, 600, 3, 2), (3, 2, 17, 20)]
    assert_same_at_every_level([(shape, 1) for shape in shapes], list(ACTIVATIONS))


def test_any_thread_count_gives_the_same_bits():
    # Large enough to be cut: 33 channels, or 7 groups of positions.
    assert_same_with_any_threads([((6, 33, 31, 37), 1)])


def test_parameters_of_half_types_and_autocast():
    args = arguments((4, 3, 6, 6), torch.bfloat16)
    halves = {k: v if v is None else v.detach().bfloat16() for k, v in args.items()}
    halves["weight"].requires_grad_()
    wide = {k: v if v is None else v.detach().float() for k, v in halves.items()}
    wide["x"] = halves["x"]
    assert torch.equal(call(halves), call(wide))
    assert halves["running_var"].dtype == torch.bfloat16
    torch.testing.assert_close(halves["running_var"], wide["running_var"].bfloat16())
    call(halves, activation="relu").sum().backward()
    assert halves["weight"].grad.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        args["residual"] = torch.randn(4, 3, 6, 6)
        assert call(args).dtype == torch.bfloat16
    with pytest.raises(TypeError, match=r"`residual` must be torch\.bfloat16 as `x` is"):
        call(args)


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


def pairs_of(mean, var):
    return torch.stack([mean, var]).double()


@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_opcheck(activation):
    args = arguments((2, 3, 4, 4), residual=True)
    native = torch.ops.sightline
    code = ACTIVATIONS.index(activation)
    tensors = (args["x"], args["weight"], args["bias"])
    running = args["running_mean"], args["running_var"]
    keep = batch_norm_torch.MASK if activation == "relu" else batch_norm_torch.INPUT
    numbers = (code, 0.1, 1e-5, keep)
    opcheck = torch.library.opcheck
    opcheck(native.batch_norm_act.default, (*tensors, args["residual"], *numbers))
    opcheck(native.batch_norm_apply.default, (*tensors, *running, args["residual"], *numbers))
    plain = [t.detach() for t in tensors]
    tracked = torch.tensor(3)
    opcheck(
        native.batch_norm_act_.default,
        (*plain, *running, tracked, args["residual"].detach(), code, 0.1, None, 1e-5, keep),
    )
    opcheck(native.batch_norm_moments.default, (plain[0],))
    statistics = pairs_of(*running)
    opcheck(native.batch_norm_track.default, (statistics, 32, 0.1, *running, tracked))
    y, statistics, mask = native.batch_norm_act(*plain, args["residual"].detach(), *numbers)
    grad = torch.randn_like(y)
    kept = (args["residual"].detach() if code == 3 else None, mask if code == 1 else None)
    opcheck(
        native.batch_norm_act_backward.default,
        (grad, plain[0], None, *plain[1:], statistics, *kept, code, 0.1, True, 1e-5, True,
         code != 0),
    )  # fmt: skip
    shared = (grad, *plain, statistics)
    sums = native.batch_norm_backward_sums(*shared, *kept, code, 0.1, 1e-5)
    opcheck(native.batch_norm_backward_sums.default, (*shared, *kept, code, 0.1, 1e-5))
    opcheck(
        native.batch_norm_backward_apply.default,
        (*shared, sums / 32, *kept, code, 0.1, 1e-5, code != 0),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_steps_are_the_whole(activation, layout):
    """What a form that is synchronised between its steps is made of."""
    native = torch.ops.sightline
    for shape in ((4, 3, 5, 7), (2, 70, 9, 11), (3, 20, 60, 50)):
        args = arguments(shape, torch.float64, layout)
        x, weight, bias = (args[k].detach() for k in ("x", "weight", "bias"))
        code, count = ACTIVATIONS.index(activation), x.numel() // shape[1]
        y, statistics, _ = native.batch_norm_act(x, weight, bias, None, code, 0.2, 1e-5, 0)
        mean, m2 = native.batch_norm_moments(x)
        torch.testing.assert_close(torch.stack([mean, m2 / count]), statistics)
        apart = native.batch_norm_apply(x, weight, bias, *statistics, None, code, 0.2, 1e-5, 0)[0]
        assert torch.equal(apart, y)
        grad = torch.randn(shape).double()
        given = (grad, x, weight, bias, statistics)
        sums = native.batch_norm_backward_sums(*given, None, None, code, 0.2, 1e-5)
        grad_x, _ = native.batch_norm_backward_apply(
            *given, sums / count, None, None, code, 0.2, 1e-5, False
        )
        whole = native.batch_norm_act_backward(
            grad, x, None, *given[2:], None, None, code, 0.2, True, 1e-5, True, False
        )
        torch.testing.assert_close(grad_x, whole[0])
        torch.testing.assert_close(sums[0], whole[2])
        torch.testing.assert_close(sums[1] / (statistics[1] + 1e-5).sqrt(), whole[1])


def test_one_value_a_channel_where_it_is_allowed():
    for shape in ((1, 3), (1, 3, 1, 1)):
        args = arguments(shape)
        before = {k: args[k].clone() for k in ("running_mean", "running_var")}
        tracked = torch.tensor(2)
        y = call(args, allow_single_value=True, num_batches_tracked=tracked)
        torch.testing.assert_close(y.flatten(), args["bias"].detach())
        y.sum().backward()
        assert args["x"].grad.eq(0).all() and args["bias"].grad.eq(1).all()
        assert all(torch.equal(args[k], v) for k, v in before.items()) and tracked == 2
        arrays = {k: v if v is None else v.detach().numpy() for k, v in args.items()}
        np.testing.assert_allclose(
            ops.batch_norm_act(**arrays, allow_single_value=True), y.detach().numpy()
        )


def test_compiles_into_one_graph():
    assert_compiles((2, 3, 4, 4), activation="silu")


X = torch.zeros(2, 3, 4, 4)
ONE = torch.ones(3)


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (ValueError, r"`x` must have shape \[N, C\] or \[N, C, ...\], got \[3\]", {"x": ONE}),
        (TypeError, r"`x` must be float16.*got torch.int64", {"x": X.long()}),
        (TypeError, r"`x` must be float16.*got complex64", {"x": np.zeros((2, 3), "c8")}),
        (ValueError, r"`weight` must have shape \[3\].*got \[4\]", {"weight": torch.ones(4)}),
        (ValueError, r"`bias` must have shape \[3\].*got \[3, 1\]", {"bias": ONE[:, None]}),
        (TypeError, r"`weight` must be torch.float32 where.*float64", {"weight": ONE.double()}),
        (TypeError, r"`running_var` must be torch.float32 or torch.float16 where",
         {"x": X.half(), "running_mean": ONE, "running_var": ONE.double()}),
        (ValueError, "must be given together", {"running_mean": ONE}),
        (ValueError, "must be given with training=False", {"training": False}),
        (ValueError, r"`num_batches_tracked` must be given with momentum=None",
         {"running_mean": ONE, "running_var": ONE, "momentum": None}),
        (ValueError, r"`momentum` must lie in \[0, 1\], got 2", {"momentum": 2}),
        (ValueError, r"`residual` must have the shape of `x`.*got \[2, 3, 4\]",
         {"residual": X[..., 0]}),
        (TypeError, r"`residual` must be torch.float32 as `x` is", {"residual": X.double()}),
        (TypeError, r"`residual` must be a torch.Tensor as `x` is", {"residual": X.numpy()}),
        (ValueError, r"`activation` must be one of None, 'relu'.*got 'gelu'",
         {"activation": "gelu"}),
        (ValueError, r"`save` must be one of 'input', 'output'", {"save": "both"}),
        (ValueError, r"save=\"output\" recomputes x.*activation='relu'",
         {"save": "output", "activation": "relu"}),
        (ValueError, r"save=\"output\" recomputes x.*and a `residual`",
         {"save": "output", "residual": X}),
        (ValueError, r"`eps` must be >= 0, got -1", {"eps": -1}),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(error, message, changes):
    names = ("weight", "bias", "running_mean", "running_var")
    good = {"x": X, **dict.fromkeys(names)}
    with pytest.raises(error, match=message):
        ops.batch_norm_act(**{**good, **changes})


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cuda_gives_what_the_cpu_gives_without_synchronising(cuda, layout, dtype):
    for shape, activation, residual, training in itertools.product(
        ((4, 3, 5, 7), (2, 40, 60, 50), (2, 70, 3, 3), (1, 2, 300, 400)),
        ACTIVATIONS,
        (False, True),
        (True, False),
    ):
        settings = {"activation": activation, "training": training, "momentum": None}
        args = arguments(shape, dtype, layout, residual)
        moved = {
            k: v if v is None else v.detach().to(cuda).requires_grad_(v.requires_grad)
            for k, v in args.items()
        }
        grad = torch.randn(shape).to(dtype)
        grads = {"cpu": grad, "cuda": grad.to(cuda)}
        results = []
        for given in (args, moved):
            device = given["x"].device.type
            tracked = torch.tensor(3, device=device)
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("error")
            try:
                y = call(given, num_batches_tracked=tracked, **settings)
                names = [k for k in ("x", "weight", "bias", "residual") if given[k] is not None]
                found = torch.autograd.grad(y, [given[k] for k in names], grads[device])
            finally:
                torch.cuda.set_sync_debug_mode(before)
            results.append((y, *found, given["running_mean"], given["running_var"], tracked))
        for on_cpu, on_gpu in zip(*results, strict=True):
            assert on_gpu.device.type == "cuda" and on_gpu.stride() == on_cpu.stride()
            assert_near(on_gpu.cpu(), on_cpu.detach().double(), dtype, f"{shape} {settings}")
