"""One change moves pixels, boxes, outlines, points and masks together."""

from dataclasses import replace

import numpy as np
import pytest

from sightline.data import Augment
from sightline.data.augment import draw_change, unchanged
from sightline.data.augment.elastic import displaced, draw_displacements, undisplaced
from sightline.data.augment.geometry import scaling
from sightline.formats.shapes import (
    Polygons,
    corners_of_rotated,
    mask_to_runs,
    rotated_of_corners,
    shape_to_mask,
)

SIZE = (160, 200)  # of the image
BRIGHT = 0.35
STILL = Augment.none()
ALONE = {
    "nothing": {},
    "flip_h": {"flip_h": 1.0},
    "flip_v": {"flip_v": 1.0},
    "scale": {"scale": (0.5, 2.0)},
    "translate": {"translate": 0.3},
    "rotate": {"rotate": 180.0},
    "shear": {"shear": 25.0},
    "perspective": {"perspective": 0.3},
    "crop": {"crop": 0.7},
    "elastic": {"elastic": 0.04},
    "colour": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.5, "hue": 30.0},
    "grayscale": {"grayscale": 1.0},
}
EVERYTHING = {
    **ALONE["colour"],
    "flip_h": 0.5,
    "flip_v": 0.5,
    "scale": (0.7, 1.4),
    "translate": 0.1,
    "rotate": 180.0,
    "shear": 10.0,
    "perspective": 0.2,
    "crop": 0.3,
    "elastic": 0.03,
}
# An L, with edges on those of pixels: its hull leaves out less than its box does when it turns.
L_SHAPE = np.array([[60, 40], [84, 40], [84, 86], [130, 86], [130, 110], [60, 110]], np.float64)


