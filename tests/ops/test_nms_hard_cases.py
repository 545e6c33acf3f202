"""NMS where it is easily wrong: sizes about tiles, many kept boxes, boxes that pruning could miss,
memory, and cases that other libraries get wrong."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops
from sightline.reference.nms import best_first

from ..fresh import run
from ..fuzz.scored_boxes import THRESHOLDS, draw_boxes
from .box_cases import random_boxes


def greedy(boxes, scores, threshold):
    """What NMS keeps, by the matrix of all IoUs, whose bits are those of the reference."""
    order = best_first(scores)
    overlaps = ops.box_iou(boxes[order], boxes[order]) > boxes.dtype.type(threshold)
    suppressed = np.zeros(len(boxes), bool)
    for i in range(len(boxes)):
        if not suppressed[i]:
            suppressed[i + 1 :] |= overlaps[i, i + 1 :]
    return order[~suppressed]


def scattered(rng, n, dtype=np.float32):
    """Of which most are kept."""
    corner = rng.uniform(0, 40 * np.sqrt(n), (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 160, (n, 2))], 1).astype(dtype)


@pytest.mark.parametrize("n", [127, 128, 129, 255, 2047, 2048, 2049, 4095, 4096, 4097])
def test_sizes_about_those_of_tiles_and_blocks(n):
    rng = np.random.default_rng(n)
    boxes, scores = scattered(rng, n), np.round(rng.random(n), 3)
    expected = greedy(boxes, scores, 0.5)
    assert len(expected) > n / 2
    for threads in (1, 3):
        before = _numpy.get_num_threads()
        _numpy.set_num_threads(threads)
        try:
            np.testing.assert_array_equal(ops.nms(boxes, scores, 0.5), expected)
        finally:
            _numpy.set_num_threads(before)
    got = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("n", [262_145, 400_000])
def test_hundreds_of_thousands_of_boxes(n):
    # Cells of 10 pixels that hold two or three copies of their box: the best of each is kept.
    rng = np.random.default_rng(0)
    cell = rng.permutation(n) % (n // 2)
    corner = np.stack([cell % 700, cell // 700], 1) * 10.0
    boxes = np.concatenate([corner, corner + 9], 1).astype(np.float32)
    scores = rng.random(n)
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(cell[order], return_index=True)
    np.testing.assert_array_equal(ops.nms(boxes, scores, 0.5), order[np.sort(first)])


def test_boxes_that_are_all_the_same():
    rng = np.random.default_rng(1)
    scores = rng.random(5000)
    boxes = np.tile(np.float32([3, 4, 50, 60]), (5000, 1))
    assert ops.nms(boxes, scores, 0.99).tolist() == [scores.argmax()]
    assert len(ops.nms(boxes, scores, 1.0)) == 5000


@pytest.mark.parametrize("seed", range(24))
def test_boxes_of_all_sizes_and_places(seed):
    rng = np.random.default_rng(seed)
    dtype, threshold = rng.choice([np.float32, np.float64]), float(rng.choice(THRESHOLDS))
    boxes = draw_boxes(rng, 1500, dtype, threshold)
    scores = rng.random(1500)
    np.testing.assert_array_equal(
        ops.nms(boxes, scores, threshold), greedy(boxes, scores, threshold)
    )


def test_a_giant_and_the_tiny_boxes_in_it():
    # At threshold 0 each suppresses the other, whatever their sizes.
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, 1e4, (1000, 2))
    boxes = np.concatenate([corner, corner + 1e-2], 1)
    boxes = np.concatenate([boxes, [[-1.0, -1.0, 2e4, 2e4]]])
    scores = np.append(np.linspace(1, 0.5, 1000), 0)
    assert ops.nms(boxes, scores, 0.0).tolist() == list(range(1000))
    assert ops.nms(boxes, -scores, 0.0).tolist() == [1000]


def test_scores_of_minus_infinity_take_part():
    boxes = np.tile(np.float32([0, 0, 9, 9]), (3, 1))
    assert ops.nms(boxes, np.float32([-np.inf, -np.inf, np.nan]), 0.5).tolist() == [0]


def test_one_bad_coordinate_changes_nothing_for_other_boxes():
    # Classes that are shifted apart by the largest coordinate are all NaN then: all boxes stay.
    for bad in (np.inf, np.nan):
        boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, bad, 10]])
        scores, idxs = np.float32([3, 2, 1]), np.array([0, 0, 1])
        assert ops.batched_nms(boxes, scores, idxs, 0.5).tolist() == [0, 2]


def test_classes_of_half_precision_boxes_are_not_shifted_out_of_range():
    # 79 * 1,001 is infinite in float16.
    boxes = torch.tensor([[0, 0, 1000, 1000], [0, 0, 999, 1000], [0, 0, 1000, 1000]]).half()
    keep = ops.batched_nms(boxes, torch.tensor([3.0, 2, 1]), torch.tensor([79, 79, 78]), 0.5)
    assert keep.tolist() == [0, 2]


def test_an_iou_at_a_decimal_threshold_is_compared_in_the_type_of_the_boxes():
    # Comparing a float32 IoU with a float64 threshold, torchvision's CPU op suppresses some of
    # these; its CUDA op does not.
    for percent in range(5, 100, 5):
        boxes = np.float32([[0, 0, 100, 1], [0, 0, percent, 1]])
        assert len(ops.nms(boxes, np.float32([2, 1]), percent / 100)) == 2


def test_a_million_boxes_take_memory_linear_in_their_number():
    code = """
import resource, sys
import numpy as np
from sightline import ops
n = int(sys.argv[1])
rng = np.random.default_rng(0)
corner = rng.uniform(0, 20 * np.sqrt(n), (n, 2)).astype(np.float32)
boxes = np.concatenate([corner, corner + rng.uniform(1, 60, (n, 2)).astype(np.float32)], 1)
scores = rng.random(n, np.float32)
ops.nms(boxes[:9], scores[:9], 0.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = len(ops.nms(boxes, scores, 0.5))
print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    for n in (250_000, 1_000_000):
        done = run(code, n)
        assert done.returncode == 0, done.stderr
        kept, taken = map(int, done.stdout.split())
        assert kept > n / 2
        assert taken < 220 * n


def test_random_boxes_of_every_dtype_pair_beyond_the_flat_list():
    rng = np.random.default_rng(3)
    for dtype in (np.float32, np.float64):
        boxes = np.concatenate(
            [random_boxes(rng, 400, dtype, bad=True), scattered(rng, 600, dtype)]
        )
        for score_dtype in (np.float32, np.float64):
            scores = np.round(rng.random(1000), 2).astype(score_dtype)
            expected = greedy(boxes, scores, 0.4)
            np.testing.assert_array_equal(ops.nms(boxes, scores, 0.4), expected)
