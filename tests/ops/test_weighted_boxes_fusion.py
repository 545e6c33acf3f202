"""Weighted boxes fusion: hand-worked cases, the reference, the authors' package, torch."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .box_cases import random_boxes
from .isa import output_of_every_level
from .same import assert_same
from .test_soft_nms import DTYPES, SIZES, random_scores

CONF_TYPES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")


def tensors(lists):
    return [[torch.from_numpy(one.copy()) for one in of_models] for of_models in lists]


def detections(rng, sizes, dtype=np.float32, num_labels=3, bad=False):
    """Lists of boxes, scores and labels: jittered sights of the same objects."""
    objects = random_boxes(rng, max(max(sizes, default=0) // 2, 1))
    boxes, scores, labels = [], [], []
    for n in sizes:
        which = rng.integers(0, len(objects), n)
        seen = objects[which] + rng.normal(0, 2, (n, 4))
        if bad:
            seen[rng.random(n) < 0.2] = random_boxes(rng, int(n), dtype, bad=True)[:1]
            seen[rng.random(seen.shape) < 0.02] = rng.choice([np.nan, np.inf])
        boxes.append(seen.astype(dtype))
        scores.append(random_scores(rng, n, dtype) if bad else rng.random(n).astype(dtype))
        labels.append(which % num_labels - 1)
    return boxes, scores, labels


# Two models see one object; the second sees another, too.
BOXES = [np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 8], [20, 20, 30, 30]])]
SCORES = [np.array([0.6]), np.array([0.2, 0.5])]
LABELS = [np.array([1]), np.array([1, 1])]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"conf_type": "avg"}, [0.4, 0.25]),
        ({"conf_type": "max"}, [0.6, 0.5]),
        ({"conf_type": "box_and_model_avg"}, [0.4, 0.25]),
        ({"conf_type": "absent_model_aware_avg"}, [0.4, 0.25]),
        ({"weights": [3, 1]}, [(1.8 + 0.2) / 4, 0.5 / 4]),
        ({"weights": [3, 1], "conf_type": "max"}, [1.8 / 3, 0.5 / 3]),
    ],
)
def test_fusion_worked_by_hand(settings, expected):
    boxes, scores, labels = ops.weighted_boxes_fusion(BOXES, SCORES, LABELS, **settings)
    first, second = (w * s for w, s in zip(settings.get("weights", (1, 1)), (0.6, 0.2)))
    mean = (10 * first + 8 * second) / (first + second)
    np.testing.assert_allclose(boxes, [[0, 0, 10, mean], [20, 20, 30, 30]])
    np.testing.assert_allclose(scores, expected)
    assert labels.tolist() == [1, 1]


def test_labels_are_fused_each_by_itself():
    labels = [np.array([1]), np.array([2, 2])]
    assert len(ops.weighted_boxes_fusion(BOXES, SCORES, labels)[0]) == 3


def test_more_boxes_than_models_overflow_where_allowed():
    boxes, scores = [np.repeat(BOXES[0], 3, 0)], [np.array([0.9, 0.9, 0.9])]
    labels = [np.zeros(3, int)]
    assert ops.weighted_boxes_fusion(boxes, scores, labels)[1].tolist() == [0.9]
    found = ops.weighted_boxes_fusion(boxes, scores, labels, allows_overflow=True)
    np.testing.assert_allclose(found[1], [2.7])


def test_scores_of_zero_give_no_nan():
    # The authors' package divides zero by zero here.
    for conf_type in CONF_TYPES:
        boxes, scores, _ = ops.weighted_boxes_fusion(
            BOXES, [s * 0 for s in SCORES], LABELS, conf_type=conf_type
        )
        assert (scores == 0).all() and boxes.tolist() == [[0, 0, 10, 10], [20, 20, 30, 30]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_box_whose_area_overflows_comes_out(dtype):
    long = float(np.sqrt(np.finfo(dtype).max))  # the area of each box fits, that of their mean not
    boxes = [np.array([[0, 0, 8 * long, 2], [0, 0, 2, 8 * long]], dtype)]
    scores, labels = [np.full(2, 0.5, dtype)], [np.zeros(2, int)]
    arguments = (boxes, scores, labels)
    found = ops.weighted_boxes_fusion(*arguments, iou_threshold=0)
    assert_same(found, reference.weighted_boxes_fusion(*arguments, iou_threshold=0))
    np.testing.assert_allclose(found[0], [[0, 0, 4 * long, 4 * long]])
    # Then the mean box overlaps nothing: a third box founds its own cluster.
    boxes, scores = [np.concatenate([boxes[0]] * 2)[:3]], [np.full(3, 0.5, dtype)]
    found = ops.weighted_boxes_fusion(boxes, scores, [np.zeros(3, int)], iou_threshold=0)
    np.testing.assert_allclose(found[0], [[0, 0, 4 * long, 4 * long], [0, 0, 8 * long, 2]])


def test_what_is_no_detection_is_left_out():
    nan, inf = np.nan, np.inf
    bad = [[nan, 0, 10, 10], [0, 0, inf, 10], [10, 10, 0, 0], [5, 5, 5, 5], [0, 0, 1, 1]]
    boxes = [np.array([*bad, *bad[-1:] * 3])]
    scores = [np.array([1, 1, 1, 1, nan, inf, 0.1, 0.5])]
    found = ops.weighted_boxes_fusion(boxes, scores, [np.zeros(8, int)], score_threshold=0.1)
    assert found[0].tolist() == [[0, 0, 1, 1]] and found[1].tolist() == [0.3]


@pytest.mark.parametrize("conf_type", CONF_TYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fusion_equals_the_reference(dtype, conf_type):
    rng = np.random.default_rng(0)
    for sizes in (*((n,) for n in SIZES[:-1]), (0, 0), (3, 0, 5), (90, 110, 100), (1,) * 70):
        for bad in (False, True):
            lists = detections(rng, sizes, dtype, bad=bad)
            weights = rng.uniform(0, 3, len(sizes)).round(1).tolist()
            for settings in (
                {},
                {"weights": weights if any(weights) else None, "iou_threshold": 0.3},
                {"score_threshold": 0.4, "allows_overflow": True, "iou_threshold": 0},
            ):
                expected = reference.weighted_boxes_fusion(*lists, conf_type=conf_type, **settings)
                got = ops.weighted_boxes_fusion(*lists, conf_type=conf_type, **settings)
                assert_same(got, expected)
                got = ops.weighted_boxes_fusion(*tensors(lists), conf_type=conf_type, **settings)
                assert_same(got, expected)


@pytest.mark.parametrize("conf_type", CONF_TYPES)
def test_fusion_equals_the_package_of_the_authors(conf_type):
    peer = pytest.importorskip("ensemble_boxes")
    rng = np.random.default_rng(1)
    for sizes in ((40,), (30, 50), (100, 90, 110)):
        boxes, scores, labels = detections(rng, sizes, np.float64)
        boxes = [np.clip((b + 60) / 400, 0, 1) for b in boxes]
        boxes = [b[(b[:, 2:] > b[:, :2]).all(1)] for b in boxes]
        scores = [rng.random(len(b)) for b in boxes]
        labels = [rng.integers(0, 2, len(b)) for b in boxes]
        weights = rng.uniform(1, 3, len(sizes)).tolist()
        expected = peer.weighted_boxes_fusion(
            boxes, scores, labels, weights=weights, iou_thr=0.5, conf_type=conf_type
        )
        got = ops.weighted_boxes_fusion(
            boxes, scores, labels, weights=weights, iou_threshold=0.5, conf_type=conf_type
        )
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, atol=1e-5)


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np
from sightline import _numpy
rng = np.random.default_rng(0)
corner = rng.uniform(0, 700, (5000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (5000, 2))], 1)
scores, labels, models = rng.random(5000), rng.integers(0, 9, 5000), rng.integers(0, 3, 5000)
for threads in (1, 2):
    _numpy.set_num_threads(threads)
    results = [
        part
        for dtype in (np.float32, np.float64)
        for part in _numpy.weighted_boxes_fusion(
            boxes.astype(dtype), scores.astype(dtype), labels, models, [1.0, 2.0, 3.0],
            0.5, 0.0, 2, False
        )
    ]
    print(*(hashlib.md5(r.tobytes()).hexdigest() for r in results))
"""
    one, two = output_of_every_level(code).splitlines()
    assert one == two


