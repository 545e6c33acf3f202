"""Matching: hand-worked cases, the reference and its rules, and what torch asks of an op."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import _numpy, ops, reference
from sightline.ops.matching import RULES
from sightline.reference.matching import match_image

from ..fresh import run
from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level

DTYPES = (np.float32, np.float64)
THRESHOLDS = {"high_threshold": 0.7, "low_threshold": 0.3}


def match_all_ways(anchors, gt_boxes, **settings):
    """The outcome on arrays, asserted to be the same on tensors and in the reference."""
    expected = reference.match_anchors(anchors, gt_boxes, **settings)
    got = ops.match_anchors(anchors, gt_boxes, **settings)
    if "ignore_boxes" in settings:
        settings["ignore_boxes"] = torch.from_numpy(settings["ignore_boxes"])
    to_tensors = torch.from_numpy if isinstance(gt_boxes, np.ndarray) else tensors
    of_tensors = ops.match_anchors(torch.from_numpy(anchors), to_tensors(gt_boxes), **settings)
    for result in (got, of_tensors.numpy()):
        assert result.dtype == np.int64 and result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)
    return got


def tensors(arrays):
    return [torch.from_numpy(array) for array in arrays]


def test_match_of_four_anchors_worked_by_hand():
    gt_boxes = np.array([[0, 0, 10, 9], [40, 40, 50, 50]], np.float32)
    anchors = np.array(
        [
            [0, 0, 10, 10],  # 90 / 100 with the first: matched
            [0, 0, 10, 5],  # 50 / 90 with the first: between
            [40, 40, 44, 44],  # 16 / 100 with the second: its best, though low
            [50, 50, 60, 60],  # touches the second
        ],
        np.float32,
    )
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS).tolist() == [0, -2, 1, -1]
    no_restoring = match_all_ways(anchors, gt_boxes, **THRESHOLDS, allow_low_quality=False)
    assert no_restoring.tolist() == [0, -2, -1, -1]


def test_the_first_of_equal_overlaps_wins():
    gt_boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert match_all_ways(gt_boxes[:1], gt_boxes, **THRESHOLDS).tolist() == [0]


def test_a_restored_anchor_takes_its_own_best_object():
    # The only anchor is the best that both objects have; it overlaps the second more.
    anchors = np.array([[0, 0, 10, 10]], np.float32)
    gt_boxes = np.array([[0, 0, 2, 10], [0, 0, 5, 10]], np.float32)
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS).tolist() == [1]


def test_all_anchors_that_reach_an_objects_best_are_restored():
    anchors = np.array([[0, 0, 4, 4], [6, 6, 10, 10], [0, 0, 3, 4]], np.float32)
    gt_boxes = np.array([[0, 0, 10, 10]], np.float32)
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS).tolist() == [0, 0, -1]


def test_an_iou_that_equals_a_threshold_reaches_it():
    anchors = np.array([[0, 0, 100, 1]] * 3, np.float32)
    for dtype in DTYPES:
        gt_boxes = np.array([[0, 0, 30, 1]], dtype)
        settings = {"allow_low_quality": False, "low_threshold": 0.3}
        got = match_all_ways(anchors.astype(dtype), gt_boxes, high_threshold=0.3, **settings)
        assert got.tolist() == [0, 0, 0]
        got = match_all_ways(anchors.astype(dtype), gt_boxes, high_threshold=0.31, **settings)
        assert got.tolist() == [-2, -2, -2]


def test_an_object_that_no_anchor_overlaps_restores_nothing_but_by_the_peers_rules():
    # The first object lies far away: its best IoU, 0, is that of every anchor.
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [30, 30, 40, 40]], np.float32)
    gt_boxes = np.array([[900, 900, 910, 910], [0, 0, 10, 10]], np.float32)
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS).tolist() == [1, -2, -1]
    for rule in ("torchvision", "detectron2", "mmdetection"):
        # Every anchor takes its own best object; that of the third, with IoU 0, is the first. By
        # mmdetection the second object has the first anchor back, as it is its best.
        assert match_all_ways(anchors, gt_boxes, **THRESHOLDS, rule=rule).tolist() == (
            [1, 0, 0] if rule == "mmdetection" else [1, 1, 0]
        )


def test_bad_boxes_match_nothing():
    nan, inf = np.nan, np.inf
    bad = np.array([[nan, 0, 1, 1], [0, 0, inf, 1], [5, 5, 5, 5], [9, 9, 0, 0]], np.float32)
    whole = np.array([[0, 0, 10, 10]], np.float32)
    assert match_all_ways(bad, whole, **THRESHOLDS).tolist() == [-1] * 4
    assert match_all_ways(whole, bad, **THRESHOLDS).tolist() == [-1]
    zero = {"high_threshold": 0, "low_threshold": 0}
    assert match_all_ways(bad, whole, **zero).tolist() == [-1] * 4
    assert match_all_ways(bad, whole, **zero, rule="torchvision").tolist() == [0] * 4
    # Boxes that are not finite are no objects, empty and inverted ones are.
    assert match_all_ways(whole, bad, **zero, rule="torchvision").tolist() == [2]
    assert match_all_ways(whole, bad[:2], **zero, rule="torchvision").tolist() == [-1]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_match_anchors_equals_the_reference(dtype, rule):
    rng = np.random.default_rng(0)
    for num_anchors in (0, 1, 2, 63, 64, 65, 255, 256, 257, 1000, 5000):
        anchors = random_boxes(rng, num_anchors, dtype, bad=True)
        for num_objects in (0, 1, 2, 17, 65):
            gt_boxes = random_boxes(rng, num_objects, dtype, bad=True)
            gt_boxes = np.concatenate([gt_boxes, anchors[: num_objects // 2]])
            for allow_low_quality in (True, False):
                for high, low in ((0.7, 0.3), (0.5, 0.5), (0.4, 0.0), (1.0, 0.0), (0.0, 0.0)):
                    match_all_ways(
                        anchors,
                        gt_boxes,
                        high_threshold=high,
                        low_threshold=low,
                        allow_low_quality=allow_low_quality,
                        rule=rule,
                    )


def test_a_list_is_matched_image_by_image():
    rng = np.random.default_rng(1)
    anchors = random_boxes(rng, 2500)
    gt_boxes = [random_boxes(rng, n) for n in (0, 3, 0, 70, 1, 0)]
    got = match_all_ways(anchors, gt_boxes, **THRESHOLDS)
    assert got.shape == (6, 2500)
    assert (got[[0, 2, 5]] == -1).all()
    for row, objects in zip(got, gt_boxes):
        assert (row == ops.match_anchors(anchors, objects, **THRESHOLDS)).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_anchors_in_random_order_and_on_a_raster_match_as_the_reference_says(dtype, rule):
    # Enough of both that groups which lie apart are passed over, and random anchors put in order.
    rng = np.random.default_rng(8)
    corner = np.stack(np.meshgrid(np.arange(90), np.arange(60)), -1).reshape(-1, 2) * 8.0
    raster = np.concatenate([corner, corner + 40], 1).astype(dtype)
    corner = rng.uniform(0, 700, (150, 2))
    size = np.exp2(rng.uniform(3, 8, (150, 2)))
    gt_boxes = np.concatenate([corner, corner + size], 1).round().astype(dtype)
    images = [gt_boxes, gt_boxes[:3], gt_boxes[70:]]
    if rule != "default":
        images.append(gt_boxes + dtype(5000))
    for anchors in (raster, rng.permutation(raster)):
        for allow in (True, False):
            settings = {**THRESHOLDS, "allow_low_quality": allow, "rule": rule}
            match_all_ways(anchors, images, **settings)


def test_no_images_and_no_anchors_give_empty_results():
    anchors = np.zeros((3, 4), np.float32)
    assert match_all_ways(anchors, [], **THRESHOLDS).shape == (0, 3)
    assert match_all_ways(anchors[:0], [anchors] * 2, **THRESHOLDS).shape == (2, 0)
    assert match_all_ways(anchors, anchors[:0], **THRESHOLDS).tolist() == [-1] * 3


def torchvision_matcher(iou, high, low, allow_low_quality):
    """torchvision's Matcher on a matrix [objects, anchors], in tensor operations as it works."""
    iou = torch.from_numpy(iou)
    best, best_object = iou.max(0)
    matches = torch.where(best < low, -1, torch.where(best < high, -2, best_object))
    if allow_low_quality:
        pairs = torch.nonzero(iou == iou.max(1).values[:, None])[:, 1]
        matches[pairs] = best_object[pairs]
    return matches.tolist()


