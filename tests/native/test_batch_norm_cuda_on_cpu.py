"""The CUDA kernels of batch norm, run thread by thread on the CPU, give what the CPU gives."""

import ctypes
from itertools import product

import numpy as np
import pytest
import torch

import sightline.ops  # noqa: F401  registers the ops

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import start

OPS = torch.ops.sightline
INPUT, MASK, OUTPUT, SIGN = range(4)
RELU, LEAKY_RELU, SILU = 1, 2, 3
BOTH, SUMS, INPUT_PASS = range(3)
TOLERANCE = {
    torch.float64: 1e-11,
    torch.float32: 1e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
SLOPE, EPS = 0.2, 1e-5
# Batch, channels, length: vectors and their ends, several slices, few and many channels.
SHAPES = ((2, 3, 8), (3, 5, 49), (1, 2, 40_000), (4, 70, 9), (3000, 6, 1), (2, 64, 300))


@pytest.fixture(scope="module")
def library():
    return build.library("batch_norm")


def run(library, function, x, tensors, activation=0, training=True, passes=BOTH):
    last = x.shape[2] == 1 or not x.is_contiguous()
    sizes = (*x.shape, last, activation, training, passes)
    pointers = (ctypes.c_void_p * len(tensors))(
        *(None if t is None else t.data_ptr() for t in tensors)
    )
    call = getattr(library, f"batch_norm_{str(x.dtype).removeprefix('torch.')}")
    call.restype = ctypes.c_int64
    status = call(
        ctypes.c_int64(function), pointers, (ctypes.c_int64 * 7)(*map(int, sizes)),
        (ctypes.c_double * 2)(SLOPE, EPS),
    )  # fmt: skip
    assert status == 0, "wrote past the workspace"


def unwritten(t):
    """As t, laid out as it is, of bytes that no kernel wrote."""
    out = torch.empty_like(t)
    out.untyped_storage().fill_(0xB7)
    return out


def assert_near(got, expected, dtype, what):
    scale = max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(
        got, expected, rtol=0, atol=TOLERANCE[dtype] * scale, msg=lambda text: f"{what}: {text}"
    )


def inputs_of(shape, dtype, last):
    torch.manual_seed(0)
    wide = torch.promote_types(dtype, torch.float32)
    x, z, grad = ((torch.randn(shape) + 1).to(dtype) for _ in range(3))
    if last:
        x, z, grad = (t.movedim(1, -1).contiguous().movedim(-1, 1) for t in (x, z, grad))
    weight = (torch.rand(shape[1]) + 0.5).to(wide)
    return x, z, grad, weight, torch.randn(shape[1]).to(wide) / 4


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_emulated_kernels_give_what_the_cpu_gives(library, shape, dtype):
    if shape == SHAPES[2] and dtype in (torch.float64, torch.bfloat16):
        pytest.skip("as the others of its size")
    start(library, 0)
    for last, activation, residual in product((False, True), range(4), (False, True)):
        if shape[2] == 1 and last:
            continue
        x, z, grad, weight, bias = inputs_of(shape, dtype, last)
        z = z if residual else None
        what = f"last={last} activation={activation} residual={residual}"
        keep = MASK if residual and activation in (RELU, LEAKY_RELU) else INPUT
        y, statistics, mask = OPS.batch_norm_act(x, weight, bias, z, activation, SLOPE, EPS, keep)
        got, mine, bits = (unwritten(t) for t in (y, statistics, mask))
        forward = [x, z, weight, bias, mine[0], mine[1], got, bits if keep == MASK else None]
        run(library, 1, x, forward, activation)
        assert_near(mine, statistics, torch.float32, what)
        assert_near(got, y, dtype, what)
        bits = mask  # an element at the kink may fall to either side
        kept = (z if activation == SILU else None, mask if keep == MASK else None)
        to_residual = residual and activation != 0
        settings = (activation, SLOPE, True, EPS, True, to_residual)
        expected = OPS.batch_norm_act_backward(
            grad, x, None, weight, bias, statistics, *kept, *settings
        )
        found = [unwritten(t) for t in expected]
        backward = [grad, x, None, *kept, weight, bias, *statistics, None, None, found[0],
                    found[3] if to_residual else None, found[1], found[2]]  # fmt: skip
        run(library, 2, x, backward, activation)
        for a, b, name in zip(found, expected, ("x", "weight", "bias", "residual")):
            if b.numel():
                room = torch.float32 if b.dtype == torch.float32 else dtype
                assert_near(a, b, room, f"{what} gradient of {name}")


@pytest.mark.parametrize("last", [False, True])
def test_masks_have_the_bits_of_the_cpu(library, last):
    start(library, 2)
    for shape in ((3, 5, 49), (4, 70, 9), (2, 3, 8), (2, 8, 20), (50, 3, 7)):
        x, z, _, weight, bias = inputs_of(shape, torch.float64, last)
        y, statistics, mask = OPS.batch_norm_act(x, weight, bias, z, RELU, SLOPE, EPS, MASK)
        bits = unwritten(mask)
        run(library, 1, x, [x, z, weight, bias, *statistics, unwritten(y), bits], RELU, False)
        assert torch.equal(bits, mask)


@pytest.mark.parametrize("last", [False, True])
def test_steps_and_outputs(library, last):
    start(library, 4)
    x, _, grad, weight, bias = inputs_of((3, 20, 50), torch.float64, last)
    count = x.numel() // 20
    for activation in (0, LEAKY_RELU):
        y, statistics, _ = OPS.batch_norm_act(x, weight, bias, None, activation, SLOPE, EPS, INPUT)
        moments = unwritten(statistics)
        run(library, 0, x, [x, moments[0], moments[1]])
        assert_near(moments, OPS.batch_norm_moments(x), torch.float64, "moments")
        given = (weight, bias, *statistics)
        sums, grad_x = unwritten(statistics), unwritten(x)
        nothing = [None] * 3
        run(library, 2, x, [grad, x, *nothing, *given, *sums, *[None] * 4], activation, True, SUMS)
        shared = (grad, x, weight, bias, statistics)
        numbers = (activation, SLOPE, EPS)
        expected = OPS.batch_norm_backward_sums(*shared, None, None, *numbers)
        assert_near(sums, expected, torch.float64, "sums")
        sums /= count
        run(library, 2, x, [grad, x, *nothing, *given, *sums, grad_x, *nothing], activation, True,
            INPUT_PASS)  # fmt: skip
        wanted = OPS.batch_norm_backward_apply(*shared, sums, None, None, *numbers, False)[0]
        assert_near(grad_x, wanted, torch.float64, "input gradient")
        # From y alone, and in inference from its sign alone.
        found = [unwritten(x), unwritten(weight), unwritten(bias)]
        run(library, 2, x, [grad, None, y, None, None, *given, None, None, found[0], None,
                            *found[1:]], activation)  # fmt: skip
        assert_near(found[0], wanted, torch.float64, "from the output")
        if activation:
            run(library, 2, x, [grad, None, y, None, None, *given, None, None, grad_x, *nothing],
                activation, False)  # fmt: skip
            wanted = OPS.batch_norm_act_backward(
                grad, None, y, weight, bias, statistics, None, None, *numbers[:2], False, EPS,
                False, False,
            )[0]  # fmt: skip
            assert_near(grad_x, wanted, torch.float64, "from the sign")
    weight[3] = 0
    run(library, 2, x, [grad, None, y, None, None, *given, None, None, found[0], None, *found[1:]],
        LEAKY_RELU)  # fmt: skip
    assert found[0][:, 3].isnan().all() and found[0].isnan().sum() == count


def test_tracking(library):
    start(library, 6)
    rng = np.random.default_rng(0)
    statistics = torch.from_numpy(rng.uniform(1, 2, (2, 300)))
    for momentum in (0.3, None):
        tracked, mean, var = torch.tensor(4), torch.randn(300), torch.rand(300)
        mine = tracked.clone(), mean.clone(), var.clone()
        OPS.batch_norm_track(statistics, 50, momentum, mean, var, tracked)
        library.batch_norm_track_float32(
            *(ctypes.c_void_p(t.data_ptr()) for t in (*statistics, mine[1], mine[2], mine[0])),
            ctypes.c_double(-1 if momentum is None else momentum), ctypes.c_int64(300),
            ctypes.c_int64(50),
        )  # fmt: skip
        assert mine[0] == tracked == 5
        torch.testing.assert_close(mine[1:], (mean, var))
