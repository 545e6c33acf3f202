"""Preprocessing: size, colour statistics, and boxes there and back."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sightline.data import (
    Annotations,
    DataError,
    Preprocess,
    Record,
    fit_preprocess,
    read_image,
)

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


@given(sides, sides, sides, sides)
def test_boxes_return_to_the_picture_that_was_cropped_around_its_centre(
    height, width, out_h, out_w
):
    preprocess = Preprocess((out_h, out_w), "crop")
    transform = preprocess.transform_for(height, width)
    scaled = np.array([width * transform.scale_x, height * transform.scale_y])
    np.testing.assert_allclose(scaled, np.rint(scaled), atol=1e-9)
    assert (scaled >= np.array([out_w, out_h]) - 1e-9).all()  # the input is filled
    assert np.isclose(scaled[0], out_w) or np.isclose(scaled[1], out_h)
    assert transform.left == (out_w - round(scaled[0])) // 2 <= 0
    assert transform.top == (out_h - round(scaled[1])) // 2 <= 0
    seen = preprocess.to_original(np.array([[0.0, 0, out_w, out_h]]), transform)
    boxes = np.concatenate([seen, (seen[:, [0, 1, 0, 1]] + seen) / 2])
    there = transform.to_network(boxes)
    np.testing.assert_allclose(preprocess.to_original(there, transform), boxes, atol=1e-6)


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
@settings(max_examples=20)
@given(
    st.integers(1, 8),
    st.integers(40, 90),
    st.integers(40, 90),
    st.tuples(st.integers(30, 60), st.integers(30, 60)),
)
def test_a_rectangle_is_found_where_its_box_says_in_every_mode_and_orientation(
    mode, orientation, height, width, size
):
    shown = np.zeros((height, width, 3), np.uint8)
    box = np.array([width * 0.3, height * 0.3, width * 0.7, height * 0.7]).round()
    x1, y1, x2, y2 = box.astype(int)
    shown[y1:y2, x1:x2] = 255
    # Stored so that a viewer who applies the orientation sees `shown`; each undoes itself but 6, 8.
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(shown)
    stored.getexif()[0x0112] = undo
    stored = ImageOps.exif_transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    image = read_image(file.getvalue(), size=(width, height))
    np.testing.assert_array_equal(image, shown)
    preprocess = Preprocess(size, mode, mean=(0.0,))
    resized, transform = preprocess.resize(image)
    assert resized.shape == (*size, 3)
    rows, columns = np.nonzero(resized[:, :, 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    expected = transform.to_network(box[None])
    limit = np.array([size[1], size[0]] * 2)
    np.testing.assert_allclose(found, expected.clip(0, limit)[0], atol=0.51)
    visible = expected.clip(0, limit)
    back = preprocess.to_original(visible, transform)
    np.testing.assert_allclose(transform.to_network(back), visible, atol=1e-9)


def test_cropping_makes_no_more_pixels_than_the_network_takes():
    resized, transform = Preprocess((64, 64), "crop").resize(np.zeros((1, 30_000, 3), np.uint8))
    assert resized.shape == (64, 64, 3) and transform.left == (64 - 30_000 * 64) // 2


def test_a_crop_without_scaling_takes_pixels_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (8, 13, 3), np.uint8)
    resized, transform = Preprocess((8, 8), "crop").resize(image)
    assert (transform.left, transform.top) == (-3, 0)
    np.testing.assert_array_equal(resized, image[:, 3:11])


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_cropped_does_not_count_in_the_mean(channels):
    image = np.full((8, 16, 3), 102, np.uint8)
    image[:, :4] = 255
    image[:, 12:] = 0
    record = Record(image, 0, 16, 8, labels=np.zeros(1))
    found = fit_preprocess(
        Annotations("class", ("a",), (record,)), (8, 8), mode="crop", channels=channels
    )
    np.testing.assert_allclose(found.mean, [0.4] * channels)
    assert found.channels == channels and len(found.std) == channels


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
        ({"mode": "cut"}, "`mode` must be one of stretch, letterbox, crop, got 'cut'"),
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


def test_statistics_leave_out_images_that_cannot_be_read_where_asked(tmp_path):
    records = []
    for name in "ab":
        Image.new("RGB", (8, 8), (255, 0, 51)).save(tmp_path / f"{name}.png")
        records.append(Record(tmp_path / f"{name}.png", name, 8, 8, labels=np.array([0])))
    annotations = Annotations("class", ("x",), tuple(records))
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: not a readable image"):
        fit_preprocess(annotations, (8, 8))
    found = fit_preprocess(annotations, (8, 8), skip_unreadable=True)
    assert found.mean == pytest.approx((1, 0, 0.2))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: not a readable image"):
        fit_preprocess(annotations, (8, 8), skip_unreadable=True)