def detectron2_matcher(iou, high, low, allow_low_quality):
    """detectron2's: the object is always the best, a label says whether the anchor learns it."""
    label = []
    for anchor in iou.T:
        label.append(0 if max(anchor) < low else -1 if max(anchor) < high else 1)
    if allow_low_quality:
        for row in iou:
            for anchor in np.flatnonzero(row == max(row)):
                label[anchor] = 1
    outcome = {0: lambda anchor: -1, -1: lambda anchor: -2, 1: np.argmax}
    return [int(outcome[said](anchor)) for said, anchor in zip(label, iou.T, strict=True)]


def mmdetection_assigner(iou, high, low, allow_low_quality, least=0.0, all_anchors=True):
    """mmdetection's MaxIoUAssigner; an IoU of -1 marks an ignored anchor."""
    matches = []
    for anchor in iou.T:
        best = max(anchor)
        own = int(np.argmax(anchor)) if best >= high else -2
        matches.append(-1 if 0 <= best < low else own)
    for g, row in enumerate(iou):
        if not allow_low_quality or max(row) < least:
            continue
        for anchor in np.flatnonzero(row == max(row)) if all_anchors else [np.argmax(row)]:
            matches[anchor] = g
    return matches


def far_and_near(rng):
    """Anchors and objects, one of which overlaps nothing."""
    anchors, gt_boxes = random_boxes(rng, 80), random_boxes(rng, 9)
    gt_boxes[rng.integers(9)] += 1000
    gt_boxes[:3] = np.round(gt_boxes[:3])
    anchors[:8] = np.round(anchors[:8])
    return anchors, gt_boxes