def test_half_integer_and_strided_inputs():
    boxes = [np.array([[0, 0, 10, 10], [0, 0, 10, 8]], np.int64)]
    scores, labels = [np.array([0.5, 0.25], np.float16)], [np.array([3, 3], np.uint8)]
    wide = [boxes[0].astype(np.float32)], [scores[0].astype(np.float32)], [np.array([3, 3])]
    expected = reference.weighted_boxes_fusion(*wide)
    assert_same(ops.weighted_boxes_fusion(boxes, scores, labels), expected)
    assert_same(ops.weighted_boxes_fusion(*tensors((boxes, scores, labels))), expected)
    strided = np.asfortranarray(wide[0][0]), np.repeat(wide[1][0], 2)[::2]
    assert_same(ops.weighted_boxes_fusion([strided[0]], [strided[1]], wide[2]), expected)


def test_wrong_arguments_are_named():
    lists = BOXES, SCORES, LABELS
    for arguments, settings, error, message in (
        (([], [], []), {}, ValueError, "`boxes` must hold the boxes of at least one model"),
        ((BOXES, SCORES[:1], LABELS), {}, ValueError, "`scores` must have one entry for each of"),
        ((BOXES, SCORES[::-1], LABELS), {}, ValueError, r"`scores\[0\]` must have shape \[1\]"),
        ((BOXES, SCORES, SCORES), {}, TypeError, r"`labels\[0\]` must hold integers"),
        (lists, {"weights": [1]}, ValueError, "`weights` must have one entry for each of the 2"),
        (lists, {"weights": [1, -1]}, ValueError, "`weights` must be finite, at least 0"),
        (lists, {"weights": [0, 0]}, ValueError, "`weights` must be finite, at least 0"),
        (lists, {"weights": [1, "a"]}, TypeError, r"`weights\[1\]` must be a number, got str"),
        (lists, {"iou_threshold": 2}, ValueError, r"`iou_threshold` must lie in \[0, 1\], got 2"),
        (lists, {"score_threshold": -1}, ValueError, "`score_threshold` must be at least 0"),
        (lists, {"conf_type": "mean"}, ValueError, "`conf_type` must be one of 'avg', 'max'"),
    ):
        with pytest.raises(error, match=message):
            ops.weighted_boxes_fusion(*arguments, **settings)
    boxes, scores, labels = BOXES[1], SCORES[1], LABELS[1]
    for models in (labels[:1], labels + 1, labels - 2):
        rest = ([1.0, 1.0], 0.5, 0.0, 0, False)
        with pytest.raises(ValueError, match="models must"):
            _numpy.weighted_boxes_fusion(boxes, scores, labels, models, *rest)
        (flat,) = tensors([(boxes, scores, labels, models)])
        with pytest.raises(RuntimeError, match="models must"):
            torch.ops.sightline.weighted_boxes_fusion(*flat, *rest)


