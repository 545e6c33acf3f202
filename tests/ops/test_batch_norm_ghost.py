"""Ghost batches: each run of neighbouring samples is normalised as if it were alone."""

import itertools

import numpy as np
import pytest
import torch

from sightline import ops, reference
from sightline.ops import batch_norm_torch

from .batch_norm_bits import assert_same_at_every_level, assert_same_with_any_threads
from .batch_norm_cases import (
    ACTIVATIONS,
    LAYOUTS,
    TOLERANCE,
    arguments,
    assert_compiles,
    assert_near,
    call,
)
from .test_batch_norm_saved import saved_bytes

# Runs whose masks do not fill their last byte, channels-last or not; that fill whole rows of
# channels; of one sample; large enough to be cut themselves.
CASES = (
    ((4, 3, 5, 7), 2),
    ((4, 3, 5, 7), 4),
    ((12, 5), 3),
    ((6, 70, 3, 3), 2),
    ((8, 24, 8, 8), 4),
    ((2, 1, 1, 3), 2),
    ((4, 2, 3, 4, 5), 2),
    ((2, 33, 31, 37), 2),
)


def loop(args, ghost_batches, settings):
    """What the runs give one after the other, y and gradients put together."""
    runs = args["x"].shape[0] // ghost_batches
    residuals = args["residual"]
    found = []
    for k in range(ghost_batches):
        part = slice(k * runs, (k + 1) * runs)
        residual = None if residuals is None else residuals[part]
        found.append(call({**args, "x": args["x"][part], "residual": residual}, **settings))
    return torch.cat(found)


def test_two_runs_worked_by_hand():
    x = np.array([[1.0], [3.0], [10.0], [14.0]])
    running_mean, running_var, tracked = np.array([0.0]), np.array([1.0]), np.array(0)
    y = ops.batch_norm_act(
        x, None, None, running_mean, running_var, momentum=0.5, eps=0, ghost_batches=2,
        num_batches_tracked=tracked,
    )  # fmt: skip
    assert y.tolist() == [[-1], [1], [-1], [1]]
    assert running_mean.tolist() == [6.5]  # 0 -> 1 -> 6.5 by the means 2 and 12
    assert running_var.tolist() == [4.75]  # 1 -> 1.5 -> 4.75 by the variances 2 and 8
    assert tracked == 2


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "ghost_batches"), CASES)
def test_bits_are_those_of_a_loop_over_the_runs(shape, ghost_batches, layout, dtype):
    grad = torch.randn(shape).to(dtype)
    for activation, residual in itertools.product(ACTIVATIONS, (False, True)):
        momentum = None if activation == "silu" else 0.3
        settings = {"activation": activation, "negative_slope": 0.2, "momentum": momentum}
        results = []
        for whole in (True, False):
            args = arguments(shape, dtype, layout, residual)
            tracked = torch.tensor(3)
            given = {**settings, "num_batches_tracked": tracked}
            y = (
                call(args, ghost_batches=ghost_batches, **given)
                if whole
                else loop(args, ghost_batches, given)
            )
            inputs = [args[k] for k in ("x", "residual", "weight", "bias") if args[k] is not None]
            grads = torch.autograd.grad(y, inputs, grad)
            buffers = (args["running_mean"], args["running_var"], tracked)
            results.append(((y, *grads[:-2], *buffers), grads[-2:]))
            assert y.stride() == args["x"].stride()
        (ours, parameters), (theirs, their_parameters) = results
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b), f"{activation} residual={residual}"
        for a, b in zip(parameters, their_parameters, strict=True):  # added in another order
            assert_near(a, b.double(), torch.promote_types(dtype, torch.float32))


