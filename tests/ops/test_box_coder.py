"""encode_boxes and decode_boxes: the reference, the logarithm, bad boxes, gradients, transforms."""

import math

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
SIZES = (0, 1, 2, 63, 64, 65, 255, 256, 257, 1000)
RTOL = {np.float32: 2e-6, np.float64: 1e-14}


def good_boxes(rng, n, dtype=np.float64):
    corner = rng.uniform(-50, 100, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, 60, (n, 2))], 1).astype(dtype)


def random_deltas(rng, n, dtype=np.float64):
    return (rng.normal(size=(n, 4)) * (1, 1, 2, 2)).astype(dtype)


def assert_close(got, expected, dtype):
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=200 * RTOL[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_coding_is_the_reference(n, dtype):
    rng = np.random.default_rng(n)
    boxes, anchors = good_boxes(rng, n, dtype), good_boxes(rng, n, dtype)
    deltas = random_deltas(rng, n, dtype)
    for weights in ((1, 1, 1, 1), WEIGHTS):
        expected = reference.encode_boxes(boxes, anchors, weights)
        assert_close(ops.encode_boxes(boxes, anchors, weights), expected, dtype)
        for size in (None, (60, 80.5)):
            expected = reference.decode_boxes(deltas, anchors, weights, size=size)
            assert_close(ops.decode_boxes(deltas, anchors, weights, size=size), expected, dtype)


def test_deltas_worked_by_hand():
    anchors = np.array([[0.0, 0, 10, 20]])
    boxes = np.array([[5.0, 0, 25, 20]])  # the centre moves by an anchor's width, which doubles
    np.testing.assert_allclose(ops.encode_boxes(boxes, anchors), [[1, 0, math.log(2), 0]])
    assert ops.decode_boxes(np.zeros((1, 4)), anchors).tolist() == anchors.tolist()
    moved = np.array([[1.0, -0.25, 0, 0]])
    assert ops.decode_boxes(moved, anchors).tolist() == [[10, -5, 20, 15]]
    assert ops.decode_boxes(moved, anchors, size=(12, 16)).tolist() == [[10, 0, 16, 12]]
    assert ops.decode_boxes(moved, anchors, (2, 0.5, 1, 1)).tolist() == [[5, -10, 15, 10]]


def test_the_shift_against_a_thin_anchor_keeps_its_digits():
    # The centres differ by 0.003 at 84, where neighbours of float32 lie 8e-6 apart.
    boxes = np.array([[79.48417, 0, 89.382835, 10]], np.float32)
    anchors = np.array([[84.41771, 0, 84.44312, 10]], np.float32)
    exact = reference.encode_boxes(boxes, anchors)
    np.testing.assert_allclose(ops.encode_boxes(boxes, anchors), exact, rtol=2e-7)
    a, b = (torch.from_numpy(part).requires_grad_() for part in (anchors, boxes))
    wide = [part.detach().double().requires_grad_() for part in (b, a)]
    ops.encode_boxes(b, a)[0, 0].backward()
    ops.encode_boxes(*wide)[0, 0].backward()
    for ours, exact in zip((b, a), wide, strict=True):
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-6, atol=0)


def test_a_distance_of_centres_that_fits_does_not_overflow():
    quarter = np.finfo(np.float32).max / 4
    boxes = np.array([[-2 * quarter, 0, -quarter, 10]], np.float32)
    anchors = np.array([[quarter, 0, 2 * quarter, 10]], np.float32)
    assert ops.encode_boxes(boxes, anchors).tolist() == [[-3, 0, 0, 0]]


def test_decoding_undoes_encoding():
    rng = np.random.default_rng(0)
    boxes, anchors = good_boxes(rng, 500), good_boxes(rng, 500)
    back = ops.decode_boxes(ops.encode_boxes(boxes, anchors, WEIGHTS), anchors, WEIGHTS)
    np.testing.assert_allclose(back, boxes, atol=1e-10)