@pytest.mark.parametrize("allow", [True, False])
def test_the_peers_rules_follow_their_programs(allow):
    rng = np.random.default_rng(2)
    for _ in range(20):
        anchors, gt_boxes = far_and_near(rng)
        iou = ops.box_iou(gt_boxes, anchors)
        for rule, program in (
            ("torchvision", torchvision_matcher),
            ("detectron2", detectron2_matcher),
            ("mmdetection", mmdetection_assigner),
        ):
            got = match_all_ways(
                anchors, gt_boxes, **THRESHOLDS, allow_low_quality=allow, rule=rule
            )
            assert got.tolist() == program(iou, 0.7, 0.3, allow), rule


def test_mmdetections_further_settings_follow_its_program():
    rng = np.random.default_rng(3)
    for _ in range(20):
        anchors, gt_boxes = far_and_near(rng)
        ignore = random_boxes(rng, 3)
        iou = ops.box_iou(gt_boxes, anchors)
        iou[:, (ops.box_ioa(anchors, ignore) > 0.5).any(1)] = -1
        for least, all_anchors in ((0.0, True), (0.3, True), (0.0, False), (0.3, False)):
            got = match_all_ways(
                anchors,
                gt_boxes,
                **THRESHOLDS,
                rule="mmdetection",
                min_positive_iou=least,
                first_anchor_only=not all_anchors,
                ignore_boxes=ignore,
            )
            assert got.tolist() == mmdetection_assigner(iou, 0.7, 0.3, True, least, all_anchors)


def test_by_mmdetection_an_object_takes_its_best_anchor_from_a_better_match():
    anchors = np.array([[0, 0, 10, 10]], np.float32)
    gt_boxes = np.array([[0, 0, 10, 9], [0, 0, 5, 10]], np.float32)
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS).tolist() == [0]
    settings = {**THRESHOLDS, "rule": "mmdetection"}
    assert match_all_ways(anchors, gt_boxes, **settings).tolist() == [1]
    assert match_all_ways(anchors, gt_boxes, **settings, min_positive_iou=0.6).tolist() == [0]


