"""Digit scenes: the rules they are made by, and that splits share nothing."""

import itertools

import numpy as np
import pytest

from sightline.data import DataError, load_digit_scenes
from sightline.data.digit_scenes import _PHOTOGRAPHS, SCENE_SIZE, _digit_indices, _ripple


def test_scenes_obey_their_rules():
    scenes = load_digit_scenes("train", 150)
    assert scenes.num_classes == 10
    assert (scenes.class_counts() > 0).all()
    counts = {len(record.boxes) for record in scenes.records}
    assert counts == set(range(1, 9))
    overlapping = 0
    for record in scenes.records:
        assert record.image.shape == (128, 128, 3)
        boxes = record.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        assert sides.min() >= 16 and sides.max() <= 48
        assert boxes.min() >= 0 and boxes.max() <= 128
        for one, other in itertools.combinations(boxes, 2):
            meet = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            if (meet > 0).all():
                overlapping += 1
                smaller = min(np.prod(one[2:] - one[:2]), np.prod(other[2:] - other[:2]))
                assert np.prod(meet) <= 0.3 * smaller
    assert overlapping > 0


def test_scenes_are_a_function_of_split_seed_and_place():
    few, many = load_digit_scenes("val", 3, seed=4), load_digit_scenes("val", 6, seed=4)
    for one, other in zip(few.records, many.records, strict=False):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    moved = load_digit_scenes("val", 3, seed=5)
    assert not np.array_equal(moved.records[0].image, few.records[0].image)
    train = load_digit_scenes("train", 3, seed=4)
    assert not np.array_equal(train.records[0].image, few.records[0].image)


def test_held_out_scenes_share_no_scan_and_no_photograph_with_training():
    indices = _digit_indices()
    for one, other in itertools.combinations(("train", "val", "test"), 2):
        assert not set(indices[one]) & set(indices[other])
    assert sum(len(part) for part in indices.values()) == 1797
    assert _PHOTOGRAPHS["test"] not in (_PHOTOGRAPHS["train"], _PHOTOGRAPHS["val"])


def test_held_out_scenes_are_500_unless_told():
    assert len(load_digit_scenes("test")) == 500


def test_digits_change_the_pixels_of_their_box():
    for record in load_digit_scenes("test", 20).records:
        for x1, y1, x2, y2 in record.boxes.astype(int):
            tile = record.image[y1:y2, x1:x2].astype(float).mean(axis=2)
            assert np.ptp(tile) > 25


def test_scene_arguments_are_checked():
    with pytest.raises(DataError, match="no split 'extra'; it has train, val, test"):
        load_digit_scenes("extra")
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        load_digit_scenes("train", 0)


def test_rippling_bends_lines_and_invents_no_colour():
    picture = np.zeros((SCENE_SIZE, SCENE_SIZE, 3), np.uint8)
    picture[:, ::16] = (10, 200, 90)
    bent = _ripple(picture, np.random.default_rng(0))
    assert bent.shape == picture.shape and bent.dtype == np.uint8
    assert {tuple(colour) for colour in bent.reshape(-1, 3)} == {(0, 0, 0), (10, 200, 90)}
    columns_of_line = [np.flatnonzero(row.any(1)).tolist() for row in bent]
    assert len({tuple(columns) for columns in columns_of_line}) > SCENE_SIZE // 2
