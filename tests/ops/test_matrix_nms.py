"""Matrix NMS: hand-worked cases, the reference, properties, and what torch asks of an op."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .same import assert_same, tensors
from .test_soft_nms import BOXES, DTYPES, METHODS, SCORES, SIZES, random_scores


def test_decay_worked_by_hand():
    linear = ops.matrix_nms(BOXES, SCORES, method="linear")
    np.testing.assert_allclose(linear, [0.9, 0.4, 0.7], rtol=1e-6)
    gaussian = ops.matrix_nms(BOXES, SCORES, sigma=2)
    np.testing.assert_allclose(gaussian, [0.9, 0.8 * np.exp(-2 * 0.25), 0.7], rtol=1e-6)


def test_a_box_that_is_itself_suppressed_says_less():
    # a and b overlap by 0.8, b and c by 1 / 2: c is lowered by a alone as far as b is not.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 8, 10], [0, 0, 4, 10]], np.float64)
    scores = np.array([0.9, 0.8, 0.7])
    got = ops.matrix_nms(boxes, scores, method="linear")
    np.testing.assert_allclose(got, [0.9, 0.8 * 0.2, 0.7 * min(1 - 0.4, 0.5 / 0.2)])
    got = ops.matrix_nms(boxes, scores, sigma=2)
    least = min(np.exp(-2 * 0.16), np.exp(-2 * 0.25) / np.exp(-2 * 0.64))
    np.testing.assert_allclose(got[2], 0.7 * least)


def test_three_duplicates_give_no_nan():
    # The authors' linear form divides zero by zero here.
    for dtype in DTYPES:
        boxes = np.repeat(BOXES[:1], 3, 0).astype(dtype)
        got = ops.matrix_nms(boxes, np.ones(3, dtype), method="linear")
        assert got.tolist() == [1, 0, 0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_nms_equals_the_reference(dtype, method):
    rng = np.random.default_rng(0)
    for n in SIZES:
        boxes, scores = random_boxes(rng, n, dtype, bad=True), random_scores(rng, n, dtype)
        for idxs in (None, rng.integers(-2, 3, n), np.arange(n)):
            for sigma in (0.5, 2.0):
                settings = {"method": method, "sigma": sigma}
                expected = reference.matrix_nms(boxes, scores, idxs=idxs, **settings)
                got = ops.matrix_nms(boxes, scores, idxs=idxs, **settings)
                if method == "linear":
                    assert_same(got, expected)
                else:
                    assert got.dtype == expected.dtype
                    np.testing.assert_allclose(got, expected, rtol=1e-6)
                i = None if idxs is None else torch.from_numpy(idxs)
                of_tensors = ops.matrix_nms(*tensors(boxes, scores), idxs=i, **settings)
                assert_same(of_tensors, got)


def test_a_large_segment_beside_small_ones_is_one_call_each():
    rng = np.random.default_rng(1)
    n = 6000
    corner = rng.uniform(0, 900, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (n, 2))], 1)
    scores = np.round(rng.random(n), 2)
    idxs = np.where(rng.random(n) < 0.8, 3, rng.integers(0, 9, n))
    got = ops.matrix_nms(boxes, scores, idxs=idxs)
    for idx in range(9):
        own = idxs == idx
        assert_same(got[own], ops.matrix_nms(boxes[own], scores[own]))
    small = idxs != 3
    expected = reference.matrix_nms(boxes[small], scores[small], idxs=idxs[small])
    np.testing.assert_allclose(got[small], expected, rtol=1e-12)


def test_scores_only_fall_and_the_best_stay():
    rng = np.random.default_rng(2)
    boxes, scores, idxs = random_boxes(rng, 300), rng.random(300), rng.integers(0, 4, 300)
    for method in METHODS:
        got = ops.matrix_nms(boxes, scores, idxs=idxs, method=method)
        assert (got <= scores).all() and (got >= 0).all() and (got < scores).any()
        for idx in range(4):
            best = np.flatnonzero(idxs == idx)[np.argmax(scores[idxs == idx])]
            assert got[best] == scores[best]
        order = rng.permutation(300)
        again = ops.matrix_nms(boxes[order], scores[order], idxs=idxs[order], method=method)
        assert_same(again, got[order])


def test_bad_boxes_keep_their_scores():
    nan, inf = np.nan, np.inf
    bad = [[nan, 0, 10, 10], [0, 0, inf, 10], [-inf, 0, 10, 10], [10, 10, 0, 0], [5, 5, 5, 5]]
    boxes = np.array([*bad, BOXES[0], *bad], np.float32)
    for method in METHODS:
        assert (ops.matrix_nms(boxes, np.ones(11), method=method) == 1).all()


def test_any_type_and_layout_of_the_inputs():
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.integers(0, 40, (99, 2, 2)), 1).reshape(99, 4)
    scores, idxs = rng.integers(0, 9, 99), rng.integers(0, 3, 99)
    b, s = boxes.astype(np.float32), scores.astype(np.float32)
    expected = reference.matrix_nms(b, s, idxs=idxs, method="linear")
    for dtype in (np.uint8, np.int64, np.float16):
        got = ops.matrix_nms(boxes.astype(dtype), scores.astype(dtype), idxs=idxs, method="linear")
        assert_same(got, expected)
    for layout in zip(*map(awkward_layouts, (b, s, idxs)), strict=True):
        assert_same(ops.matrix_nms(*layout[:2], idxs=layout[2], method="linear"), expected)
    tb, ts, ti = tensors(b, s, idxs)
    ts, ti = torch.stack([ts, ts], 1)[:, 0], torch.stack([ti, ti], 1)[:, 0]
    for half in (tb.T.contiguous().T, tb.bfloat16()):
        assert_same(ops.matrix_nms(half, ts, idxs=ti, method="linear"), expected)


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np
from sightline import _numpy
rng = np.random.default_rng(0)
corner = rng.uniform(0, 700, (5000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (5000, 2))], 1)
scores, idxs = rng.random(5000), rng.integers(0, 9, 5000)
for threads in (1, 2):
    _numpy.set_num_threads(threads)
    results = [
        _numpy.matrix_nms(boxes.astype(dtype), scores.astype(dtype), segments, gaussian, 2.0)
        for dtype in (np.float32, np.float64)
        for gaussian in (False, True)
        for segments in (None, idxs)
    ]
    print(*(hashlib.md5(r.tobytes()).hexdigest() for r in results))
"""
    one, two = output_of_every_level(code).splitlines()
    assert one == two