def test_ignored_anchors_worked_by_hand():
    gt_boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    anchors = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 9], [50, 0, 60, 10]])
    anchors = anchors.astype(np.float32)
    regions = np.array([[0, 0, 6, 10], [50, 0, 52, 10], [53, 0, 58, 10]], np.float32)
    # Of the anchors 0.6, 5 / 9, 0 and at most 0.5 lie in a region.
    ignoring = {**THRESHOLDS, "ignore_boxes": regions}
    assert match_all_ways(anchors, gt_boxes, **ignoring).tolist() == [-2, -2, 1, -1]
    got = match_all_ways(anchors, gt_boxes, **ignoring, ignore_threshold=0.58)
    assert got.tolist() == [-2, 0, 1, -1]
    more = ops.match_anchors(
        anchors, gt_boxes, **ignoring, return_iou=True, return_best_anchor=True
    )
    assert more.iou.tolist() == [0, 0, np.float32(0.9), 0] and more.best_anchor.tolist() == [-1, 2]
    none = match_all_ways(anchors, gt_boxes[:0], **ignoring)
    assert none.tolist() == [-2, -2, -1, -1]


def test_iou_and_best_anchor_are_returned_where_asked_for():
    anchors = np.array([[0, 0, 4, 4], [0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    gt_boxes = np.array([[0, 0, 10, 8], [50, 50, 60, 60]], np.float32)
    got = ops.match_anchors(anchors, gt_boxes, **THRESHOLDS, return_iou=True)
    assert got.best_anchor is None and got.iou.dtype == np.float32
    assert got.iou.tolist() == np.array([0.2, 0.8, 0.8], np.float32).tolist()
    got = ops.match_anchors(anchors, gt_boxes, **THRESHOLDS, return_best_anchor=True)
    assert got.iou is None and got.best_anchor.tolist() == [1, -1]
    got = ops.match_anchors(anchors.astype(float), [gt_boxes], **THRESHOLDS, return_iou=True)
    assert got.index.shape == got.iou.shape == (1, 3) and got.iou.dtype == np.float64
    one = match_all_ways(anchors, gt_boxes, **THRESHOLDS, first_anchor_only=True)
    assert one.tolist() == [-1, 0, 0]
    one = match_all_ways(anchors[:, :] * 0.5, gt_boxes, **THRESHOLDS, first_anchor_only=True)
    assert one.tolist() == [-1, 0, -2]


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_an_image_does_not_depend_on_padding_or_on_the_others(kind):
    rng = np.random.default_rng(9)
    anchors = kind(random_boxes(rng, 700))
    padded = kind(random_boxes(rng, 12).reshape(3, 4, 4))
    ignore = kind(random_boxes(rng, 6).reshape(3, 2, 4))
    present = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    for rule in RULES:
        settings = {**THRESHOLDS, "rule": rule, "return_iou": True, "return_best_anchor": True}
        together = ops.match_anchors(
            anchors, padded, mask=kind(present), ignore_boxes=ignore, **settings
        )
        for i, rows in enumerate(map(np.flatnonzero, present)):
            alone = ops.match_anchors(
                anchors, padded[i][kind(rows)], ignore_boxes=ignore[i], **settings
            )
            row_of = np.array([*rows, -2, -1])
            np.testing.assert_array_equal(together.index[i], row_of[np.asarray(alone.index)])
            np.testing.assert_array_equal(together.iou[i], alone.iou)
            best_anchor = np.full(4, -1)
            best_anchor[rows] = alone.best_anchor
            np.testing.assert_array_equal(together.best_anchor[i], best_anchor)


@pytest.mark.parametrize("rule", RULES)
def test_duplicate_objects_share_the_anchors_of_one(rule):
    anchors = np.array([[0, 0, 10, 10], [0, 0, 6, 10]], np.float32)
    gt_boxes = np.array([[0, 0, 10, 9]] * 3, np.float32)
    # By mmdetection the last of them takes the anchor that is the best for all.
    expected = [2, -2] if rule == "mmdetection" else [0, -2]
    assert match_all_ways(anchors, gt_boxes, **THRESHOLDS, rule=rule).tolist() == expected


@pytest.mark.parametrize("rule", RULES)
def test_more_objects_than_anchors(rule):
    rng = np.random.default_rng(10)
    anchors, gt_boxes = random_boxes(rng, 3), random_boxes(rng, 200)
    match_all_ways(anchors, gt_boxes, **THRESHOLDS, rule=rule)
    match_all_ways(anchors, gt_boxes, **THRESHOLDS, rule=rule, first_anchor_only=True)


def test_all_padded_and_nan_anchors():
    nan = np.full((2, 5, 4), np.nan, np.float32)
    anchors = np.array([[0, 0, 10, 10], [np.nan] * 4], np.float32)
    for rule in RULES:
        assert (ops.match_anchors(anchors, nan, **THRESHOLDS, rule=rule) == -1).all()
    match = ops.match_anchors(anchors, anchors[:1], **THRESHOLDS, return_iou=True)
    assert match.index.tolist() == [0, -1] and match.iou.tolist() == [1, 0]


def test_an_object_smaller_than_a_stride_has_its_best_anchors():
    corner = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) * 16.0
    anchors = np.concatenate([corner, corner + 32], 1).astype(np.float32)
    tiny = np.array([[20, 20, 22, 22]], np.float32)
    got = match_all_ways(anchors, tiny, **THRESHOLDS)
    assert np.flatnonzero(got == 0).tolist() == [0, 1, 8, 9]  # all hold it whole
    one = match_all_ways(anchors, tiny, **THRESHOLDS, first_anchor_only=True)
    assert np.flatnonzero(one == 0).tolist() == [0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_together_equals_the_reference_where_anchors_are_put_in_order(dtype):
    rng = np.random.default_rng(11)
    corner = np.stack(np.meshgrid(np.arange(90), np.arange(60)), -1).reshape(-1, 2) * 8.0
    anchors = rng.permutation(np.concatenate([corner, corner + 40], 1)).astype(dtype)
    corner = rng.uniform(0, 700, (150, 2))
    gt_boxes = np.concatenate([corner, corner + rng.uniform(8, 99, (150, 2))], 1).round()
    gt_boxes = gt_boxes.astype(dtype)
    ignore = np.concatenate([corner[:9], corner[:9] + 99], 1).astype(dtype)
    for rule in RULES:
        for one in (True, False):
            settings = {**THRESHOLDS, "rule": rule, "first_anchor_only": one}
            settings["ignore_boxes"] = ignore
            got = ops.match_anchors(
                anchors, gt_boxes, **settings, return_iou=True, return_best_anchor=True
            )
            for part, expected in zip(got, match_image(anchors, gt_boxes, **settings), strict=True):
                np.testing.assert_array_equal(part, expected)


def test_memory_stays_below_10_mb_beyond_the_inputs():
    code = """
import resource
import numpy as np
from sightline import _numpy, ops
_numpy.set_num_threads(2)
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (243_000, 2)).astype(np.float32)
anchors = np.concatenate([corner, corner + 40], 1)
rest = dict(high_threshold=0.5, low_threshold=0.3)
ops.match_anchors(anchors[:3000], anchors[:50].copy(), **rest)
gt_boxes = anchors[:500].copy()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
ops.match_anchors(anchors, gt_boxes, **rest)
assert (peak() - before) < 10_000, peak() - before
"""
    ended = run(code)
    assert ended.returncode == 0, ended.stderr


rows = st.lists(st.tuples(*[st.integers(-3, 6)] * 4), min_size=1, max_size=8).map(
    lambda rows: np.array(rows, np.float64)
)


@settings(deadline=None, max_examples=60)
@given(rows, rows, st.integers(-9, 9), st.sampled_from([0.5, 8]))
def test_every_object_that_is_overlapped_has_an_anchor_and_moves_with_it(anchors, gt, by, scale):
    matches = match_all_ways(anchors, gt, **THRESHOLDS)
    iou = ops.box_iou(gt, anchors)
    for anchor, match in enumerate(matches):
        assert match < 0 or iou[match, anchor] == iou[:, anchor].max() > 0
    for row in iou:
        assert row.max() == 0 or (matches[row == row.max()] >= 0).all()
    moved = ops.match_anchors(anchors * scale + by, gt * scale + by, **THRESHOLDS)
    assert (moved == matches).all()


def test_half_and_integer_boxes_compute_in_float32():
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.integers(0, 40, (200, 2, 2)), 1).reshape(200, 4)
    expected = reference.match_anchors(
        boxes[:150].astype(np.float32), boxes[150:].astype(np.float32), **THRESHOLDS
    )
    for dtype in (np.uint8, np.int32, np.int64, np.float16):
        got = match_all_ways(boxes[:150].astype(dtype), boxes[150:], **THRESHOLDS)
        assert (got == expected).all()
    half = torch.from_numpy(boxes).bfloat16()
    assert (ops.match_anchors(half[:150], half[150:], **THRESHOLDS).numpy() == expected).all()


def test_any_layout_of_the_inputs_gives_the_same():
    rng = np.random.default_rng(4)
    anchors, gt_boxes = random_boxes(rng, 99), random_boxes(rng, 20)
    expected = ops.match_anchors(anchors, gt_boxes, **THRESHOLDS)
    for a, g in zip(awkward_layouts(anchors), awkward_layouts(gt_boxes), strict=True):
        assert (ops.match_anchors(a, g, **THRESHOLDS) == expected).all()
    a, g = (torch.from_numpy(x).T.contiguous().T for x in (anchors, gt_boxes))
    assert (ops.match_anchors(a, g, **THRESHOLDS).numpy() == expected).all()


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (9000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (9000, 2))], 1)
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        b = boxes.astype(dtype)
        a, g = b[:8500], [b[8500:8900], b[8900:]]
        rest = dict(high_threshold=0.5, low_threshold=0.3)
        array = ops.match_anchors(a, g, **rest)
        tensor = ops.match_anchors(torch.from_numpy(a), [torch.from_numpy(x) for x in g], **rest)
        more = ops.match_anchors(a, g, ignore_boxes=[b[:9], b[9:12]], rule="mmdetection",
                                 return_iou=True, return_best_anchor=True, **rest)
        results = (array, tensor, *more)
        print(dtype.__name__, *(hashlib.md5(np.asarray(r)).hexdigest() for r in results))
