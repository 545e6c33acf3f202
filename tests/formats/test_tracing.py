"""Polygons of masks: corners by hand, and the mask that they give again."""

import numpy as np
import pytest

from sightline.formats.shapes import mask_to_runs, polygon_area, shape_area, shape_to_mask
from sightline.formats.tracing import mask_to_polygons, runs_to_polygons


def test_parts_that_touch_in_a_corner_are_two_rings():
    first, second = mask_to_polygons([[1, 0, 0], [0, 1, 1]]).rings
    np.testing.assert_array_equal(first, [[0, 1], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(second, [[1, 2], [1, 1], [3, 1], [3, 2]])


def test_hole_is_joined_by_a_seam():
    mask = np.ones((3, 5), bool)
    mask[1, 2] = False
    (ring,) = mask_to_polygons(mask).rings
    hole = [[0, 1], [2, 1], [2, 2], [3, 2], [3, 1], [0, 1]]
    assert ring.tolist() == [[0, 3], *hole, [0, 0], [5, 0], [5, 3]]
    assert polygon_area(ring) == 14


def test_mask_without_a_pixel_has_no_ring():
    assert mask_to_polygons(np.zeros((3, 4))).rings == ()


@pytest.mark.parametrize("seed", range(8))
def test_polygons_of_a_mask_give_the_mask_again(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 40, 2).tolist())
    mask = rng.random(size) < rng.choice([0.1, 0.5, 0.9])
    if seed % 2:  # larger parts and holes, within holes too
        mask = np.kron(mask, np.ones((3, 2), bool))
    polygons = mask_to_polygons(mask)
    np.testing.assert_array_equal(shape_to_mask(polygons, mask.shape), mask)
    assert shape_area(polygons) == mask.sum()
    again = runs_to_polygons(mask_to_runs(mask))
    assert [ring.tolist() for ring in again.rings] == [ring.tolist() for ring in polygons.rings]
