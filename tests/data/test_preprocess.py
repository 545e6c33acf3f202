"""Preprocessing: size, colour statistics, and boxes there and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data import Annotations, Preprocess, Record, fit_preprocess

sides = st.integers(1, 400)


@given(sides, sides, sides, sides, st.sampled_from(["stretch", "letterbox"]))
def test_boxes_return_to_the_picture_they_came_from(height, width, out_h, out_w, mode):
    preprocess = Preprocess((out_h, out_w), mode)
    transform = preprocess.transform_for(height, width)
    boxes = np.array([[0, 0, width, height], [width / 4, height / 3, width / 2, height / 2]])
    there = transform.to_network(boxes)
    assert (there >= -1e-9).all()
    assert (there <= np.array([out_w, out_h, out_w, out_h]) + 1e-9).all()
    back = preprocess.to_original(there, transform)
    np.testing.assert_allclose(back, boxes, rtol=1e-9, atol=1e-9)


def test_boxes_outside_the_picture_are_clipped_on_the_way_back():
    preprocess = Preprocess((100, 100), "letterbox")
    transform = preprocess.transform_for(50, 100)
    back = preprocess.to_original(np.array([[-5.0, 0, 105, 100]]), transform)
    np.testing.assert_array_equal(back, [[0, 0, 100, 50]])


def test_stretch_of_the_same_size_changes_no_pixel():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    resized, transform = Preprocess((6, 8)).resize(image)
    np.testing.assert_array_equal(resized, image)
    assert (transform.scale_x, transform.scale_y, transform.left, transform.top) == (1, 1, 0, 0)


def test_apply_normalises_each_channel():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:] = (255, 51, 0)
    preprocess = Preprocess((2, 2), mean=(0.5, 0.2, 0.0), std=(0.25, 0.5, 1.0))
    out, _ = preprocess.apply(image)
    assert out.shape == (3, 2, 2) and out.dtype == np.float32
    np.testing.assert_allclose(out[:, 0, 0], [2.0, 0.0, 0.0], atol=1e-6)


def test_letterbox_keeps_the_aspect_ratio_and_pads_with_the_mean_colour():
    preprocess = Preprocess((40, 40), "letterbox", mean=(0.2, 0.4, 0.6), std=(0.1, 0.1, 0.1))
    out, transform = preprocess.apply(np.full((20, 40, 3), 255, np.uint8))
    assert (transform.left, transform.top) == (0, 10)
    assert abs(out[:, :10]).max() < 0.02
    assert abs(out[:, 30:]).max() < 0.02
    assert (out[:, 10:30] > 3).all()


def test_letterbox_centres_a_tall_picture():
    transform = Preprocess((40, 40), "letterbox").transform_for(40, 20)
    assert (transform.left, transform.top) == (10, 0)


def test_a_pixel_and_its_box_land_in_the_same_place():
    image = np.zeros((48, 64, 3), np.uint8)
    image[12:24, 16:40] = 255
    for preprocess in (Preprocess((96, 32)), Preprocess((96, 96), "letterbox", mean=(0.0,))):
        resized, transform = preprocess.resize(image)
        x1, y1, x2, y2 = transform.to_network(np.array([[16.0, 12, 40, 24]]))[0]
        rows, columns = np.nonzero(resized[:, :, 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, [x1, y1, x2, y2], atol=0.51)


def test_grey_and_colour_pictures_feed_either_kind_of_network():
    grey, colour = np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.uint8)
    for channels in (1, 3):
        preprocess = Preprocess((8, 8), channels=channels)
        assert preprocess.apply(grey)[0].shape == (channels, 8, 8)
        assert preprocess.apply(colour)[0].shape == (channels, 8, 8)


def test_settings_survive_json():
    preprocess = Preprocess((24, 32), "letterbox", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
    with pytest.raises(ValueError, match=r"unknown preprocess key\(s\) \['sise'\]"):
        Preprocess.from_dict({"sise": [1, 2]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 4)}, "`size` must be"),
        ({"mode": "crop"}, "`mode` must be 'stretch' or 'letterbox', got 'crop'"),
        ({"channels": 2}, "`channels` must be 1 or 3"),
        ({"mean": (0.5, 0.5)}, "`mean` must hold 1 or 3 finite numbers"),
        ({"std": (0.0,)}, "`std` must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocess(**{"size": (4, 4), **options})


def test_mean_and_std_are_those_of_the_training_pixels():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (7, 5, 6, 3), np.uint8)
    records = tuple(
        Record(image, number, 6, 5, labels=np.zeros(1)) for number, image in enumerate(images)
    )
    found = fit_preprocess(Annotations("class", ("a",), records), (5, 6))
    values = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-9)


def test_letterbox_padding_does_not_count_in_the_mean():
    record = Record(np.full((4, 8, 3), 102, np.uint8), 0, 8, 4, labels=np.zeros(1))
    found = fit_preprocess(Annotations("class", ("a",), (record,)), (8, 8), mode="letterbox")
    np.testing.assert_allclose(found.mean, [0.4] * 3)
    assert min(found.std) > 0


@pytest.mark.parametrize(
    ("side", "size", "mode", "zoom", "reduction"),
    [
        ((480, 640), (240, 320), "stretch", 1.0, 2),
        ((479, 640), (240, 320), "stretch", 1.0, 1),
        ((480, 640), (240, 320), "stretch", 1.01, 1),
        ((480, 640), (120, 320), "letterbox", 1.0, 4),
        ((4000, 6000), (480, 640), "stretch", 1.0, 8),
        ((30, 9000), (60, 60), "stretch", 1.0, 1),
    ],
)
def test_an_image_is_reduced_as_far_as_it_is_not_enlarged(side, size, mode, zoom, reduction):
    assert Preprocess(size, mode).reduction_for(*side, zoom=zoom) == reduction
