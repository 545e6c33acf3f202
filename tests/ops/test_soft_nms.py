"""Soft-NMS: hand-worked cases, the reference, properties, and what torch asks of an op."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .same import assert_same, tensors
from .soft_nms_rules import assert_gaussian_rules

SIZES = (0, 1, 2, 63, 64, 65, 129, 1000)
DTYPES = (np.float32, np.float64)
METHODS = ("linear", "gaussian")
# The first two overlap by 1 / 2, the third lies apart.
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)


def random_scores(rng, n, dtype=np.float32):
    """With many ties, a few NaN and infinities, and zeros of both signs."""
    scores = np.round(rng.uniform(-0.2, 1, n), 2).astype(dtype)
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
        scores[rng.random(n) < 0.02] = value
    return scores


def assert_close(got, expected):
    assert got[0].tolist() == expected[0].tolist()
    assert got[1].dtype == expected[1].dtype
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-5)


def test_linear_decay_worked_by_hand():
    keep, scores = ops.soft_nms(BOXES, SCORES)
    assert keep.tolist() == [0, 2, 1]
    assert scores.tolist() == [SCORES[0], SCORES[2], np.float32(0.8) * np.float32(0.5)]
    # An overlap equal to the threshold does not count.
    assert ops.soft_nms(BOXES, SCORES, iou_threshold=0.5)[0].tolist() == [0, 1, 2]


def test_gaussian_decay_worked_by_hand():
    keep, scores = ops.soft_nms(BOXES, SCORES, method="gaussian", sigma=0.5)
    assert keep.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.8 * np.exp(-0.25 / 0.5)], rtol=1e-6)


def test_a_score_equal_to_the_threshold_stays():
    half = float(np.float32(0.8) * np.float32(0.5))
    assert len(ops.soft_nms(BOXES, SCORES, score_threshold=half)[0]) == 3
    above = float(np.nextafter(np.float32(half), np.float32(1)))
    assert ops.soft_nms(BOXES, SCORES, score_threshold=above)[0].tolist() == [0, 2]
    # The authors' code keeps the best box even below the threshold.
    assert len(ops.soft_nms(BOXES, SCORES, score_threshold=0.95)[0]) == 0


def test_negative_and_nan_scores_are_never_kept():
    scores = np.array([-0.5, np.nan, -0.0])
    keep, kept = ops.soft_nms(BOXES, scores, score_threshold=0)
    assert keep.tolist() == [2] and kept.tolist() == [0]


def test_a_duplicate_goes_to_zero():
    twice = np.repeat(BOXES[:1], 2, 0)
    assert ops.soft_nms(twice, SCORES[:2])[0].tolist() == [0]
    keep, scores = ops.soft_nms(twice, SCORES[:2], score_threshold=0)
    assert keep.tolist() == [0, 1] and scores[1] == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_nms_equals_the_reference(dtype, method):
    rng = np.random.default_rng(0)
    check = assert_same if method == "linear" else assert_close
    for n in SIZES:
        boxes, scores = random_boxes(rng, n, dtype, bad=True), random_scores(rng, n, dtype)
        for idxs in (None, rng.integers(-2, 3, n), np.arange(n)):
            for threshold, limit in ((0, None), (0.05, 3), (0.3, None), (0, 0)):
                settings = {
                    "method": method,
                    "iou_threshold": threshold,
                    "score_threshold": threshold,
                    "max_detections": limit,
                }
                expected = reference.soft_nms(boxes, scores, idxs=idxs, **settings)
                got = ops.soft_nms(boxes, scores, idxs=idxs, **settings)
                check(got, expected)
                i = None if idxs is None else torch.from_numpy(idxs)
                assert_same(ops.soft_nms(*tensors(boxes, scores), idxs=i, **settings), got)


@pytest.mark.parametrize("method", METHODS)
def test_many_tiles_equal_the_reference(method):
    # More than one chunk of tiles, with ties throughout.
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 1500, (6000, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (6000, 2))], 1)
    scores = np.round(rng.random(6000), 2)
    settings = {"method": method, "score_threshold": 0.5, "max_detections": 900}
    got = ops.soft_nms(boxes, scores, **settings)
    assert_close(got, reference.soft_nms(boxes, scores, **settings))


@pytest.mark.parametrize("method", METHODS)
def test_segments_are_one_call_each(method):
    rng = np.random.default_rng(2)
    n = 2500
    boxes, scores, idxs = random_boxes(rng, n), random_scores(rng, n), rng.integers(0, 7, n)
    keep, kept = ops.soft_nms(boxes, scores, method=method, idxs=idxs)
    for idx in range(7):
        segment = np.flatnonzero(idxs == idx)
        own = ops.soft_nms(boxes[segment], scores[segment], method=method)
        mine = idxs[keep] == idx
        assert_same((keep[mine], kept[mine]), (segment[own[0]], own[1]))
    assert (kept[1:] <= kept[:-1]).all()
    ties = kept[1:] == kept[:-1]
    assert ties.any() and (np.diff(keep)[ties] > 0).all()
    few = ops.soft_nms(boxes, scores, method=method, idxs=idxs, max_detections=50)
    assert_same(few, (keep[:50], kept[:50]))


def test_bad_boxes_keep_their_scores():
    nan, inf = np.nan, np.inf
    bad = [[nan, 0, 10, 10], [0, 0, inf, 10], [-inf, 0, 10, 10], [10, 10, 0, 0], [5, 5, 5, 5]]
    boxes = np.array([*bad, BOXES[0], *bad], np.float32)
    for method in METHODS:
        keep, scores = ops.soft_nms(boxes, np.ones(11), method=method, iou_threshold=0)
        assert keep.tolist() == list(range(11)) and (scores == 1).all()


def test_gaussian_factor_is_within_two_ulp_of_the_exponential():
    width = np.linspace(0.01, 1, 400)
    for dtype in DTYPES:
        pairs = np.zeros((400, 2, 4), dtype)
        pairs[..., 3] = 1
        pairs[:, 0, 2] = 1
        pairs[:, 1, 2] = width
        iou = np.array([ops.box_iou(p, p)[0, 1] for p in pairs])
        exponent = -(iou * iou) / dtype(0.1)
        scores = np.array([2, 1], dtype)
        settings = {"method": "gaussian", "sigma": 0.1, "score_threshold": 0}
        got = np.array([ops.soft_nms(p, scores, **settings)[1][1] for p in pairs])
        error = np.abs(got.astype(np.longdouble) - np.exp(exponent.astype(np.longdouble)))
        assert (error <= 2 * np.spacing(got)).all()


def near_tie(width, sigma):
    """Boxes and scores. The first box lowers the score of the second, to that of the third if the
    exponential is rounded right; the fourth overlaps the second alone."""
    boxes = np.array(
        [[0, 0, 10, 10], [10 - width, 0, 12, 10], [11, 0, 20, 10], [10.5, 0, 11, 10]], np.float32
    )
    iou = ops.box_iou(boxes[:1], boxes[1:2])[0, 0]
    exponent = -(iou * iou) / np.float32(sigma)
    tie = np.float32(0.9) * np.float32(np.exp(np.float64(exponent)))
    return boxes, np.array([0.95, 0.9, tie, tie - np.float32(0.001)], np.float32)


def test_gaussian_scores_that_tie_but_for_rounding_may_come_in_either_order():
    settings = {"sigma": 0.5, "score_threshold": 0.0}
    orders, orders_of_numpy = [], []
    for width in np.linspace(1, 9, 100):
        boxes, scores = near_tie(width, settings["sigma"])
        found = ops.soft_nms(boxes, scores, method="gaussian", **settings)
        assert_gaussian_rules(boxes, scores, found, **settings)
        by_numpy = reference.soft_nms(boxes, scores, method="gaussian", **settings)
        assert_gaussian_rules(boxes, scores, by_numpy, **settings)
        orders.append(found[0].tolist())
        orders_of_numpy.append(by_numpy[0].tolist())
    assert [0, 1, 2, 3] in orders and [0, 2, 3, 1] in orders
    assert orders != orders_of_numpy  # so no test can ask for one order


def test_the_rules_of_gaussian_soft_nms_notice_what_is_wrong():
    boxes, scores = random_boxes(np.random.default_rng(7), 60), np.linspace(0.9, 0.3, 60)
    scores = scores.astype(np.float32)
    settings = {"sigma": 0.5, "score_threshold": 0.1}
    keep, kept = ops.soft_nms(boxes, scores, method="gaussian", **settings)
    assert_gaussian_rules(boxes, scores, (keep, kept), **settings)
    swapped = keep.copy()
    swapped[[4, 5]] = keep[[5, 4]]
    for wrong in ((keep[:-1], kept[:-1]), (keep, kept * np.float32(1.00001)), (swapped, kept)):
        with pytest.raises(AssertionError):
            assert_gaussian_rules(boxes, scores, wrong, **settings)


def test_half_and_integer_inputs_compute_in_float32():
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.integers(0, 40, (200, 2, 2)), 1).reshape(200, 4)
    scores = rng.integers(0, 9, 200)
    expected = reference.soft_nms(boxes.astype(np.float32), scores.astype(np.float32))
    for dtype in (np.uint8, np.int16, np.int64, np.float16):
        b, s = boxes.astype(dtype), scores.astype(dtype)
        assert_same(ops.soft_nms(b, s), expected)
        assert_same(ops.soft_nms(*tensors(b, s)), expected)
    b, s = tensors(boxes, scores)
    assert_same(ops.soft_nms(b.bfloat16(), s.bfloat16()), expected)
    assert ops.soft_nms(b.double(), s.half())[1].dtype == torch.float64


def test_any_layout_of_the_inputs_gives_the_same():
    rng = np.random.default_rng(4)
    boxes, scores, idxs = random_boxes(rng, 99), random_scores(rng, 99), rng.integers(0, 3, 99)
    expected = reference.soft_nms(boxes, scores, idxs=idxs)
    for b, s, i in zip(*map(awkward_layouts, (boxes, scores, idxs)), strict=True):
        assert_same(ops.soft_nms(b, s, idxs=i), expected)
    b, s, i = tensors(boxes, scores, idxs)
    s, i = torch.stack([s, s], 1)[:, 0], torch.stack([i, i], 1)[:, 0]
    assert_same(ops.soft_nms(b.T.contiguous().T, s, idxs=i), expected)


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 700, (5000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (5000, 2))], 1)
scores, idxs = rng.random(5000), rng.integers(0, 9, 5000)
for threads in (1, 2):
    _numpy.set_num_threads(threads)
    torch.set_num_threads(threads)
    results = []
    for dtype in (np.float32, np.float64):
        b, s = boxes.astype(dtype), scores.astype(dtype)
        for method in ("linear", "gaussian"):
            results += ops.soft_nms(b, s, method=method)
            results += ops.soft_nms(b, s, method=method, idxs=idxs)
            of_tensors = ops.soft_nms(*map(torch.from_numpy, (b, s)), method=method,
                                      idxs=torch.from_numpy(idxs))
            results += (part.numpy() for part in of_tensors)
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
        ({"iou_threshold": 1.5}, ValueError, r"`iou_threshold` must lie in \[0, 1\], got 1.5"),
        ({"sigma": 0}, ValueError, "`sigma` must be more than 0 and finite, got 0"),
        ({"sigma": np.nan}, ValueError, "`sigma` must be more than 0 and finite, got nan"),
        ({"sigma": "1"}, TypeError, "`sigma` must be a number, got str"),
        ({"score_threshold": -0.1}, ValueError, "`score_threshold` must be at least 0, got -0.1"),
        ({"score_threshold": np.nan}, ValueError, "`score_threshold` must be at least 0, got nan"),
        ({"max_detections": -1}, ValueError, "`max_detections` must be at least 0, got -1"),
        ({"idxs": np.zeros(2, int)}, ValueError, r"`idxs` must have shape \[3\]"),
        ({"idxs": np.zeros(3)}, TypeError, "`idxs` must hold integers, got dtype float64"),
        ({"idxs": torch.zeros(3)}, TypeError, "`idxs` is a torch.Tensor and `boxes` is"),
    ):
        with pytest.raises(error, match=message):
            ops.soft_nms(BOXES, SCORES, **settings)
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 4\], got \[3, 5\]"):
        ops.soft_nms(np.zeros((3, 5)), SCORES)
    with pytest.raises(ValueError, match=r"`scores` must have shape \[3\], one for each of"):
        ops.soft_nms(BOXES, SCORES[:2])


def test_native_ops_refuse_what_would_read_out_of_bounds():
    rest = (False, 0.3, 0.5, 0.001, 9)
    with pytest.raises(ValueError, match="scores must have one number"):
        _numpy.soft_nms(BOXES, SCORES[:2], None, *rest)
    with pytest.raises(ValueError, match="idxs must have one integer"):
        _numpy.soft_nms(BOXES, SCORES, np.zeros(2, np.int64), *rest)
    boxes, scores = tensors(BOXES, SCORES)
    with pytest.raises(RuntimeError, match="scores must have one number"):
        torch.ops.sightline.soft_nms(boxes, scores[:2], None, *rest)
    with pytest.raises(RuntimeError, match="idxs must have one int64"):
        torch.ops.sightline.soft_nms(boxes, scores, torch.zeros(2, dtype=torch.int64), *rest)


def test_opcheck():
    rng = np.random.default_rng(5)
    boxes, scores, idxs = tensors(
        random_boxes(rng, 40), random_scores(rng, 40), rng.integers(0, 3, 40)
    )
    rest = (0.3, 0.5, 0.001, 20)
    torch.library.opcheck(torch.ops.sightline.soft_nms, (boxes, scores, None, False, *rest))
    torch.library.opcheck(
        torch.ops.sightline.soft_nms, (boxes.double(), scores.double(), idxs, True, *rest)
    )


def test_compiles_exports_and_widens_under_autocast():
    boxes, scores = tensors(BOXES, SCORES)

    class Detect(torch.nn.Module):
        def forward(self, boxes, scores):
            keep, kept = ops.soft_nms(boxes, scores, method="gaussian", max_detections=5)
            return boxes[keep], kept

    expected = Detect()(boxes, scores)
    compiled = torch.compile(Detect(), fullgraph=True, backend="aot_eager")
    exported = torch.export.export(Detect(), (boxes, scores)).module()
    for found in (compiled(boxes, scores), exported(boxes, scores)):
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = torch.ops.sightline.soft_nms(
            boxes.bfloat16(), scores.bfloat16(), None, False, 0.3, 0.5, 0.001, 9
        )
    assert half[1].dtype == torch.float32


def test_no_gradient_comes_out():
    boxes, scores = tensors(BOXES, SCORES)
    keep, kept = ops.soft_nms(boxes.requires_grad_(), scores.requires_grad_())
    assert not keep.requires_grad and not kept.requires_grad


def test_cuda_gives_what_the_cpu_gives(cuda):
    rng = np.random.default_rng(6)
    for n in (*SIZES, 3000):
        for dtype in DTYPES:
            boxes, scores, idxs = tensors(
                random_boxes(rng, n, dtype, bad=True),
                random_scores(rng, n, dtype),
                rng.integers(-3, 4, n),
            )
            b, s, i = (part.to(cuda) for part in (boxes, scores, idxs))
            for method in METHODS:
                for limit in (None, 0, 7):
                    settings = {"method": method, "max_detections": limit}
                    got = ops.soft_nms(b, s, **settings)
                    assert got[0].device.type == got[1].device.type == "cuda"
                    expected = ops.soft_nms(boxes, scores, **settings)
                    assert_same([g.cpu() for g in got], [e.numpy() for e in expected])
                    got = ops.soft_nms(b, s, idxs=i, **settings)
                    expected = ops.soft_nms(boxes, scores, idxs=idxs, **settings)
                    assert_same([g.cpu() for g in got], [e.numpy() for e in expected])