def test_opcheck_compile_export_and_autocast():
    rng = np.random.default_rng(2)
    lists = tensors(detections(rng, (20, 30)))
    boxes, scores, labels = map(torch.cat, lists)
    models = (torch.arange(50) >= 20).long()
    op = torch.ops.sightline.weighted_boxes_fusion
    torch.library.opcheck(op, (boxes, scores, labels, models, [1.0, 2.0], 0.5, 0.0, 0, False))

    class Fuse(torch.nn.Module):
        def forward(self, boxes, scores, labels):
            return ops.weighted_boxes_fusion(boxes, scores, labels, weights=[2, 1])

    expected = [part.numpy() for part in Fuse()(*lists)]
    assert_same(torch.compile(Fuse(), fullgraph=True, backend="aot_eager")(*lists), expected)
    assert_same(torch.export.export(Fuse(), tuple(lists)).module()(*lists), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = boxes.bfloat16(), scores.bfloat16()
        assert op(*half, labels, models, [1.0, 2.0], 0.5, 0.0, 0, False)[0].dtype == torch.float32


def test_cuda_gives_what_the_cpu_gives(cuda):
    rng = np.random.default_rng(3)
    for sizes in ((0,), (1,), (65, 0, 90), (800, 700, 900), (1,) * 70):
        for dtype in DTYPES:
            lists = tensors(detections(rng, sizes, dtype, bad=True))
            on_gpu = [[part.to(cuda) for part in of_models] for of_models in lists]
            for conf_type in CONF_TYPES:
                got = ops.weighted_boxes_fusion(*on_gpu, conf_type=conf_type)
                expected = ops.weighted_boxes_fusion(*lists, conf_type=conf_type)
                assert_same([g.cpu() for g in got], [e.numpy() for e in expected])