def test_decoding_bounds_the_growth():
    anchors = np.array([[0.0, 0, 2, 4]])
    boxes = ops.decode_boxes(np.array([[0, 0, 1e3, np.inf]]), anchors)
    np.testing.assert_allclose(boxes, [[1 - 62.5, 2 - 125, 1 + 62.5, 2 + 125]], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_is_that_of_clip_boxes_to_image(dtype):
    rng = np.random.default_rng(1)
    deltas, anchors = random_deltas(rng, 1000, dtype), good_boxes(rng, 1000, dtype)
    deltas[::7, rng.integers(0, 4, 143)] = np.nan
    apart = ops.clip_boxes_to_image(ops.decode_boxes(deltas, anchors), (60, 80))
    np.testing.assert_array_equal(ops.decode_boxes(deltas, anchors, size=(60, 80)), apart)


def test_boxes_and_anchors_without_size_have_defined_deltas():
    anchors = np.array([[0.0, 0, 10, 20]] * 3 + [[5, 0, 5, 20], [8, 0, 5, 20]])
    boxes = np.array([[5.0, 0, 5, 20], [6, 0, 4, 20], [5, 3, 5, 3], [0, 0, 4, 4], [0, 0, 4, 4]])
    log = math.log(0.2)
    expected = [
        [0, 0, -np.inf, 0],
        [0, 0, -np.inf, 0],
        [0, -0.35, -np.inf, -np.inf],
        [0, -0.4, 0, log],
        [0, -0.4, 0, log],
    ]
    np.testing.assert_allclose(ops.encode_boxes(boxes, anchors), expected, atol=1e-15)
    back = ops.decode_boxes(ops.encode_boxes(boxes, anchors), anchors)
    assert back[:3].tolist() == [[5, 0, 5, 20], [5, 0, 5, 20], [5, 3, 5, 3]]
    np.testing.assert_allclose(back[3:], [[5, 0, 5, 4], [8, 0, 5, 4]], atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_boxes_are_the_reference(dtype):
    rng = np.random.default_rng(2)
    boxes, anchors = random_boxes(rng, 800, dtype), random_boxes(rng, 800, dtype)
    kind = rng.integers(0, 4, 800)
    boxes[kind == 1, 2:] = boxes[kind == 1, :2]
    anchors[kind == 2] = anchors[kind == 2][:, [2, 3, 0, 1]]
    boxes[rng.random(boxes.shape) < 0.03] = np.nan
    anchors[rng.random(boxes.shape) < 0.03] = np.nan
    deltas = ops.encode_boxes(boxes, anchors)
    assert_close(deltas, reference.encode_boxes(boxes, anchors), dtype)
    finite = np.isfinite(boxes).all(1) & np.isfinite(anchors).all(1)
    assert not np.isnan(deltas[finite]).any()
    assert_close(ops.decode_boxes(deltas, anchors), reference.decode_boxes(deltas, anchors), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithm_is_within_2_ulp(dtype):
    info = np.finfo(dtype)
    rng = np.random.default_rng(3)
    spread = np.exp(rng.uniform(math.log(info.tiny) + 1, math.log(info.max) - 1, 200_000))
    near_1 = 1 + rng.uniform(-0.5, 1, 200_000)
    close = 1 + rng.normal(size=100_000) * 1e-4
    edges = np.array([1, np.sqrt(0.5), np.sqrt(2), 2, 0.5, info.tiny, info.max])
    subnormal = info.smallest_subnormal * rng.integers(1, 1 << 22, 1000).astype(dtype)
    x = np.concatenate([spread, near_1, close, edges, subnormal]).astype(dtype)
    # A box of width x against an anchor of width 1 has the ratio x.
    zero, one = np.zeros_like(x), np.ones_like(x)
    boxes, anchors = np.stack([zero, zero, x, one], 1), np.array([[0, 0, 1, 1]], dtype)
    got = ops.encode_boxes(boxes, anchors)[:, 2]
    exact = np.log(x.astype(np.longdouble))
    ulp = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
    assert (np.abs(got - exact) <= 2 * ulp).all()
    assert got[x == 1].tolist() == [0] * (x == 1).sum()


def test_every_isa_level_gives_the_same_bits():
    output_of_every_level(
        """
import hashlib
import numpy as np
from sightline import ops
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    for n in (1, 7, 64, 1001):
        x = (rng.normal(size=(3, n, 4)) * 50).astype(dtype)
        x[rng.random(x.shape) < 0.01] = np.nan
        x[rng.random(x.shape) < 0.01] = np.inf
        anchors = x[1] + np.array([0, 0, 200, 200], dtype)
        for out in (
            ops.encode_boxes(x, anchors, (10, 10, 5, 5)),
            ops.decode_boxes(x / 40, anchors, (10, 10, 5, 5)),
            ops.decode_boxes(x / 40, anchors, size=(60, 80)),
        ):
            digest.update(np.nan_to_num(out, nan=7e7).tobytes())  # NaNs differ in their sign
print(digest.hexdigest())
"""
    )


def test_threads_change_no_bit():
    rng = np.random.default_rng(4)
    deltas, anchors = random_deltas(rng, 60_000, np.float32), good_boxes(rng, 60_000, np.float32)
    one = ops.decode_boxes(torch.from_numpy(deltas), torch.from_numpy(anchors))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        many = ops.decode_boxes(torch.from_numpy(deltas), torch.from_numpy(anchors))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, many)
    assert np.array_equal(ops.decode_boxes(deltas, anchors), one.numpy())  # arrays too


SHAPES = [
    ((3, 5, 4), (5, 4)),
    ((3, 5, 4), (1, 5, 4)),
    ((3, 5, 4), (3, 1, 4)),
    ((3, 5, 4), (4,)),
    ((5, 4), (3, 5, 4)),
    ((1, 4), (7, 4)),
    ((7, 4), (1, 4)),
    ((4,), (4,)),
    ((2, 0, 4), (0, 4)),
    ((0, 5, 4), (5, 4)),
]


@pytest.mark.parametrize("first, second", SHAPES)
def test_leading_dimensions_broadcast(first, second):
    rng = np.random.default_rng(5)
    rows = good_boxes(rng, math.prod(first) // 4).reshape(first)
    anchors = good_boxes(rng, math.prod(second) // 4).reshape(second)
    shape = np.broadcast_shapes(first, second)
    full = [np.broadcast_to(a, shape).reshape(-1, 4) for a in (rows, anchors)]
    for function in (ops.encode_boxes, ops.decode_boxes):
        expected = function(*full).reshape(shape)
        assert np.array_equal(function(rows, anchors), expected)
        tensors = [torch.from_numpy(a).requires_grad_() for a in (rows, anchors)]
        got = function(*tensors)
        assert np.array_equal(got.detach().numpy(), expected)
        weight = torch.from_numpy(rng.normal(size=shape))
        whole = [torch.from_numpy(a.copy()).requires_grad_() for a in full]
        (got * weight).sum().backward()
        (function(*whole).reshape(shape) * weight).sum().backward()
        for leaf, big in zip(tensors, whole):
            summed = big.grad.reshape(shape).sum_to_size(leaf.shape)
            torch.testing.assert_close(leaf.grad, summed, rtol=1e-12, atol=1e-12)


def test_layouts_and_dtypes():
    rng = np.random.default_rng(6)
    deltas, anchors = random_deltas(rng, 70, np.float32), good_boxes(rng, 70, np.float32).round()
    expected = ops.decode_boxes(deltas, anchors)
    for layout in awkward_layouts(deltas):
        assert np.array_equal(ops.decode_boxes(layout, anchors), expected)
    strided = torch.from_numpy(np.ascontiguousarray(deltas.T)).T
    assert np.array_equal(ops.decode_boxes(strided, torch.from_numpy(anchors)).numpy(), expected)
    for dtype in (torch.float16, torch.bfloat16, torch.int32):
        small = torch.from_numpy(deltas).to(dtype)
        whole = torch.from_numpy(anchors).to(torch.int64)
        got = ops.decode_boxes(small, whole)
        assert got.dtype == torch.float32
        assert torch.equal(got, ops.decode_boxes(small.float(), whole.float()))
    assert ops.encode_boxes(anchors.astype(np.uint8) // 9, anchors).dtype == np.float32


def bounded(seed, n=6):
    """Deltas, anchors, boxes: float64 leaves away from every kink."""
    rng = np.random.default_rng(seed)
    deltas = rng.uniform(-1, 1, (n, 4))
    return [
        torch.from_numpy(a).requires_grad_()
        for a in (deltas, good_boxes(rng, n), good_boxes(rng, n))
    ]


def test_gradients_are_those_of_the_value():
    deltas, anchors, boxes = bounded(0)
    encode = lambda b, a: ops.encode_boxes(b, a, WEIGHTS)  # noqa: E731
    decode = lambda d, a: ops.decode_boxes(d, a, (2, 1, 1, 0.5), size=(60, 80))  # noqa: E731
    assert torch.autograd.gradcheck(encode, (boxes, anchors))
    assert torch.autograd.gradcheck(decode, (deltas, anchors))
    clipped = decode(deltas, anchors)
    assert ((clipped == 0) | (clipped == 80) | (clipped == 60)).any()  # some gradients are 0


def test_gradients_are_0_where_growth_is_bounded_and_finite_without_size():
    deltas = torch.tensor([[0.0, 0, 9, 1]], requires_grad=True)
    ops.decode_boxes(deltas, torch.tensor([[0.0, 0, 2, 2]]))[0, 2:].sum().backward()
    assert deltas.grad[0, 2] == 0 and deltas.grad[0, 3] > 0
    boxes = torch.tensor([[0.0, 0, 0, 9], [0, 0, 5, 5]], requires_grad=True)
    anchors = torch.tensor([[0.0, 0, 4, 4], [3, 3, 3, 2]], requires_grad=True)
    ops.encode_boxes(boxes, anchors).nan_to_num(neginf=0).sum().backward()
    assert boxes.grad.isfinite().all() and anchors.grad.isfinite().all()
    assert (boxes.grad[1] == 0).all()


def test_ops_obey_torch():
    deltas, anchors, boxes = bounded(1)
    numbers = (1.0, 1.0, 2.0, 2.0)
    torch.library.opcheck(
        torch.ops.sightline.decode_boxes.default, (deltas, anchors, *numbers, True, 60.0, 80.0)
    )
    torch.library.opcheck(torch.ops.sightline.encode_boxes.default, (boxes, anchors, *numbers))
    batch = torch.stack([deltas.detach()] * 3)
    torch.library.opcheck(
        torch.ops.sightline.decode_boxes.default, (batch, anchors, *numbers, False, 0.0, 0.0)
    )


def test_compile_and_export_make_one_graph():
    deltas, anchors, _ = (t.detach().float() for t in bounded(2))
    decode = lambda d, a: ops.decode_boxes(d, a, size=(60, 80))  # noqa: E731
    compiled = torch.compile(decode, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (6, 3):
        expected = decode(deltas[:n], anchors[:n])
        assert torch.equal(compiled(deltas[:n], anchors[:n]), expected)

    class Decode(torch.nn.Module):
        def forward(self, d, a):
            return decode(d, a)

    batch = torch.export.Dim("batch")
    shapes = {"d": {0: batch}, "a": None}
    stacked = torch.stack([deltas, 2 * deltas])
    program = torch.export.export(Decode(), (stacked, anchors), dynamic_shapes=shapes)
    many = torch.stack([deltas, 2 * deltas, 3 * deltas])
    assert torch.equal(program.module()(many, anchors), decode(many, anchors))


@pytest.mark.parametrize("function", [ops.encode_boxes, ops.decode_boxes])
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (1, 1)])
def test_vmap_is_the_loop(function, in_dims):
    rng = np.random.default_rng(7)
    shapes = [(6, 4) if dim is None else ((3, 6, 4) if dim == 0 else (6, 3, 4)) for dim in in_dims]
    leaves = [
        torch.from_numpy(good_boxes(rng, math.prod(s) // 4).reshape(s)).requires_grad_()
        for s in shapes
    ]
    got = torch.vmap(function, in_dims)(*leaves)
    rows = [
        [t if dim is None else t.select(dim, i) for t, dim in zip(leaves, in_dims)]
        for i in range(3)
    ]
    expected = torch.stack([function(*row) for row in rows])
    assert torch.equal(got, expected)


@pytest.mark.parametrize("function", [ops.encode_boxes, ops.decode_boxes])
def test_vectorised_jacobian_is_the_loop(function):
    deltas, anchors, boxes = (t.detach() for t in bounded(4))
    first = torch.stack([boxes if function is ops.encode_boxes else deltas] * 2)
    jacobian = torch.autograd.functional.jacobian
    fast = jacobian(function, (first, anchors), vectorize=True)
    for ours, by_loop in zip(fast, jacobian(function, (first, anchors))):
        torch.testing.assert_close(ours, by_loop)


def test_vmap_of_anchors_that_serve_a_batch():
    rng = np.random.default_rng(8)
    deltas = torch.from_numpy(random_deltas(rng, 30).reshape(2, 3, 5, 4))
    anchors = torch.from_numpy(good_boxes(rng, 10).reshape(2, 5, 4))
    got = torch.vmap(ops.decode_boxes)(deltas, anchors)
    assert torch.equal(got[1], ops.decode_boxes(deltas[1], anchors[1]))


def test_autocast_computes_in_float32():
    deltas, anchors, _ = (t.detach().float() for t in bounded(3))
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.ops.sightline.decode_boxes(
            deltas.bfloat16(), anchors, 1.0, 1.0, 1.0, 1.0, False, 0.0, 0.0
        )
    assert torch.equal(got, ops.decode_boxes(deltas.bfloat16(), anchors))


def test_cuda_gives_the_same_bits(cuda):
    rng = np.random.default_rng(9)
    for dtype in (np.float32, np.float64):
        rows = torch.from_numpy(random_boxes(rng, 4000, dtype, bad=True)).reshape(4, 1000, 4)
        anchors = torch.from_numpy(good_boxes(rng, 1000, dtype))
        for function in (
            ops.encode_boxes,
            ops.decode_boxes,
            lambda d, a: ops.decode_boxes(d / 9, a, WEIGHTS, size=(60, 80)),
        ):
            got = function(rows.to(cuda), anchors.to(cuda)).cpu()
            assert torch.equal(got.nan_to_num(nan=7e7), function(rows, anchors).nan_to_num(nan=7e7))
        leaf = rows[:, :, :].nan_to_num(1, 1, 1).clamp(-1, 1).requires_grad_()
        on_gpu = leaf.detach().to(cuda).requires_grad_()
        ops.decode_boxes(leaf, anchors, size=(60, 80)).sum().backward()
        ops.decode_boxes(on_gpu, anchors.to(cuda), size=(60, 80)).sum().backward()
        assert torch.equal(on_gpu.grad.cpu(), leaf.grad)


def test_wrong_arguments_are_named():
    boxes = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"`deltas` must have shape \[\.\.\., 4\], got \[3, 5\]"):
        ops.decode_boxes(np.zeros((3, 5)), boxes)
    with pytest.raises(
        ValueError, match=r"must have shapes that broadcast, got \[3, 4\] and \[2, "
    ):
        ops.decode_boxes(boxes, boxes[:2])
    with pytest.raises(
        ValueError, match=r"must have shapes that broadcast, got \[3, 4\] and \[2, "
    ):
        ops.decode_boxes(torch.zeros(3, 4), torch.zeros(2, 4))
    for weights in ((1, 1, 1), (1, 1, 1, 0), (1, 1, 1, float("nan"))):
        with pytest.raises(ValueError, match="`weights` must be four finite numbers"):
            ops.encode_boxes(boxes, boxes, weights)
    with pytest.raises(ValueError, match="`size` must be"):
        ops.decode_boxes(boxes, boxes, size=(5, -1))
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        ops.encode_boxes(boxes, torch.from_numpy(boxes))
