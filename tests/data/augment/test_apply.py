"""Augmentation: boxes follow pixels, the rules for dropping them, and the ranges."""

import numpy as np
import pytest

from sightline.data import Augment, apply_augment, default_augment, load_digit_scenes
from sightline.data.augment import clip_boxes, draw_change
from sightline.data.augment.mosaic import draw_quarters

BOX = np.array([[60.0, 40, 130, 100]])


def white_box_on_black(box=BOX[0], size=(160, 200)):
    image = np.zeros((*size, 3), np.uint8)
    x1, y1, x2, y2 = box.astype(int)
    image[y1:y2, x1:x2] = 255
    return image


def bright_hull(image):
    rows, columns = np.nonzero(image[:, :, 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def geometry(**changes):
    plain = {"flip_h": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    return Augment(**{**plain, "scale": (1, 1), "translate": 0, **changes})


def test_none_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    out, boxes, rows = apply_augment(
        image, BOX / 10, Augment.none(), np.random.default_rng(1), fill=(0, 0, 0)
    )
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(boxes, BOX / 10)
    assert rows.tolist() == [0]


@pytest.mark.parametrize(
    "augment",
    [
        geometry(flip_h=1),
        geometry(flip_v=1),
        geometry(scale=(0.5, 2.0)),
        geometry(translate=0.3),
        geometry(flip_h=0.5, flip_v=0.5, scale=(0.6, 1.6), translate=0.2),
    ],
)
def test_boxes_follow_the_pixels(augment):
    for seed in range(40):
        out, boxes, rows = apply_augment(
            white_box_on_black(), BOX, augment, np.random.default_rng(seed), fill=(0, 0, 0)
        )
        if len(rows):
            np.testing.assert_allclose(boxes[0], bright_hull(out), atol=1.01)


def test_turned_box_is_the_hull_of_its_corners():
    augment = geometry(rotate=40)
    for seed in range(20):
        out, boxes, _ = apply_augment(
            white_box_on_black(), BOX, augment, np.random.default_rng(seed), fill=(0, 0, 0)
        )
        np.testing.assert_allclose(boxes[0], bright_hull(out), atol=1.6)


def test_flip_twice_returns_picture_and_box():
    image = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    once = apply_augment(image, BOX, geometry(flip_h=1), np.random.default_rng(0), fill=(0, 0, 0))
    np.testing.assert_array_equal(once[1], [[70, 40, 140, 100]])
    twice = apply_augment(
        once[0], once[1], geometry(flip_h=1), np.random.default_rng(0), fill=(0, 0, 0)
    )
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], BOX)


def test_what_comes_in_from_outside_has_the_fill_colour():
    image = np.full((40, 40, 3), 200, np.uint8)
    out, _, _ = apply_augment(
        image, BOX, geometry(scale=(0.5, 0.5)), np.random.default_rng(0), fill=(7, 8, 9)
    )
    assert out[0, 0].tolist() == [7, 8, 9]
    assert out[20, 20].tolist() == [200, 200, 200]


def test_clip_drops_boxes_by_the_part_that_stays_and_by_one_pixel():
    boxes = np.array(
        [[-60.0, 0, 40, 10], [-80, 0, 20, 10], [99.5, 0, 120, 10], [10, 10, 20, 20], [5, 5, 5, 9]]
    )
    kept, rows = clip_boxes(boxes, 50, 100, min_visibility=0.3)
    assert rows.tolist() == [0, 3]
    np.testing.assert_array_equal(kept, [[0, 0, 40, 10], [10, 10, 20, 20]])
    assert clip_boxes(boxes, 50, 100)[1].tolist() == [0, 1, 3]
    assert clip_boxes(np.zeros((0, 4)), 50, 100)[0].shape == (0, 4)


def test_colour_settings_keep_boxes_and_move_the_mean():
    image = np.full((10, 10, 3), (120, 80, 40), np.uint8)
    seen = set()
    for seed in range(10):
        out, boxes, _ = apply_augment(
            image,
            np.array([[1.0, 1, 5, 5]]),
            Augment(flip_h=0, scale=(1, 1), translate=0),
            np.random.default_rng(seed),
            fill=(0, 0, 0),
        )
        np.testing.assert_array_equal(boxes, [[1, 1, 5, 5]])
        seen.add(tuple(out[0, 0].tolist()))
    assert len(seen) == 10


def test_saturation_and_hue_leave_grey_alone():
    image = np.full((6, 6, 3), 97, np.uint8)
    augment = Augment(
        flip_h=0, scale=(1, 1), translate=0, brightness=0, contrast=0, saturation=1, hue=90
    )
    out, _, _ = apply_augment(
        image, np.zeros((0, 4)), augment, np.random.default_rng(0), fill=(0, 0, 0)
    )
    assert abs(out.astype(int) - 97).max() <= 1


def test_grey_pictures_keep_one_channel():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8)
    for augment in (Augment(), Augment(rotate=10)):
        out, _, _ = apply_augment(
            image, np.zeros((0, 4)), augment, np.random.default_rng(0), fill=(0,)
        )
        assert out.shape == (32, 32, 1)


def test_the_same_generator_state_gives_the_same_picture():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    first, second = (
        apply_augment(image, BOX / 4, Augment(rotate=5), np.random.default_rng(5), fill=(0, 0, 0))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_mosaic_boxes_follow_their_pixels():
    size = (160, 200)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        out, all_boxes = np.zeros((*size, 3), np.uint8), []
        for part, quarter in enumerate(draw_quarters(size, rng)):
            x1, y1, x2, y2 = quarter.window
            augment = geometry(min_visibility=0.1)
            change = draw_change(augment, size, quarter.size, rng, base=quarter.crop)
            image, boxes = (
                (white_box_on_black(), BOX)
                if part == 0
                else (np.zeros((*size, 3), np.uint8), BOX[:0])
            )
            out[y1:y2, x1:x2] = change.image(image)
            all_boxes.append(change.boxes(boxes)[0] + np.array([x1, y1, x1, y1]))
        assert [len(boxes) for boxes in all_boxes[1:]] == [0, 0, 0]
        if len(all_boxes[0]):
            np.testing.assert_allclose(all_boxes[0][0], bright_hull(out), atol=1.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_h": 1.5}, r"`flip_h` must lie in \[0, 1\], got 1.5"),
        ({"rotate": -1}, r"`rotate` must lie in \[0, 180\]"),
        ({"brightness": float("nan")}, "`brightness` must lie in"),
        ({"scale": (1.2, 0.8)}, "`scale` must be"),
        ({"scale": (0, 1)}, "`scale` must be"),
    ],
)
def test_settings_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_default_settings_do_not_mirror_digits():
    scenes = load_digit_scenes("val", 2)
    assert default_augment(scenes).flip_h == 0
    assert default_augment(scenes).flip_v == 0
