"""The overlap forms over batches and aligned pairs: shapes, gradients, torch's machinery."""

import numpy as np
import pytest
import torch

from sightline import ops, reference
from sightline.ops._iou_torch import ALIGNED_OPS, LOSS_OPS, MATRIX_OPS

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .test_iou import TOLERANCE

BATCHES = (
    ((), ()),
    ((3,), (3,)),
    ((1,), (3,)),
    ((3,), (1,)),
    ((3,), ()),
    ((), (3,)),
    ((2, 1), (3,)),
    ((2, 3), (2, 3)),
    ((1, 1), (1,)),
    ((0,), (1,)),
    ((2, 0), (2, 1)),
)


def boxes_of(rng, *shape, dtype=np.float32, bad=False):
    count = int(np.prod(shape, dtype=np.int64))
    return random_boxes(rng, count, dtype, bad=bad).reshape(*shape, 4)


def has_eps(name):
    return "distance" in name or "complete" in name or name.endswith("_loss")


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_batches_broadcast_as_the_reference(name):
    rng = np.random.default_rng(0)
    for lead1, lead2 in BATCHES:
        for n, m in ((3, 5), (0, 5), (3, 0), (17, 65)):
            a, b = boxes_of(rng, *lead1, n, bad=True), boxes_of(rng, *lead2, m, bad=True)
            expected = getattr(reference, name)(a, b)
            got = getattr(ops, name)(a, b)
            assert got.shape == expected.shape and got.dtype == expected.dtype
            atol = TOLERANCE[name, np.float32]
            np.testing.assert_allclose(got, expected, rtol=0, atol=atol)
            tensor = getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b))
            assert tensor.numpy().tobytes() == got.tobytes() and tensor.shape == got.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_aligned_pairs_are_the_diagonal(name, dtype):
    rng = np.random.default_rng(1)
    for n in (0, 1, 2, 63, 64, 65, 1000):
        a, b = boxes_of(rng, n, dtype=dtype, bad=True), boxes_of(rng, n, dtype=dtype, bad=True)
        got = getattr(ops, name)(a, b, aligned=True)
        assert got.dtype == dtype and (got == np.diag(getattr(ops, name)(a, b))).all()
        expected = getattr(reference, name)(a, b, aligned=True)
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[name, dtype])
        tensor = getattr(ops, name)(torch.from_numpy(a), torch.from_numpy(b), aligned=True)
        assert (tensor.numpy() == got).all()


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_aligned_pairs_of_batches_broadcast(name):
    rng = np.random.default_rng(2)
    for lead1, lead2 in BATCHES:
        a, b = boxes_of(rng, *lead1, 5), boxes_of(rng, *lead2, 5)
        got = getattr(ops, name)(a, b, aligned=True)
        every = np.broadcast_shapes(a.shape, b.shape)
        flat = [np.broadcast_to(x, every).reshape(-1, 4) for x in (a, b)]
        expected = getattr(ops, name)(*flat, aligned=True).reshape(every[:-1])
        assert got.shape == expected.shape and (got == expected).all()


@pytest.mark.parametrize("name", LOSS_OPS)
def test_losses_take_any_leading_dimensions(name):
    rng = np.random.default_rng(3)
    a, b = boxes_of(rng, 2, 3, 5), boxes_of(rng, 2, 3, 5)
    got = getattr(ops, name)(a, b)
    expected = getattr(ops, name)(a.reshape(-1, 4), b.reshape(-1, 4)).reshape(2, 3, 5)
    assert (got == expected).all()
    assert getattr(ops, name)(torch.from_numpy(a[0, 0, 0]), torch.from_numpy(b[0, 0, 0])).dim() == 0


