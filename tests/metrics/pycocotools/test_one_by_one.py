"""The evaluation image by image, for subclasses of `COCOeval`, compared with the reference."""

import numpy as np
import pytest

from sightline.metrics.pycocotools import mask
from sightline.metrics.pycocotools.cocoeval import _take
from sightline.reference.coco import box_overlaps, match


def take(overlaps, *, ignored=None, crowd=None, takes=None, threshold=0.5):
    num_dt, num_gt = overlaps.shape
    no, yes = [False] * num_gt, [True] * num_dt
    return _take(overlaps, ignored or no, crowd or no, takes or yes, threshold)


def test_of_equal_overlaps_the_last_free_object_is_taken():
    assert take(np.array([[0.6, 0.8, 0.8], [0.6, 0.8, 0.8], [0.5, 0.9, 0.9]])) == [2, 1, 0]
    assert take(np.array([[1.0]]), threshold=1.0) == [0]
    assert take(np.array([[0.4999]])) == [-1]


def test_what_is_ignored_is_taken_only_where_nothing_that_counts_is():
    overlaps = np.array([[0.5, 0.9], [0.5, 0.9], [0.5, 0.9]])
    assert take(overlaps, ignored=[False, True]) == [0, 1, -1]
    assert take(overlaps, ignored=[False, True], crowd=[False, True]) == [0, 1, 1]


def test_a_detection_whose_mark_is_zero_leaves_its_object_free():
    assert take(np.array([[0.9], [0.8]]), takes=[False, True]) == [0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_taking_equals_the_reference(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        num_dt, num_gt = rng.integers(0, 7, 2)
        overlaps = rng.integers(0, 11, (num_dt, num_gt)) / 10  # many are equal
        overlaps[rng.random(overlaps.shape) < 0.05 * (seed % 2)] = np.nan
        ignored = np.sort(rng.random(num_gt) < 0.4)
        crowd, takes = rng.random(num_gt) < 0.3, rng.random(num_dt) < 0.8
        for threshold in np.array([0.1, 0.5, 0.95, 1.0]):
            got = _take(overlaps, ignored.tolist(), crowd.tolist(), takes.tolist(), threshold)
            assert got == match(overlaps, ignored, crowd, threshold, takes)


@pytest.mark.parametrize("seed", range(10))
def test_overlaps_of_boxes_equal_the_reference_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    dt, gt = (rng.uniform(-5, 30, (n, 4)).round(rng.integers(0, 9)) for n in (17, 13))
    if seed % 2:
        for boxes in (dt, gt):
            strange = rng.random(boxes.shape) < 0.1
            values = [np.nan, np.inf, 0.0, -0.0, 1e200, 1e-200]
            boxes[strange] = rng.choice(values, strange.sum())
        dt[0] = gt[0] = [0, 0, np.inf, 5]  # infinite less infinite
    crowd = rng.random(len(gt)) < 0.3
    with np.errstate(all="ignore"):
        expected = box_overlaps(dt, gt, crowd)
    got = mask.iou(dt, gt, crowd)
    assert got.flags.f_contiguous
    np.testing.assert_array_equal(got, expected)
    assert (expected > 0).any() and np.isnan(expected).any() == (seed % 2 == 1)
