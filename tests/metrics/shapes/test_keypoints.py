"""Object keypoint similarity by hand, against the reference and pycocotools' arithmetic."""

import numpy as np
import pytest

from sightline import _numpy
from sightline.metrics import COCO_KEYPOINT_SIGMAS, keypoint_similarity
from sightline.reference import keypoints as reference

AREA, BOX = [400.0], [[0.0, 0.0, 20.0, 20.0]]


def test_sigmas_are_those_of_pycocotools_to_the_bit():
    from pycocotools.cocoeval import Params

    assert COCO_KEYPOINT_SIGMAS.tolist() == Params("keypoints").kpt_oks_sigmas.tolist()
    assert not COCO_KEYPOINT_SIGMAS.flags.writeable


def test_one_keypoint_by_hand():
    # distance 5, e = 25 / (2 * .1)^2 / 400 / 2
    got = keypoint_similarity([[[3, 4, 0]]], [[[0, 0, 2]]], AREA, BOX, sigmas=[0.1])
    assert got.item() == pytest.approx(np.exp(-25 / 0.04 / 400 / 2), rel=1e-15)


def test_only_keypoints_that_the_object_shows_count():
    pose = np.array([[[0, 0, 1], [5, 5, 0], [9, 9, 2]]])
    found = np.array([[[0, 0, 0], [900, 900, 0], [9, 9, 0]]])
    got = keypoint_similarity(found, pose, AREA, BOX, sigmas=[0.1] * 3)
    assert got.item() == 1.0


def test_an_object_that_shows_none_is_measured_by_its_box_at_three_times_its_size():
    pose = np.zeros((1, 2, 3))
    inside = np.array([[[-20, -20, 0], [40, 40, 0]], [[-20, 0, 0], [43, 44, 0]]])
    got = keypoint_similarity(inside, pose, AREA, BOX, sigmas=[0.1, 0.1])
    assert got[0].item() == 1.0
    assert got[1].item() == pytest.approx((1 + np.exp(-25 / 0.04 / 400 / 2)) / 2, rel=1e-15)


@pytest.mark.parametrize("k", [1, 7, 8, 17, 64, 128, 129, 300])
def test_similarity_equals_the_reference_to_the_bit(k):
    rng = np.random.default_rng(k)
    objects = rng.uniform(0, 100, (5, k, 3)) * [1, 1, 0.02] - [0, 0, 0.5]
    found = rng.permutation(objects)[[0, 1, 2, 3, 4, 0, 1]] + rng.normal(0, 4, (7, k, 3))
    area, boxes = rng.uniform(10, 4000, 5), rng.uniform(0, 50, (5, 4))
    sigmas = rng.uniform(0.02, 0.2, k)
    got = keypoint_similarity(found, objects, area, boxes, sigmas=sigmas)
    expected = reference.keypoint_similarity(found, objects, area, boxes, sigmas)
    np.testing.assert_array_equal(got, expected)


def test_a_detection_far_away_has_similarity_zero():
    assert keypoint_similarity([[[1e9, 0, 0]]], [[[0, 0, 1]]], [1], BOX, sigmas=[0.1]).item() == 0


def test_nothing_to_compare():
    k = len(COCO_KEYPOINT_SIGMAS)
    pose = np.ones((2, k, 3))
    assert keypoint_similarity([], pose, [1, 2], np.ones((2, 4))).shape == (0, 2)
    assert keypoint_similarity(pose, [], [], []).shape == (2, 0)
    assert keypoint_similarity(pose, pose, [0, 0], np.ones((2, 4))).tolist() == [[1, 1], [1, 1]]


def test_threads_and_strides_do_not_change_a_bit():
    rng = np.random.default_rng(1)
    found, objects = rng.uniform(0, 9, (3000, 17, 3)), rng.uniform(0, 9, (4, 17, 3))
    area, boxes = rng.uniform(1, 99, 4), rng.uniform(0, 9, (4, 4))
    before = _numpy.get_num_threads()
    try:
        _numpy.set_num_threads(1)
        one = keypoint_similarity(found, objects, area, boxes)
        _numpy.set_num_threads(3)
        np.testing.assert_array_equal(keypoint_similarity(found, objects, area, boxes), one)
        np.testing.assert_array_equal(
            keypoint_similarity(
                np.asfortranarray(found), np.repeat(objects, 2, 0)[::2], area, boxes
            ),
            one,
        )
    finally:
        _numpy.set_num_threads(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detections": np.ones((2, 16, 3))}, r"`detections` must have shape \[N, 17, 3\]"),
        ({"objects": np.ones((17, 3))}, r"`objects` must have shape \[N, 17, 3\]"),
        ({"detections": np.full((1, 17, 3), np.nan)}, "`detections` must be finite.*row 0"),
        ({"area": [1, 2]}, r"`area` must have shape \[1\], got \[2\]"),
        ({"boxes_xywh": [[1, 2, 3]]}, r"`boxes_xywh` must have shape \[1, 4\]"),
        ({"sigmas": [0.1] * 16 + [0]}, "`sigmas` must be one or more positive"),
        ({"sigmas": []}, "`sigmas` must be one or more positive"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "detections": np.ones((1, 17, 3)),
        "objects": np.ones((1, 17, 3)),
        "area": [1],
        "boxes_xywh": [[0, 0, 1, 1]],
        **change,
    }
    with pytest.raises(ValueError, match=message):
        keypoint_similarity(**arguments)