@pytest.mark.parametrize("fmt", ["xywh", "cxcywh"])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_every_form_reads_other_formats(name, fmt):
    rng = np.random.default_rng(4)
    a, b = boxes_of(rng, 2, 9, dtype=np.float64), boxes_of(rng, 2, 9, dtype=np.float64)
    other = [ops.box_convert(x, "xyxy", fmt) for x in (a, b)]
    for aligned in (False, True):
        got = getattr(ops, name)(*other, fmt=fmt, aligned=aligned)
        np.testing.assert_allclose(got, getattr(ops, name)(a, b, aligned=aligned), atol=1e-12)


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_out_of_a_batch_is_filled_and_returned(name):
    rng = np.random.default_rng(5)
    a, b = boxes_of(rng, 2, 1, 5), boxes_of(rng, 3, 7)
    expected = getattr(ops, name)(a, b)
    out = np.full((2, 3, 5, 7), np.nan, np.float32)
    assert getattr(ops, name)(a, b, out=out) is out and (out == expected).all()
    tensor = torch.full((2, 3, 5, 7), torch.nan)
    given = [torch.from_numpy(x) for x in (a, b)]
    assert getattr(ops, name)(*given, out=tensor) is tensor
    assert (tensor.numpy() == expected).all()
    with pytest.raises(ValueError, match=r"`out` must be .* of shape \[2, 3, 5, 7\], got"):
        getattr(ops, name)(a, b, out=out[0])


def test_large_output_in_place_has_the_bits_of_a_fresh_one():
    # 34 MB, which is written around the caches; the rows start at every distance from a cache line.
    rng = np.random.default_rng(6)
    a, b = random_boxes(rng, 1013), random_boxes(rng, 8401, bad=True)
    fresh = ops.box_iou(a, b)
    memory = np.empty(fresh.size + 1, np.float32)
    for start in (0, 1):
        out = memory[start : start + fresh.size].reshape(fresh.shape)
        out.fill(np.nan)
        ops.box_iou(a, b, out=out)
        assert out.tobytes() == fresh.tobytes()
    assert (ops.box_iou(a[500:502], b) == fresh[500:502]).all()


def test_wrong_batches_and_pairs_are_named():
    one = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="leading dimensions of `boxes1` and `boxes2` must broad"):
        ops.box_iou(np.zeros((2, 3, 4)), np.zeros((3, 3, 4)))
    with pytest.raises(
        ValueError, match=r"`boxes1` must have shape \[..., N, 4\], got \[2, 3, 5\]"
    ):
        ops.box_iou(np.zeros((2, 3, 5)), one)
    with pytest.raises(ValueError, match="same number of boxes where aligned"):
        ops.box_iou(one, np.zeros((3, 4)), aligned=True)
    with pytest.raises(ValueError, match="`out` is for the matrix"):
        ops.box_iou(one, one, aligned=True, out=np.empty(2, np.float32))
    with pytest.raises(ValueError, match=r"`boxes1` must have shape \[..., 4\], got \[2, 5\]"):
        ops.generalized_box_iou_loss(np.zeros((2, 5)), np.zeros((2, 5)))


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_gradients_of_batches_and_aligned_pairs_are_those_of_the_value(name):
    rng = np.random.default_rng(7)
    function = getattr(ops, name)
    for lead1, lead2 in (((2,), (2,)), ((1,), (2,)), ((2,), ()), ((2, 1), (1, 2))):
        a = torch.tensor(boxes_of(rng, *lead1, 3, dtype=np.float64), requires_grad=True)
        b = torch.tensor(boxes_of(rng, *lead2, 3, dtype=np.float64), requires_grad=True)
        assert torch.autograd.gradcheck(function, (a, b))
        assert torch.autograd.gradcheck(lambda x, y: function(x, y, aligned=True), (a, b))


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_matrix_gradients_are_the_sums_of_aligned_ones(name):
    # Over more than one block of rows and columns, and with bad boxes among them.
    rng = np.random.default_rng(8)
    n, m = 300, 530
    a, b = (torch.tensor(random_boxes(rng, k, np.float64, bad=True)) for k in (n, m))
    weight = torch.from_numpy(rng.normal(size=(n, m)))
    first, second = a.clone().requires_grad_(), b.clone().requires_grad_()
    (getattr(ops, name)(first, second) * weight).sum().backward()
    rows, columns = (x.clone().requires_grad_() for x in (a, b))
    pairs = getattr(ops, name)(
        rows[:, None].expand(n, m, 4), columns[None].expand(n, m, 4), aligned=True
    )
    (pairs * weight).sum().backward()
    torch.testing.assert_close(first.grad, rows.grad, rtol=1e-9, atol=1e-9, equal_nan=False)
    torch.testing.assert_close(second.grad, columns.grad, rtol=1e-9, atol=1e-9, equal_nan=False)


