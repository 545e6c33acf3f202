"""The CUDA kernels of batch norm, run thread by thread on the CPU, give what the CPU gives."""

import ctypes
from itertools import product

import numpy as np
import pytest
import torch

import sightline.ops  # noqa: F401  registers the ops

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, pointer, start

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


PLAN = ("columns", "slices", "units", "all_units", "lead", "lanes", "alone", "backwards")


def plan_of(library, shape, last, element, tensors, tickets=False):
    """A plan by its names, and the items of its launch in their order: second, column, slice."""
    values = np.zeros(len(PLAN), np.int64)
    sizes = (ctypes.c_int64 * 4)(*shape, last)
    call = [sizes, ctypes.c_int64(element), ctypes.c_int64(tensors), pointer(values)]
    library.batch_norm_plan_of(*call, None)
    plan = dict(zip(PLAN, values.tolist(), strict=True))
    items = np.zeros((2 * plan["columns"] * plan["slices"], 3), np.int64) if tickets else None
    if tickets:
        library.batch_norm_plan_of(*call, pointer(items))
    return plan, items


def test_plans_visit_every_item_once_in_each_pass_and_first_passes_first(library):
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(int(2 ** rng.uniform(0, high)) for high in (7, 9, 12))
        last, element, tensors = rng.integers(2), int(rng.choice([2, 4, 8])), rng.integers(1, 3)
        plan, items = plan_of(library, shape, last, element, tensors, tickets=True)
        what = f"{shape} last={last} element={element} tensors={tensors}: {plan}"
        columns, slices, units, lanes = (plan[k] for k in ("columns", "slices", "units", "lanes"))
        assert (slices - 1) * units < plan["all_units"] <= slices * units, what
        assert columns == (-(-shape[1] // (8 * lanes)) if last else shape[1]), what
        assert lanes * 8 * element <= 128 or lanes == 1, what
        assert not plan["alone"] or slices == 1, what
        positions_of_thread = -(-units // (128 // lanes))
        assert not last or positions_of_thread <= 128, what  # as many may be summed in float
        order = np.lexsort((items[:, 2], items[:, 1], items[:, 0]))
        every = np.stack(np.meshgrid(range(2), range(columns), range(slices), indexing="ij"), -1)
        assert np.array_equal(items[order], every.reshape(-1, 3)), what
        ticket = np.arange(len(items))
        last_of_first = np.zeros(columns, np.int64)
        second = items[:, 0] == 1
        np.maximum.at(last_of_first, items[~second, 1], ticket[~second])
        assert (last_of_first[items[second, 1]] < ticket[second]).all(), what


def test_plans_of_networks(library):
    # Batch, channels, positions of float16, channels-last; forward or backward; what is expected.
    for shape, tensors, alone, backwards, columns in (
        ((32, 2048, 49), 1, True, False, 256),
        ((32, 1024, 196), 1, False, False, 16),
        ((32, 256, 3136), 1, False, False, 4),  # a column of 13 MB stays in the cache
        ((32, 256, 3136), 2, False, True, 4),  # of x and the gradient one half
        ((32, 512, 784), 2, False, False, 8),
        ((256, 64, 12544), 1, False, True, 1),
    ):
        plan, _ = plan_of(library, shape, True, 2, tensors)
        found = plan["alone"], plan["backwards"], plan["columns"]
        assert found == (alone, backwards, columns), f"{shape} {tensors}: {plan}"
        assert alone or plan["columns"] * plan["slices"] >= 512, f"{shape} {tensors}: {plan}"
    plan, _ = plan_of(library, (32, 256, 3136), False, 2, 1)
    assert not plan["alone"] and not plan["backwards"] and plan["columns"] == 256
    plan, _ = plan_of(library, (32, 1024, 196), False, 2, 1)
    assert plan["alone"]


@pytest.mark.parametrize(
    "shape, last, dtype, alone",
    [
        ((2, 70, 2200), True, torch.float16, False),  # two columns, slices of more than a chunk
        ((2, 136, 1100), True, torch.bfloat16, False),  # whole vectors
        ((1, 3, 20_000), True, torch.float32, False),
        ((1, 2, 40_000), False, torch.float32, False),
        ((3, 2, 90_001), False, torch.bfloat16, False),  # vectors that lie at every address
        ((3, 2, 90_002), False, torch.float16, False),
        ((5, 100, 31), True, torch.float64, True),
        ((5, 100, 60), False, torch.float16, True),
    ],
)
def test_one_launch_does_both_passes_and_gives_the_same_bits_in_any_order(
    library, shape, last, dtype, alone
):
    x, _, grad, weight, bias = inputs_of(shape, dtype, last)
    x[:, 1, 7] = 3e3  # far from the others, as a thread's first element may be
    if shape[1] > 2:
        x[0, 2, 5] = float("nan")
    for element, tensors in ((x.element_size(), 1), (x.element_size(), 2)):
        plan, _ = plan_of(library, shape, last, element, tensors)
        assert plan["alone"] == alone and (alone or plan["slices"] > 1)
    y, statistics, _ = OPS.batch_norm_act(x, weight, bias, None, RELU, SLOPE, EPS, INPUT)
    expected = OPS.batch_norm_act_backward(grad, x, None, weight, bias, statistics, None, None,
                                           RELU, SLOPE, True, EPS, True, False)  # fmt: skip
    results = []
    for seed in (0, 1, 2):  # of 1, three blocks have to draw all tickets
        start(library, seed)
        got, mine = unwritten(y), unwritten(statistics)
        run(library, 1, x, [x, None, weight, bias, mine[0], mine[1], got, None], RELU)
        assert_like(counters(library), kernels=1, fills=0 if alone else 1)
        start(library, seed)
        found = [unwritten(t) for t in expected]
        run(library, 2, x, [grad, x, *[None] * 3, weight, bias, *statistics, None, None, found[0],
                            None, found[1], found[2]], RELU)  # fmt: skip
        assert_like(counters(library), kernels=1, fills=0 if alone else 1)
        results.append((got, mine, *found[:3]))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    for a, b, name in zip(results[0], (y, statistics, *expected), ("y", "statistics", *"xwb")):
        room = dtype if name in "yx" else torch.float32
        torch.testing.assert_close(a.isnan(), b.isnan())
        assert_near(a.nan_to_num(), b.nan_to_num(), room, name)
    wide = x.double()
    var, mean = torch.var_mean(wide, (0, 2), correction=0)
    torch.testing.assert_close(results[0][1][0], mean, rtol=1e-7, atol=1e-7, equal_nan=True)
    torch.testing.assert_close(results[0][1][1], var, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape, last", [((2, 128, 300), True), ((2, 3, 9000), False)])
def test_tensors_at_any_address_give_the_same_bits(library, shape, last):
    x, z, grad, weight, bias = inputs_of(shape, torch.float16, last)

    def moved(t):
        memory = torch.empty(t.numel() + 1, dtype=t.dtype)[1:]
        return memory.as_strided(t.shape, t.stride()).copy_(t)

    results = []
    for where in (torch.clone, moved):
        start(library, 10)
        x_, z_, grad_ = where(x), where(z), where(grad)
        statistics = torch.empty(2, shape[1], dtype=torch.float64)
        y, grad_x, grad_z = (where(unwritten(x)) for _ in range(3))
        run(library, 1, x_, [x_, z_, weight, bias, *statistics, y, None], SILU)
        grads = torch.empty_like(weight), torch.empty_like(bias)
        run(library, 2, x_, [grad_, x_, None, z_, None, weight, bias, *statistics, None, None,
                             grad_x, grad_z, *grads], SILU)  # fmt: skip
        results.append((statistics, y, grad_x, grad_z, *grads))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def assert_like(found, kernels, fills):
    assert (found.kernels, found.fills) == (kernels, fills)
    assert (found.copies_to_host, found.synchronisations) == (0, 0)


@pytest.mark.parametrize("last", [False, True])
def test_variances_far_from_zero_are_right_to_1e_7(library, last):
    start(library, 8)
    for shape in ((2, 3, 20_000), (4, 20, 300)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.1 + 1000
        if last:
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        moments = torch.empty(2, shape[1], dtype=torch.float64)
        run(library, 0, x, [x, moments[0], moments[1]])
        var, mean = torch.var_mean(x.double(), (0, 2), correction=0)
        torch.testing.assert_close(moments[0], mean, rtol=1e-10, atol=0)
        torch.testing.assert_close(moments[1] / (shape[0] * shape[2]), var, rtol=1e-7, atol=0)
    x = torch.full((2, 3, 5000), 0.1)
    run(library, 0, x, [x, moments[0], moments[1]])
    assert (moments[0, :3] == float(x[0, 0, 0])).all() and (moments[1, :3] == 0).all()


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
