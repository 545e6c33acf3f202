"""Outlines: hulls, areas, rotated boxes, run lengths and masks, against hand-worked cases."""

import numpy as np
import pytest

from sightline.formats.shapes import (
    Polygons,
    RunLengths,
    compress_runs,
    corners_of_rotated,
    mask_to_runs,
    polygon_area,
    polygons_to_runs,
    rotated_of_corners,
    run_lengths,
    runs_to_mask,
    shape_area,
    shape_hull,
    shape_to_mask,
    union_of,
)
from sightline.reference.iou_rotated import corners_of

L_SHAPE = [[0, 0], [4, 0], [4, 1], [1, 1], [1, 3], [0, 3]]  # 4 x 1 and 1 x 2


def test_area_of_a_polygon_is_that_of_the_shoelace_formula():
    assert polygon_area(L_SHAPE) == polygon_area(L_SHAPE[::-1]) == 6
    assert polygon_area(np.array(L_SHAPE) + 2**40) == 6  # exact far from the origin
    assert polygon_area([[0, 0], [4, 0]]) == polygon_area([]) == 0


def test_hull_and_area_of_several_polygons():
    shape = Polygons((L_SHAPE, [[6, 5], [8, 5], [8, 9]]))
    assert shape_hull(shape) == (0, 0, 8, 9)
    assert shape_area(shape) == 6 + 4


def test_hull_and_area_of_run_lengths():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    shape = mask_to_runs(mask)
    assert run_lengths(shape).tolist() == [9, 2, 2, 2, 2, 2, 5]  # down the columns
    assert shape_hull(shape) == (2, 1, 5, 3)
    assert shape_area(shape) == 6


def test_turn_of_90_degrees_is_against_the_clock_as_seen_in_the_image():
    (corners,) = corners_of_rotated([[10, 20, 4, 2, 90]])
    # The top left corner goes to the bottom left, the top right one to the top left.
    np.testing.assert_allclose(corners, [[9, 22], [9, 18], [11, 18], [11, 22]], atol=1e-12)


@pytest.mark.parametrize("angle", [-170.0, -90.0, 0.0, 30.0, 90.0, 135.0, 179.0])
def test_corners_of_a_rotated_box_are_those_of_its_overlaps_and_lead_back(angle):
    box = [31.25, 17.5, 12, 5, angle]
    corners = corners_of_rotated([box])
    np.testing.assert_allclose(corners[0], corners_of(box, "degrees"), atol=1e-12)
    np.testing.assert_allclose(rotated_of_corners(corners), [box], atol=1e-12)
    np.testing.assert_allclose(polygon_area(corners), 60)


def test_rotated_boxes_without_any_and_of_corners_that_are_no_rectangle():
    assert corners_of_rotated(np.zeros((0, 5))).shape == (0, 4, 2)
    assert rotated_of_corners(np.zeros((0, 4, 2))).shape == (0, 5)
    trapezoid = [[[0, 0], [10, 0], [8, 4], [2, 4]]]  # parallel sides of 10 and 6
    np.testing.assert_allclose(rotated_of_corners(trapezoid), [[5, 2, 8, 4, 0]])


def test_run_lengths_are_compressed_as_in_coco():
    # A run is written as its difference to the one before the last from the fourth on.
    assert compress_runs([6, 1, 40, 4, 5, 4, 5, 4, 21], (9, 10)) == b"61X13mN000`0"
    assert run_lengths(RunLengths((9, 10), b"61X13mN000`0")).tolist() == [
        *(6, 1, 40, 4, 5, 4, 5, 4, 21)
    ]


@pytest.mark.parametrize("runs", [[-1, 7], [2**32]])
def test_runs_out_of_range_are_refused(runs):
    with pytest.raises(ValueError, match="must lie in 0"):
        compress_runs(runs)


def test_runs_that_do_not_fill_their_image_are_refused():
    with pytest.raises(ValueError, match="do not add up"):
        compress_runs([1, 2], (2, 3))
    for broken in (RunLengths((2, 3), b"12"), RunLengths((2, 3), b"12z")):
        with pytest.raises(ValueError, match="shape"):
            shape_hull(broken)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 7)])
def test_masks_and_run_lengths_lead_back_to_each_other(size):
    mask = np.random.default_rng(0).random(size) < 0.5
    shape = mask_to_runs(mask)
    np.testing.assert_array_equal(runs_to_mask(shape), mask)
    np.testing.assert_array_equal(shape_to_mask(shape, size), mask)
    assert compress_runs(run_lengths(shape), size) == shape.counts


def test_polygons_are_drawn_as_the_pixels_within_and_cut_off_at_the_image():
    square = Polygons(([[2, 1], [9, 1], [9, 3], [2, 3]],))
    expected = np.zeros((4, 5), bool)
    expected[1:3, 2:] = True
    np.testing.assert_array_equal(shape_to_mask(square, (4, 5)), expected)
    assert polygons_to_runs(square, (4, 5)).size == (4, 5)
    both = Polygons((*square.rings, [[0, 0], [1, 0], [1, 1], [0, 1]]))
    expected[0, 0] = True
    np.testing.assert_array_equal(shape_to_mask(both, (4, 5)), expected)


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"of size \(2, 2\), the image of \(2, 3\)"):
        shape_to_mask(mask_to_runs(np.ones((2, 2))), (2, 3))


@pytest.mark.parametrize(("corner", "part"), [((2, 1), (3, 4)), ((0, 0), (5, 2)), ((4, 0), (5, 3))])
def test_part_of_an_image_gives_the_run_lengths_of_the_whole(corner, part):
    (x, y), size = corner, (5, 7)
    for seed, density in enumerate((0, 0.5, 1)):
        pixels = np.random.default_rng(seed).random(part) < density
        whole = np.zeros(size, bool)
        whole[y : y + part[0], x : x + part[1]] = pixels
        assert mask_to_runs(pixels, size, corner) == mask_to_runs(whole)


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (6, 0), (0, 4)])
def test_part_that_leaves_the_image_is_refused(corner):
    with pytest.raises(ValueError, match="is not in an image"):
        mask_to_runs(np.ones((2, 2)), (5, 7), corner)


def test_part_of_an_image_of_too_many_pixels_is_refused():
    with pytest.raises(ValueError, match="fewer than"):
        mask_to_runs(np.ones((2, 2)), (10**9, 10**9))


def test_union_of_outlines_is_the_pixels_of_any():
    first, second = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    first[1:3, 1:3], second[0, 5] = True, True
    square = Polygons(([[2, 2], [4, 2], [4, 4], [2, 4]],))
    union = union_of([mask_to_runs(first), square, mask_to_runs(second)], (4, 6))
    expected = first | second | shape_to_mask(square, (4, 6))
    np.testing.assert_array_equal(runs_to_mask(union), expected)
    with pytest.raises(ValueError, match="size differs"):
        union_of([mask_to_runs(first), mask_to_runs(first[1:])], (4, 6))