@pytest.mark.parametrize(("shape", "ghost_batches"), CASES)
def test_values_and_gradients_equal_the_reference(shape, ghost_batches):
    for activation, residual, dtype in itertools.product(
        ACTIVATIONS, (False, True), (torch.float32, torch.float64)
    ):
        args = arguments(shape, dtype, residual=residual)
        arrays = {k: v if v is None else v.detach().numpy().copy() for k, v in args.items()}
        before = {k: v if v is None else v.copy() for k, v in arrays.items()}
        settings = {"activation": activation, "ghost_batches": ghost_batches}
        y = call(args, **settings)
        assert_near(y, reference.batch_norm_act(**arrays, **settings), dtype)
        for name in ("running_mean", "running_var"):
            assert_near(args[name], arrays[name], dtype)
        grad = torch.randn(shape).to(dtype)
        names = [k for k in ("x", "weight", "bias", "residual") if args[k] is not None]
        got = torch.autograd.grad(y, [args[k] for k in names], grad)
        expected = reference.batch_norm_act_backward(grad.numpy(), **before, **settings)
        for a, b, name in zip(got, expected, names):
            assert_near(a, b, dtype, f"{activation} gradient of {name}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_of_two_orders(activation, residual, layout):
    args = arguments((4, 2, 1, 3), torch.float64, layout, residual)
    names = [k for k in ("x", "weight", "bias", "residual") if args[k] is not None]

    def function(*tensors):
        given = {**args, **dict(zip(names, tensors)), "running_mean": None, "running_var": None}
        return call(given, activation=activation, ghost_batches=2)

    inputs = tuple(args[k] for k in names)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_give_the_bits_of_tensors(dtype):
    for shape, ghost_batches in CASES:
        tensors = arguments(shape, torch.from_numpy(np.zeros(1, dtype)).dtype, residual=True)
        arrays = {k: v.detach().numpy().copy() for k, v in tensors.items()}
        tracked = np.array(3)
        settings = {"activation": "silu", "ghost_batches": ghost_batches}
        y = ops.batch_norm_act(**arrays, **settings, num_batches_tracked=tracked)
        np.testing.assert_array_equal(y, call(tensors, **settings).detach().numpy())
        np.testing.assert_allclose(arrays["running_var"], tensors["running_var"].numpy(), rtol=3e-7)
        assert tracked == 3 + ghost_batches


def test_gradients_from_the_output_are_those_from_the_input():
    args = arguments((6, 10, 9, 7))
    with torch.no_grad():
        args["weight"].copy_(args["weight"].sign() * (args["weight"].abs() + 0.5))
    grad = torch.randn(6, 10, 9, 7)
    inputs = [args[k] for k in ("x", "weight", "bias")]
    found = [
        torch.autograd.grad(
            call(args, activation="leaky_relu", save=save, ghost_batches=3), inputs, grad
        )
        for save in ("input", "output")
    ]
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=0, atol=4e-5 * a.abs().max().item())
    with torch.no_grad():
        args["weight"][1] = 0
    with pytest.raises(RuntimeError, match=r"`weight\[1\]` is"):
        call(args, save="output", ghost_batches=3)


def test_runs_keep_no_more_than_the_batch():
    args = arguments((8, 64, 16, 16), residual=True)
    size, vectors = args["x"].numel() * 4, 64 * (4 * 2 * 8 + 2 * 4)
    for activation in ("relu", "leaky_relu"):
        assert saved_bytes(call, args, activation=activation, ghost_batches=4) <= (
            size + size // 32 + vectors
        )
    assert saved_bytes(call, {**args, "residual": None}, ghost_batches=4) <= size + vectors


def test_other_layouts_and_parameters_are_converted():
    base = torch.randn(6, 8, 10, 12)
    for x in (base[:, ::2], base.transpose(2, 3), base.permute(3, 1, 0, 2)):
        args = arguments(tuple(x.shape), residual=True)
        expected = call({**args, "x": x.contiguous()}, activation="relu", ghost_batches=2)
        y = call({**args, "x": x}, activation="relu", ghost_batches=2)
        assert torch.equal(y, expected) and y.is_contiguous()
    halves = arguments((4, 3, 6, 6), torch.float16)
    halves = {k: v if v is None else v.detach().half() for k, v in halves.items()}
    wide = {k: v if v is None else v.float() for k, v in halves.items()} | {"x": halves["x"]}
    assert torch.equal(call(halves, ghost_batches=2), call(wide, ghost_batches=2))
    assert torch.equal(halves["running_var"], wide["running_var"].half())


def test_inference_has_no_runs():
    args = arguments((5, 3, 4, 4))
    y = call(args, training=False, ghost_batches=2)
    assert torch.equal(y, call(args, training=False))
    arrays = {k: v if v is None else v.detach().numpy() for k, v in args.items()}
    np.testing.assert_array_equal(
        ops.batch_norm_act(**arrays, training=False, ghost_batches=2), y.detach()
    )


def test_empty_batch_and_single_values():
    args = arguments((0, 3, 4, 4), residual=True)
    tracked, before = torch.tensor(5), args["running_mean"].clone()
    y = call(args, activation="relu", num_batches_tracked=tracked, ghost_batches=2)
    y.sum().backward()
    assert y.shape == (0, 3, 4, 4) and args["weight"].grad.tolist() == [0, 0, 0]
    assert args["running_mean"].equal(before) and tracked == 5

    args = arguments((4, 3))
    before = args["running_mean"].clone()
    with pytest.raises(ValueError, match=r"\[4, 3\] in 4 ghost batches: use a larger batch"):
        call(args, ghost_batches=4)
    y = call(args, ghost_batches=4, allow_single_value=True, num_batches_tracked=tracked)
    torch.testing.assert_close(y.detach(), args["bias"].detach().expand(4, 3))
    assert args["running_mean"].equal(before) and tracked == 5