def changes(settings, count, sizes=(SIZE, (120, 150), (200, 180))):
    """Random changes to network inputs of the image's size, smaller and larger."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield draw_change(replace(STILL, **settings), SIZE, sizes[seed % len(sizes)], rng)


def shown(change, mask):
    """Where pixels of a mask are in the changed image: 0 is nowhere, 1 fully."""
    empty, full = (
        change.image(np.repeat(np.where(pixels, 180, 40).astype(np.uint8)[..., None], 3, axis=2))
        for pixels in (np.zeros(SIZE, bool), mask)
    )
    bright = full[..., 0].astype(np.float64) - empty[..., 0]
    return bright / max(bright.max(), 1)


def extent(bright):
    """Box around where a picture is bright, to a part of a pixel.

    At less than a half, since the tips of turned corners are smoothed away.
    """
    sides = []
    for lines in (bright, bright.T):
        inner = np.pad(lines, ((0, 0), (0, 1)), mode="edge")  # what goes on beyond the border
        above = lines > BRIGHT
        hit = np.flatnonzero(above.any(axis=1))
        lines, above, inner = lines[hit], above[hit], inner[hit]
        ends = []
        for row, padded in (
            (above, inner),
            (above[:, ::-1], np.pad(lines[:, ::-1], ((0, 0), (0, 1)), mode="edge")),
        ):
            last = row.shape[1] - 1 - row[:, ::-1].argmax(axis=1)
            at = padded[np.arange(len(row)), last]
            beyond = padded[np.arange(len(row)), last + 1]
            step = np.where(beyond < BRIGHT, (at - BRIGHT) / np.maximum(at - beyond, 1e-9), 0.5)
            ends.append((last + 0.5 + step).max())
        sides.append((lines.shape[1] - ends[1], ends[0]))
    (x1, x2), (y1, y2) = sides
    return np.array([x1, y1, x2, y2])


def rectangle(rng):
    x1, y1 = rng.integers(20, 100), rng.integers(20, 70)
    return np.array([x1, y1, x1 + rng.integers(24, 80), y1 + rng.integers(24, 70)], np.float64)


def box_mask(box):
    mask = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize("settings", [*ALONE.values(), EVERYTHING], ids=[*ALONE, "everything"])
def test_a_rectangle_is_where_its_box_says(settings):
    seen = 0
    for number, change in enumerate(changes(settings, 40 if settings is EVERYTHING else 9)):
        box = rectangle(np.random.default_rng([1, number]))
        boxes, rows = change.boxes(box[None])
        if len(rows) and (boxes[0, 2:] - boxes[0, :2]).min() > 4:
            np.testing.assert_allclose(boxes[0], extent(shown(change, box_mask(box))), atol=0.5)
            seen += 1
    assert seen >= 7


@pytest.mark.parametrize("settings", [ALONE["rotate"], ALONE["elastic"], EVERYTHING])
@pytest.mark.parametrize("as_runs", [False, True], ids=["polygon", "run lengths"])
def test_an_outline_is_where_it_says_and_gives_the_tight_box(settings, as_runs):
    polygon = Polygons((L_SHAPE,))
    mask = shape_to_mask(polygon, SIZE)
    shape = mask_to_runs(mask) if as_runs else polygon
    box = np.array([polygon.hull()])
    for change in changes(settings, 12):
        bright = shown(change, mask)
        tight, _ = change.boxes(box, [shape])
        np.testing.assert_allclose(tight[0], extent(bright), atol=0.5)
        loose, _ = change.boxes(box)
        assert (loose[0, :2] <= tight[0, :2] + 0.05).all()
        assert (loose[0, 2:] >= tight[0, 2:] - 0.05).all()
        (drawn,) = change.masks([shape])
        edge = np.count_nonzero(np.diff(drawn, axis=0)) + np.count_nonzero(np.diff(drawn, axis=1))
        assert np.count_nonzero(drawn != (bright > 0.5)) <= 0.5 * edge
        assert np.count_nonzero(drawn) > 200


@pytest.mark.parametrize("settings", [*ALONE.values(), EVERYTHING], ids=[*ALONE, "everything"])
def test_a_dot_is_where_its_point_says(settings):
    for number, change in enumerate(changes(settings, 12)):
        x, y = np.random.default_rng([2, number]).integers(40, 120, 2)
        mask = np.zeros(SIZE, bool)
        mask[y : y + 3, x : x + 3] = True
        point = change.points(np.array([[[x + 1.5, y + 1.5, 2]]]))[0, 0]
        if (
            point[2]
            and (point[:2] > 5).all()
            and (point[:2] < np.array(change.size[::-1]) - 5).all()
        ):
            bright = shown(change, mask)
            rows, columns = np.indices(change.size) + 0.5
            centre = (columns * bright).sum() / bright.sum(), (rows * bright).sum() / bright.sum()
            np.testing.assert_allclose(point[:2], centre, atol=0.5)


def test_points_outside_or_covered_are_marked():
    change = replace(unchanged(SIZE, SIZE, base=scaling(1, 1, -10)), cutout=((0, 0, 20, 20),))
    points = [[15, 5, 2], [5, 5, 2], [60, 5, 2], [60, 5, 0], [np.nan, np.nan, 0], [30, 5, 1]]
    found = change.points(np.array([points], np.float64))[0]
    assert found.tolist() == [[5, 5, 1], [0, 0, 0], [50, 5, 2], [0, 0, 0], [0, 0, 0], [20, 5, 1]]


def test_a_mirrored_left_eye_is_a_right_eye():
    points = np.array([[[10, 20, 2], [30, 20, 1], [20, 40, 2]]], np.float64)
    change = unchanged(SIZE, SIZE)
    assert change.points(points, mirror=(1, 0, 2)).tolist() == points.tolist()
    found = change.mirrored().points(points, mirror=(1, 0, 2))
    assert found.tolist() == [[[170, 20, 1], [190, 20, 2], [180, 40, 2]]]
    assert change.mirrored().mirrored().points(points, mirror=(1, 0, 2)).tolist() == points.tolist()
    with pytest.raises(ValueError, match=r"`mirror` must name one of 3 keypoints for each"):
        change.points(points, mirror=(1, 0))


@pytest.mark.parametrize(
    "settings", [ALONE["flip_h"], ALONE["rotate"], {**EVERYTHING, "shear": 25}]
)
def test_a_rotated_box_stays_around_its_corners(settings):
    given = np.array([[100, 80, 60, 20, 30], [np.nan] * 5, [80, 60, 20, 40, -75]])
    for change in changes({**settings, "elastic": 0.0, "perspective": 0.0}, 8, sizes=(SIZE,)):
        found = change.boxes_rotated(given)
        assert np.isnan(found[1]).all()
        corners = change.map_points(corners_of_rotated(given[[0, 2]]))
        around = corners_of_rotated(found[[0, 2]])
        for inner, outer in zip(corners, around, strict=True):
            edges = np.roll(outer, -1, axis=0) - outer
            offset = inner[:, None] - outer
            sides = edges[:, 0] * offset[..., 1] - edges[:, 1] * offset[..., 0]
            assert (sides * np.sign(sides.sum()) > -1e-6).all()  # on one side of each edge
        if "shear" not in settings:  # a rectangle stays one
            areas = found[[0, 2], 2] * found[[0, 2], 3]
            np.testing.assert_allclose(areas, rotated_of_corners(corners)[:, 2:4].prod(axis=1))


def test_masks_keep_their_numbers_and_fill_the_outside():
    mask = np.zeros((3, *SIZE), np.int32)
    mask[0, 40:100, 60:120] = 70_000
    mask[1] = -5
    mask[2, 0, 0] = 3
    for change in changes(EVERYTHING, 4):
        found = change.mask(mask, fill=255)
        assert found.shape == (3, *change.size) and found.dtype == np.int32
        assert set(np.unique(found[0])) <= {0, 255, 70_000} and (found[0] == 70_000).sum() > 100
        outside = found[1] == 255
        assert set(np.unique(found[1])) <= {-5, 255}
        assert ((found[0] == 255) == outside).all() and ((found[2] == 255) == outside).all()
        np.testing.assert_array_equal(change.mask(mask[0].astype(np.uint8), fill=9) == 9, outside)
    with pytest.raises(TypeError, match="`mask` must hold integers, got float64"):
        change.mask(np.zeros(SIZE))
    with pytest.raises(ValueError, match=r"`mask` must have shape \[160, 200\]"):
        change.mask(np.zeros((20, 20), np.uint8))


def test_a_reduced_picture_lies_where_the_whole_one_does():
    box = np.array([60, 40, 120, 100.0])
    image = np.where(box_mask(box), 200, 0).astype(np.uint8)[..., None]
    halved = image.reshape(80, 2, 100, 2, 1).mean(axis=(1, 3)).astype(np.uint8)
    for change in changes(EVERYTHING, 4, sizes=((80, 100),)):
        whole, reduced = change.image(image), change.image(halved, reduction=2)
        assert np.abs(whole.astype(int) - reduced).mean() < 3
    with pytest.raises(ValueError, match=r"`picture` must have shape \[160, 200, 'C'\]"):
        change.image(halved)


def test_pixels_are_normalised_with_every_effect():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    plain = {**EVERYTHING, **ALONE["colour"]}
    for settings in (plain, {**plain, "blur": 2.0, "noise": 0.1, "cutout": 1.0}):
        (change,) = changes(settings, 1)
        found = change.image(image, mean, std)
        values = change.image(image).transpose(2, 0, 1) / 255
        expected = (values - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= 0.51 / 255 / min(std)  # rounded to bytes


def test_blur_noise_and_cutout_do_what_they_say():
    image = np.tile(np.where(np.arange(200) < 100, 60, 180).astype(np.uint8)[:, None], (160, 1, 3))
    image = image.reshape(160, 200, 3)
    plain = unchanged(SIZE, SIZE, fill=(7, 8, 9))
    blurred = replace(plain, blur=3.0).image(image).astype(int)
    assert (np.diff(blurred[80, :, 0]) >= 0).all() and 110 < blurred[80, 99, 0] < 130
    assert abs(blurred.mean() - 120) < 1
    noisy = replace(plain, noise=0.05, noise_seed=3).image(image)
    assert 11 < (noisy.astype(int) - image).std() < 14  # of 255
    np.testing.assert_array_equal(noisy, replace(plain, noise=0.05, noise_seed=3).image(image))
    cut = replace(plain, cutout=((10, 20, 50, 60),)).image(image)
    assert (cut[20:60, 10:50] == (7, 8, 9)).all()
    cut[20:60, 10:50] = image[20:60, 10:50]
    np.testing.assert_array_equal(cut, image)


def test_boxes_under_a_cutout_are_dropped_by_what_is_left():
    change = replace(unchanged(SIZE, SIZE), cutout=((0, 0, 50, 100),), min_visibility=0.3)
    boxes = np.array([[10, 10, 60, 50], [10, 10, 80, 50], [60, 10, 90, 50.0]])
    kept, rows = change.boxes(boxes)
    assert rows.tolist() == [1, 2]
    np.testing.assert_array_equal(kept, boxes[1:])


def test_boxes_stay_inside_and_as_visible_as_asked():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 140, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 60, (200, 2))], axis=1)
    for change in changes({**EVERYTHING, "min_visibility": 0.4}, 12):
        kept, rows = change.boxes(boxes)
        assert (kept >= 0).all() and (kept <= np.array(change.size[::-1] * 2)).all()
        assert (kept[:, 2:] - kept[:, :2] >= 1).all()
        whole = replace(
            change,
            matrix=scaling(1, 1, 5000, 5000) @ change.matrix,
            size=(10000, 10000),
            displacements=None,
            min_visibility=0,
        ).boxes(boxes)[0][rows]
        if change.displacements is None:
            area = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (kept, whole)]
            assert (area[0] >= 0.4 * area[1] - 1e-6).all()
        assert 0 < len(rows) <= len(boxes)


def test_elastic_can_be_inverted_and_is_no_longer_than_asked():
    height, width = 90, 120
    for seed in range(10):
        rng = np.random.default_rng(seed)
        amplitude = 2.0 if seed % 2 else 50.0  # too long, and so shortened
        grid = draw_displacements(amplitude, height, width, rng)
        assert np.abs(grid).max() <= amplitude + 1e-5
        points = rng.uniform(-10, 130, (300, 2))
        back = undisplaced(points, grid, height, width)
        np.testing.assert_allclose(displaced(back, grid, height, width), points, atol=2e-3)
        x, y = np.meshgrid(np.linspace(0, width, 200), np.linspace(0, height, 200))
        there = displaced(np.stack([x, y], -1).reshape(-1, 2), grid, height, width)
        there = there.reshape(200, 200, 2)
        right, down = np.diff(there, axis=1)[:-1], np.diff(there, axis=0)[:, :-1]
        cell = (width / 199) * (height / 199)
        jacobian = (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]) / cell
        assert jacobian.min() >= 0.25 - 1e-3
        assert seed % 2 or jacobian.min() < 0.9  # as strong as it may be


def test_mirrored_is_the_mirror_image_of_everything():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    box = np.array([[40, 30, 120, 90.0]])
    for change in changes({**EVERYTHING, "cutout": 1.0}, 4):
        other = change.mirrored()
        difference = np.abs(change.image(image)[:, ::-1].astype(int) - other.image(image))
        assert np.quantile(difference, 0.99) <= 4  # positions are rounded to a part of a pixel
        width = change.size[1]
        (mine,), (mirrored,) = change.boxes(box)[0], other.boxes(box)[0]
        np.testing.assert_allclose(mirrored[[2, 0]], width - mine[[0, 2]], atol=0.01)