@pytest.mark.parametrize("name", [*MATRIX_OPS, *ALIGNED_OPS])
def test_vmap_maps_either_or_both(name):
    rng = np.random.default_rng(9)
    raw = getattr(torch.ops.sightline, name)
    rest = (1e-7,) if has_eps(name) else ()
    op = lambda a, b: raw(a, b, *rest)  # noqa: E731
    many = [torch.from_numpy(boxes_of(rng, 3, 5)) for _ in range(2)]
    for dims in ((0, 0), (0, None), (None, 0), (1, 0)):
        given = [x if d is not None else x[0] for x, d in zip(many, dims)]
        moved = [x.movedim(0, d) if d else x for x, d in zip(given, dims)]
        got = torch.vmap(op, in_dims=dims)(*moved)
        rows = [[x[k] if d is not None else x for x, d in zip(given, dims)] for k in range(3)]
        assert torch.equal(got, torch.stack([op(*row) for row in rows]))


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_vmap_maps_batches(name):
    rng = np.random.default_rng(10)
    function = getattr(ops, name)
    a, b = torch.from_numpy(boxes_of(rng, 4, 2, 5)), torch.from_numpy(boxes_of(rng, 4, 3))
    got = torch.vmap(function)(a, b)
    assert torch.equal(got, torch.stack([function(a[k], b[k]) for k in range(4)]))
    shared = torch.vmap(function, in_dims=(0, None))(a, b[0])
    assert torch.equal(shared, torch.stack([function(a[k], b[0]) for k in range(4)]))


@pytest.mark.parametrize("name", [*MATRIX_OPS, *LOSS_OPS])
def test_vmap_maps_gradients(name):
    rng = np.random.default_rng(11)
    function = getattr(ops, name)
    a, b = (torch.from_numpy(boxes_of(rng, 3, 4, dtype=np.float64)) for _ in range(2))
    a.requires_grad_()
    total = torch.vmap(lambda x, y: function(x, y).square().sum())(a, b)
    (grad,) = torch.autograd.grad(total.sum(), a)
    rows = torch.stack([function(a[k], b[k]).square().sum() for k in range(3)])
    torch.testing.assert_close(grad, torch.autograd.grad(rows.sum(), a)[0])


@pytest.mark.parametrize("name", [*MATRIX_OPS, *ALIGNED_OPS])
def test_opcheck_of_batches_and_aligned_pairs(name):
    rng = np.random.default_rng(12)
    rest = (1e-7,) if has_eps(name) else ()
    op = getattr(torch.ops.sightline, name).default
    backward = getattr(torch.ops.sightline, f"{name}_backward").default
    if name in ALIGNED_OPS:
        a, b = (torch.tensor(boxes_of(rng, 5)) for _ in range(2))
        torch.library.opcheck(backward, (torch.ones(5), a, b, *rest))
        torch.library.opcheck(op, (a.requires_grad_(), b.requires_grad_(), *rest))
        return
    for lead1, lead2 in (((3,), (3,)), ((1,), (3,)), ((3,), ())):
        a, b = torch.tensor(boxes_of(rng, *lead1, 5)), torch.tensor(boxes_of(rng, *lead2, 4))
        torch.library.opcheck(backward, (torch.ones(3, 5, 4), a, b, *rest))
        out = getattr(torch.ops.sightline, f"{name}_out").default
        torch.library.opcheck(out, (a, b, *rest, torch.empty(3, 5, 4)))
        torch.library.opcheck(op, (a.requires_grad_(), b.requires_grad_(), *rest))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("name", MATRIX_OPS)
def test_compiles_and_exports_with_batches(name, aligned):
    torch.compiler.reset()  # one function in ten forms is more than the compiler keeps
    rng = np.random.default_rng(13)

    class Overlap(torch.nn.Module):
        def forward(self, a, b):
            return getattr(ops, name)(a, b, aligned=aligned)

    a, b = torch.from_numpy(boxes_of(rng, 2, 5)), torch.from_numpy(boxes_of(rng, 1, 5))
    expected = Overlap()(a, b)
    assert torch.equal(
        torch.compile(Overlap(), fullgraph=True, backend="aot_eager")(a, b), expected
    )
    assert torch.equal(torch.export.export(Overlap(), (a, b)).module()(a, b), expected)