"""
    lines = output_of_every_level(code).splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    boxes = np.zeros((3, 4))
    match = ops.match_anchors
    with pytest.raises(ValueError, match=r"`anchors` must have shape \[N, 4\], got \[3, 5\]"):
        match(np.zeros((3, 5)), boxes, **THRESHOLDS)
    with pytest.raises(ValueError, match=r"`gt_boxes\[1\]` must have shape \[G, 4\], got \[4\]"):
        match(boxes, [boxes, boxes[0]], **THRESHOLDS)
    with pytest.raises(ValueError, match=r"`low_threshold` must be at most `high_threshold`"):
        match(boxes, boxes, high_threshold=0.3, low_threshold=0.5)
    with pytest.raises(ValueError, match=r"`high_threshold` must lie in \[0, 1\], got 1.5"):
        match(boxes, boxes, high_threshold=1.5, low_threshold=0.5)
    with pytest.raises(ValueError, match=r"`low_threshold` must lie in \[0, 1\], got -0.1"):
        match(boxes, boxes, high_threshold=0.5, low_threshold=-0.1)
    with pytest.raises(ValueError, match=r"`high_threshold` must lie in \[0, 1\], got nan"):
        match(boxes, boxes, high_threshold=np.nan, low_threshold=0.3)
    with pytest.raises(ValueError, match=r"`min_positive_iou` must lie in \[0, 1\], got -1"):
        match(boxes, boxes, **THRESHOLDS, min_positive_iou=-1)
    with pytest.raises(ValueError, match=r"`ignore_threshold` must lie in \[0, 1\], got 2"):
        match(boxes, boxes, **THRESHOLDS, ignore_boxes=boxes, ignore_threshold=2)
    with pytest.raises(ValueError, match=r"`mask` .* has shape \[B, G\], got \[1, 2\]"):
        match(boxes, boxes[None], **THRESHOLDS, mask=np.ones((1, 2), bool))
    with pytest.raises(ValueError, match=r"`ignore_boxes` must have shape \[R, 4\], as `gt_boxes`"):
        match(boxes, boxes, **THRESHOLDS, ignore_boxes=[boxes])
    with pytest.raises(ValueError, match=r"a list of 2 of \[R, 4\], as `gt_boxes`, got a list"):
        match(boxes, [boxes] * 2, **THRESHOLDS, ignore_boxes=[boxes])
    with pytest.raises(
        ValueError, match=r"`ignore_boxes\[0\]` must have shape \[G, 4\], got \[3\]"
    ):
        match(boxes, [boxes], **THRESHOLDS, ignore_boxes=[boxes[:, 0]])
    with pytest.raises(ValueError, match=r"`rule` must be one of 'default', 'torchvision'"):
        match(boxes, boxes, **THRESHOLDS, rule="mmdet")
    with pytest.raises(TypeError, match=r"`gt_boxes\[0\]` is a torch.Tensor and"):
        match(boxes, [torch.zeros(1, 4)], **THRESHOLDS)
    with pytest.raises(TypeError, match=r"`gt_boxes` must hold real numbers, got dtype bool"):
        match(boxes, boxes > 0, **THRESHOLDS)


RULE = (0.7, 0.3, 0.0, 0.5, True, False, False, False)


def test_native_ops_refuse_shapes_that_lead_out_of_bounds():
    boxes, objects = np.zeros((3, 4), np.float32), np.zeros((2, 3, 4), np.float32)
    for wrong in ((boxes[:, :2], objects, objects), (boxes, boxes, objects),
                  (boxes, objects[..., :3], objects), (boxes, objects, objects[:1])):  # fmt: skip
        with pytest.raises(ValueError, match="must have shape"):
            _numpy.match_anchors(*map(np.ascontiguousarray, wrong), *RULE, True, True)
        with pytest.raises(RuntimeError, match="must have shape"):
            torch.ops.sightline.match_anchors(*tensors(wrong), *RULE, True, True)


def test_opcheck():
    rng = np.random.default_rng(5)
    anchors, gt_boxes = tensors([random_boxes(rng, 40), random_boxes(rng, 10).reshape(2, 5, 4)])
    for a, g in ((anchors, gt_boxes), (anchors.double(), gt_boxes.double())):
        for asked in ((False, False), (True, True)):
            torch.library.opcheck(
                torch.ops.sightline.match_anchors, (a, g, g[:, :2], *RULE, *asked)
            )


def test_compiled_function_has_no_graph_break():
    rng = np.random.default_rng(6)
    anchors = torch.from_numpy(random_boxes(rng, 60))
    gt_boxes = tensors([random_boxes(rng, n) for n in (3, 0, 5)])

    def targets(anchors, gt_boxes):
        more = ops.match_anchors(
            anchors, gt_boxes, **THRESHOLDS, ignore_boxes=gt_boxes, return_iou=True
        )
        return ops.match_anchors(anchors, gt_boxes, **THRESHOLDS) + 1, more.index, more.iou

    compiled = torch.compile(targets, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(anchors, gt_boxes), targets(anchors, gt_boxes), strict=True):
        assert torch.equal(got, expected)


def test_exported_program_takes_padded_objects():
    class Targets(torch.nn.Module):
        def forward(self, anchors, gt_boxes, mask):
            return ops.match_anchors(anchors, gt_boxes, mask=mask, **THRESHOLDS)

    rng = np.random.default_rng(6)
    anchors = torch.from_numpy(random_boxes(rng, 60))
    gt_boxes = torch.from_numpy(random_boxes(rng, 10).reshape(2, 5, 4))
    inputs = (anchors, gt_boxes, torch.rand(2, 5) < 0.5)
    exported = torch.export.export(Targets(), inputs)
    assert torch.equal(exported.module()(*inputs), Targets()(*inputs))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Targets()(*inputs), exported.module()(*inputs))


@pytest.mark.parametrize("rule", RULES)
def test_cuda_gives_what_the_cpu_gives(cuda, rule):
    rng = np.random.default_rng(7)
    for dtype in DTYPES:
        for num_anchors in (0, 1, 255, 257, 5000):
            anchors = torch.from_numpy(random_boxes(rng, num_anchors, dtype, bad=True))
            gt_boxes = tensors([random_boxes(rng, n, dtype, bad=True) for n in (0, 7, 300, 1)])
            ignore = tensors([random_boxes(rng, 3, dtype, bad=True)] * 4)
            for high, low in ((0.7, 0.3), (0.4, 0.0), (0.0, 0.0)):
                settings = {
                    "high_threshold": high,
                    "low_threshold": low,
                    "rule": rule,
                    "first_anchor_only": high == 0.4,
                    "return_iou": True,
                    "return_best_anchor": high > 0,
                }
                expected = ops.match_anchors(anchors, gt_boxes, ignore_boxes=ignore, **settings)
                got = ops.match_anchors(
                    anchors.to(cuda),
                    [boxes.to(cuda) for boxes in gt_boxes],
                    ignore_boxes=[boxes.to(cuda) for boxes in ignore],
                    **settings,
                )
                for part, of_cpu in zip(got, expected, strict=True):
                    assert part is of_cpu or torch.equal(part.cpu(), of_cpu)