def test_wrong_arguments_are_named():
    for settings, error, message in (
        (
            {"method": "hard"},
            ValueError,
            "`method` must be one of 'linear', 'gaussian', got 'hard'",
        ),
        ({"sigma": 0}, ValueError, "`sigma` must be more than 0 and finite, got 0"),
        ({"idxs": np.zeros(2, int)}, ValueError, r"`idxs` must have shape \[3\]"),
        ({"idxs": np.zeros(3)}, TypeError, "`idxs` must hold integers, got dtype float64"),
    ):
        with pytest.raises(error, match=message):
            ops.matrix_nms(BOXES, SCORES, **settings)
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 4\], got \[3, 5\]"):
        ops.matrix_nms(np.zeros((3, 5)), SCORES)
    with pytest.raises(ValueError, match="scores must have one number"):
        _numpy.matrix_nms(BOXES, SCORES[:2], None, True, 2.0)
    with pytest.raises(RuntimeError, match="scores must have one number"):
        torch.ops.sightline.matrix_nms(*tensors(BOXES, SCORES[:2]), None, True, 2.0)


def test_opcheck_compile_export_and_autocast():
    rng = np.random.default_rng(4)
    boxes, scores, idxs = tensors(
        random_boxes(rng, 40), random_scores(rng, 40), rng.integers(0, 3, 40)
    )
    op = torch.ops.sightline.matrix_nms
    torch.library.opcheck(op, (boxes, scores, None, True, 2.0))
    torch.library.opcheck(op, (boxes.double(), scores.double(), idxs, False, 2.0))

    class Lower(torch.nn.Module):
        def forward(self, boxes, scores):
            return ops.matrix_nms(boxes, scores)

    expected = Lower()(boxes, scores)
    compiled = torch.compile(Lower(), fullgraph=True, backend="aot_eager")
    exported = torch.export.export(Lower(), (boxes, scores)).module()
    assert_same(compiled(boxes, scores), expected.numpy())
    assert_same(exported(boxes, scores), expected.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        assert op(boxes.bfloat16(), scores.bfloat16(), None, True, 2.0).dtype == torch.float32
    assert not ops.matrix_nms(boxes.requires_grad_(), scores.requires_grad_()).requires_grad


def test_cuda_gives_what_the_cpu_gives_without_synchronising(cuda):
    rng = np.random.default_rng(5)
    for n in (*SIZES, 3000):
        for dtype in DTYPES:
            boxes, scores, idxs = tensors(
                random_boxes(rng, n, dtype, bad=True),
                random_scores(rng, n, dtype),
                rng.integers(-3, 4, n),
            )
            b, s, i = (part.to(cuda) for part in (boxes, scores, idxs))
            for method in METHODS:
                for on_gpu, on_cpu in ((None, None), (i, idxs)):
                    torch.cuda.set_sync_debug_mode("error")
                    try:
                        got = ops.matrix_nms(b, s, idxs=on_gpu, method=method)
                    finally:
                        torch.cuda.set_sync_debug_mode("default")
                    expected = ops.matrix_nms(boxes, scores, idxs=on_cpu, method=method)
                    assert_same(got.cpu(), expected.numpy())
