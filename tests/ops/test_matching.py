"""Matching: hand-worked cases, the reference and its rules, and what torch asks of an op."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import _numpy, ops, reference
from sightline.ops.matching import RULES

from .box_cases import awkward_layouts, random_boxes
from .isa import outputs_of_every_level

DTYPES = (np.float32, np.float64)
THRESHOLDS = {"high_threshold": 0.7, "low_threshold": 0.3}


def match_all_ways(anchors, gt_boxes, **settings):
    """The outcome on arrays, asserted to be the same on tensors and in the reference."""
    expected = reference.match_anchors(anchors, gt_boxes, **settings)
    got = ops.match_anchors(anchors, gt_boxes, **settings)
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
    for rule in ("torchvision", "detectron2"):
        # Every anchor takes its own best object; that of the third, with IoU 0, is the first.
        assert match_all_ways(anchors, gt_boxes, **THRESHOLDS, rule=rule).tolist() == [1, 1, 0]


def test_bad_boxes_match_nothing():
    nan, inf = np.nan, np.inf
    bad = np.array([[nan, 0, 1, 1], [0, 0, inf, 1], [5, 5, 5, 5], [9, 9, 0, 0]], np.float32)
    whole = np.array([[0, 0, 10, 10]], np.float32)
    assert match_all_ways(bad, whole, **THRESHOLDS).tolist() == [-1] * 4
    assert match_all_ways(whole, bad, **THRESHOLDS).tolist() == [-1]
    zero = {"high_threshold": 0, "low_threshold": 0}
    assert match_all_ways(bad, whole, **zero).tolist() == [-1] * 4
    assert match_all_ways(bad, whole, **zero, rule="torchvision").tolist() == [0] * 4


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
    return matches.numpy()


def test_the_rule_torchvision_follows_its_tensor_program():
    rng = np.random.default_rng(2)
    for _ in range(20):
        anchors, gt_boxes = random_boxes(rng, 80), random_boxes(rng, 9)
        gt_boxes[0] += 1000
        iou = ops.box_iou(gt_boxes, anchors)
        for allow in (True, False):
            settings = {**THRESHOLDS, "allow_low_quality": allow}
            got = match_all_ways(anchors, gt_boxes, **settings, rule="torchvision")
            assert (got == torchvision_matcher(iou, 0.7, 0.3, allow)).all()
            assert (got == match_all_ways(anchors, gt_boxes, **settings, rule="detectron2")).all()


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
        print(dtype.__name__, *(hashlib.md5(np.asarray(r)).hexdigest() for r in (array, tensor)))
"""
    outputs = outputs_of_every_level(code)
    assert len(set(outputs.values())) == 1
    lines = outputs["baseline"].splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    boxes = np.zeros((3, 4))
    match = ops.match_anchors
    with pytest.raises(ValueError, match=r"`anchors` must have shape \[N, 4\], got \[3, 5\]"):
        match(np.zeros((3, 5)), boxes, **THRESHOLDS)
    with pytest.raises(ValueError, match=r"`gt_boxes\[1\]` must have shape \[N, 4\], got \[4\]"):
        match(boxes, [boxes, boxes[0]], **THRESHOLDS)
    with pytest.raises(ValueError, match=r"`low_threshold` must be at most `high_threshold`"):
        match(boxes, boxes, high_threshold=0.3, low_threshold=0.5)
    with pytest.raises(ValueError, match=r"`high_threshold` must lie in \[0, 1\], got 1.5"):
        match(boxes, boxes, high_threshold=1.5, low_threshold=0.5)
    with pytest.raises(ValueError, match=r"`rule` must be one of 'default', 'torchvision'"):
        match(boxes, boxes, **THRESHOLDS, rule="mmdet")
    with pytest.raises(TypeError, match=r"`gt_boxes\[0\]` is a torch.Tensor and"):
        match(boxes, [torch.zeros(1, 4)], **THRESHOLDS)
    with pytest.raises(TypeError, match=r"`gt_boxes` must hold real numbers, got dtype bool"):
        match(boxes, boxes > 0, **THRESHOLDS)


@pytest.mark.parametrize("offsets", [[0, 5], [1, 3], [0, 4, 3], [0, -1, 3]])
def test_native_ops_refuse_offsets_that_lead_out_of_bounds(offsets):
    boxes, starts = np.zeros((3, 4), np.float32), np.array(offsets)
    with pytest.raises(ValueError, match="offsets must ascend from 0"):
        _numpy.match_anchors(boxes, boxes, starts, 0.5, 0.3, True, False)
    with pytest.raises(RuntimeError, match="offsets must ascend from 0"):
        torch.ops.sightline.match_anchors(*tensors([boxes, boxes, starts]), 0.5, 0.3, True, False)


def test_opcheck():
    rng = np.random.default_rng(5)
    anchors, gt_boxes = tensors([random_boxes(rng, 40), random_boxes(rng, 9)])
    offsets = torch.tensor([0, 4, 4, 9])
    for a, g in ((anchors, gt_boxes), (anchors.double(), gt_boxes.double())):
        torch.library.opcheck(
            torch.ops.sightline.match_anchors, (a, g, offsets, 0.7, 0.3, True, False)
        )


def test_compiled_function_has_no_graph_break():
    rng = np.random.default_rng(6)
    anchors = torch.from_numpy(random_boxes(rng, 60))
    gt_boxes = tensors([random_boxes(rng, n) for n in (3, 0, 5)])

    def targets(anchors, gt_boxes):
        return ops.match_anchors(anchors, gt_boxes, **THRESHOLDS) + 1

    compiled = torch.compile(targets, fullgraph=True, backend="aot_eager")
    assert (compiled(anchors, gt_boxes) == targets(anchors, gt_boxes)).all()


@pytest.mark.parametrize("rule", RULES)
def test_cuda_gives_what_the_cpu_gives(cuda, rule):
    rng = np.random.default_rng(7)
    for dtype in DTYPES:
        for num_anchors in (0, 1, 255, 257, 5000):
            anchors = torch.from_numpy(random_boxes(rng, num_anchors, dtype, bad=True))
            gt_boxes = tensors([random_boxes(rng, n, dtype, bad=True) for n in (0, 7, 300, 1)])
            for high, low in ((0.7, 0.3), (0.4, 0.0), (0.0, 0.0)):
                settings = {"high_threshold": high, "low_threshold": low, "rule": rule}
                got = ops.match_anchors(
                    anchors.to(cuda), [boxes.to(cuda) for boxes in gt_boxes], **settings
                )
                assert (got.cpu() == ops.match_anchors(anchors, gt_boxes, **settings)).all()