@pytest.mark.parametrize(
    ("error", "message", "ghost_batches"),
    [
        (ValueError, "`x` must hold a multiple of ghost_batches=2 samples, got 5", 2),
        (ValueError, "`ghost_batches` must be at least 1, got 0", 0),
        (TypeError, "`ghost_batches` must be an integer, got float", 2.0),
    ],
)
def test_wrong_numbers_of_runs_are_named(error, message, ghost_batches):
    for x in (torch.zeros(5, 3), np.zeros((5, 3))):
        with pytest.raises(error, match=message):
            ops.batch_norm_act(x, None, None, None, None, ghost_batches=ghost_batches)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_opcheck(activation, layout):
    args = arguments((4, 3, 4, 5), layout=layout, residual=True)
    native, opcheck = torch.ops.sightline, torch.library.opcheck
    code = ACTIVATIONS.index(activation)
    keep = batch_norm_torch.MASK if activation == "relu" else batch_norm_torch.INPUT
    tensors = [args[k] for k in ("x", "weight", "bias")]
    plain = [t.detach() for t in tensors]
    residual = args["residual"].detach()
    running = args["running_mean"], args["running_var"], torch.tensor(3)
    numbers = (code, 0.1, 1e-5, keep, 2)
    opcheck(native.batch_norm_act.default, (*tensors, args["residual"], *numbers))
    opcheck(
        native.batch_norm_act_.default,
        (*plain, *running, residual, code, 0.1, None, 1e-5, keep, 2),
    )
    y, statistics, mask = native.batch_norm_act(*plain, residual, *numbers)
    assert statistics.shape == (2, 6)
    opcheck(native.batch_norm_track.default, (statistics, 40, 0.1, *running))
    kept = (residual if activation == "silu" else None, mask if activation == "relu" else None)
    x, *parameters = plain
    opcheck(
        native.batch_norm_act_backward.default,
        (torch.randn_like(y), x, None, *parameters, statistics, *kept, code, 0.1, True, 1e-5, True,
         True, 2),
    )  # fmt: skip


def test_native_ops_refuse_what_would_not_fit():
    x, grad = torch.randn(2, 4, 3, 5)
    native = torch.ops.sightline
    for ghost_batches in (0, -1, 3):
        with pytest.raises(RuntimeError, match="must hold a multiple of ghost_batches"):
            native.batch_norm_act(x, None, None, None, 0, 0.0, 1e-5, 0, ghost_batches)
    _, statistics, _ = native.batch_norm_act(x, None, None, None, 0, 0.0, 1e-5, 0)
    with pytest.raises(RuntimeError, match=r"statistics must be .*\[2, ghost_batches \* C\]"):
        native.batch_norm_act_backward(
            grad, x, None, None, None, statistics, None, None, 0, 0.0, True, 1e-5, True, False, 2
        )
    for channels in (2, 6):
        with pytest.raises(RuntimeError, match=r"statistics must be .*\[2, ghost_batches \* C\]"):
            native.batch_norm_track(
                statistics, 10, 0.1, torch.zeros(channels), torch.ones(channels), None
            )


def test_compiles_into_one_graph():
    assert_compiles((4, 3, 4, 5), activation="relu", ghost_batches=2)


def test_exports():
    class Net(torch.nn.Module):
        def forward(self, x):
            return ops.batch_norm_act(x, None, None, None, None, ghost_batches=2)

    x = torch.randn(4, 3, 4, 5)
    program = torch.export.export(Net(), (x,))
    assert torch.equal(program.module()(x), Net()(x))


def test_every_isa_level_gives_the_same_bits():
    assert_same_at_every_level([((4, 24, 13, 7), 2), ((9, 70, 3, 2), 3)], ["relu"])


def test_any_thread_count_gives_the_same_bits():
    # Runs that are cut, and many small ones that share the threads.
    assert_same_with_any_threads([((6, 33, 31, 37), 2), ((64, 30, 8, 8), 16)])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cuda_gives_what_the_cpu_gives_without_synchronising(cuda, layout, dtype):
    for (shape, ghost_batches), residual in itertools.product(CASES, (False, True)):
        args = arguments(shape, dtype, layout, residual)
        moved = {
            k: v if v is None else v.detach().to(cuda).requires_grad_(v.requires_grad)
            for k, v in args.items()
        }
        grad = torch.randn(shape).to(dtype)
        results = []
        for given, on_device in ((args, grad), (moved, grad.to(cuda))):
            tracked = torch.tensor(3, device=on_device.device)
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("error")
            try:
                y = call(
                    given, activation="relu", ghost_batches=ghost_batches, momentum=None,
                    num_batches_tracked=tracked,
                )  # fmt: skip
                names = [k for k in ("x", "weight", "bias", "residual") if given[k] is not None]
                found = torch.autograd.grad(y, [given[k] for k in names], on_device)
            finally:
                torch.cuda.set_sync_debug_mode(before)
            results.append((y, *found, given["running_mean"], given["running_var"], tracked))
        for on_cpu, on_gpu in zip(*results, strict=True):
            assert on_gpu.stride() == on_cpu.stride()
            assert_near(on_gpu.cpu(), on_cpu.detach().double(), dtype, f"{shape} {ghost_batches}")