def test_autocast_widens_batches_and_aligned_pairs():
    a = (torch.rand(2, 3, 4) * 300).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.ops.sightline.box_iou(a, a).dtype == torch.float32
        assert torch.ops.sightline.box_iou_aligned(a[0], a[0]).dtype == torch.float32
        assert ops.generalized_box_iou(a, a, aligned=True).dtype == torch.float32


def test_any_layout_of_a_batch_gives_the_same_result():
    rng = np.random.default_rng(14)
    a, b = boxes_of(rng, 6, 5), boxes_of(rng, 6, 7)
    expected = ops.box_iou(a, b)
    for same in awkward_layouts(a):
        assert (ops.box_iou(same, b) == expected).all()
        assert (ops.box_iou(same, b[:, :5], aligned=True) == expected[:, range(5), range(5)]).all()
    tensor = torch.from_numpy(a).permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert (ops.box_iou(tensor, torch.from_numpy(b)).numpy() == expected).all()


BITS = """
import hashlib
import numpy as np
from sightline import ops
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    corner = rng.uniform(-50, 100, (3, 70, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-3, 60, (3, 70, 2))], -1).astype(dtype)
    boxes[0, ::7, 1] = np.inf
    for name in %r:
        for aligned in (False, True):
            got = getattr(ops, name)(boxes, boxes[::-1], aligned=aligned)
            print(name, hashlib.sha256(got.tobytes()).hexdigest())
large = np.concatenate([corner, corner + 30], -1).reshape(-1, 4).astype(np.float32)
large = np.concatenate([large] * 45)
out = np.empty((900, len(large) + 1), np.float32)
ops.generalized_box_iou(large[:900], np.concatenate([large, large[:1]]), out=out)
print(hashlib.sha256(out.tobytes()).hexdigest())
"""


def test_every_isa_level_gives_the_same_bits():
    output_of_every_level(BITS % (MATRIX_OPS,))


def test_any_thread_count_gives_the_same_bits():
    rng = np.random.default_rng(15)
    a = torch.tensor(boxes_of(rng, 3, 400, bad=True), requires_grad=True)
    b = torch.tensor(boxes_of(rng, 3, 600, bad=True), requires_grad=True)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            matrix = ops.complete_box_iou(a, b)
            pairs = ops.complete_box_iou(
                a.reshape(-1, 1, 4).expand(-1, 300, 4), b[0, :300], aligned=True
            )
            results.append((matrix, pairs, *torch.autograd.grad(matrix.sum(), (a, b))))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], others))


@pytest.mark.parametrize("name", MATRIX_OPS)
def test_cuda_gives_the_bits_of_the_cpu_for_batches_and_pairs(name, cuda):
    rng = np.random.default_rng(16)
    for lead1, lead2 in BATCHES:
        for n, m in ((0, 3), (1, 1), (65, 300), (9, 1027)):
            a, b = (
                torch.from_numpy(boxes_of(rng, *lead, k, bad=True)).requires_grad_()
                for lead, k in ((lead1, n), (lead2, m))
            )
            expected = getattr(ops, name)(a, b)
            on_gpu = [t.detach().to(cuda).requires_grad_() for t in (a, b)]
            got = getattr(ops, name)(*on_gpu)
            assert torch.equal(got.cpu(), expected)
            grads = torch.autograd.grad(expected.sum(), (a, b))
            for grad, other in zip(grads, torch.autograd.grad(got.sum(), on_gpu)):
                torch.testing.assert_close(other.cpu(), grad, rtol=1e-4, atol=1e-5)
            pairs = getattr(ops, name)(a[..., :1, :], b[..., :1, :], aligned=True)
            first = [t[..., :1, :] for t in on_gpu]
            assert torch.equal(getattr(ops, name)(*first, aligned=True).cpu(), pairs)
