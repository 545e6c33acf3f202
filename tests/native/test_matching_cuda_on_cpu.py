"""The CUDA kernels of match_anchors, run thread by thread on the CPU, give what the CPU gives."""

import ctypes
from itertools import product

import numpy as np
import pytest

from sightline import _numpy

from ..ops.box_cases import random_boxes
from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import Counters, counters, garbage, pointer, start


@pytest.fixture(scope="module")
def library():
    return build.library("matching")


def matches(library, anchors, gt_boxes, ignore_boxes, thresholds, flags, asked):
    """As `_numpy.match_anchors`, from the emulated kernels."""
    dtype, images, num_anchors = anchors.dtype, len(gt_boxes), len(anchors)
    index = garbage((images, num_anchors), np.int64)
    iou = garbage((images, num_anchors if asked[0] else 0), dtype)
    best_anchor = garbage((images, gt_boxes.shape[1] if asked[1] else 0), np.int64)
    sizes = np.array([num_anchors, *gt_boxes.shape[:2], ignore_boxes.shape[1]])
    call = getattr(library, f"match_anchors_{dtype}")
    call.restype = ctypes.c_int64
    status = call(
        *map(pointer, (anchors, gt_boxes, ignore_boxes, index)),
        pointer(iou if asked[0] else None), pointer(best_anchor if asked[1] else None),
        *map(pointer, (sizes, np.array(thresholds), np.array(flags, np.int64))),
    )  # fmt: skip
    assert status == 0, "wrote past the workspace"
    return index, iou, best_anchor


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "sizes",  # anchors, images, objects, regions
    [(0, 2, 3, 0), (5, 0, 3, 1), (1, 1, 0, 0), (255, 1, 1, 2), (257, 2, 9, 0), (600, 3, 300, 5),
     (300, 2, 20, 258)],
)  # fmt: skip
def test_matches_are_those_of_the_cpu(library, dtype, sizes):
    num_anchors, images, objects, regions = sizes
    rng = np.random.default_rng(num_anchors)
    anchors = random_boxes(rng, num_anchors, dtype, bad=True)
    gt_boxes = random_boxes(rng, images * objects, dtype, bad=True).reshape(images, objects, 4)
    gt_boxes[rng.random((images, objects)) < 0.2] = np.nan
    gt_boxes[1:, :1] += dtype(1000)  # overlaps none
    if num_anchors > 9:
        anchors[:3] = anchors[5]
        gt_boxes[:, 3:5] = anchors[5]
    ignore = random_boxes(rng, images * regions, dtype, bad=True).reshape(images, regions, 4)
    for seed, flags in enumerate(product((False, True), repeat=4)):
        thresholds = ((0.5, 0.25, 0.0, 0.5), (0.7, 0.3, 0.4, 0.9), (0.0, 0.0, 0.0, 0.0))[seed % 3]
        asked = (seed // 2 % 2 == 0, seed % 3 == 0)
        start(library, seed)
        got = matches(library, anchors, gt_boxes, ignore, thresholds, flags, asked)
        want = _numpy.match_anchors(anchors, gt_boxes, ignore, *thresholds, *flags, *asked)
        for part, of_cpu in zip(got, want, strict=True):
            np.testing.assert_array_equal(part, of_cpu, f"{flags} {thresholds}")
        assert counters(library).copies_to_host == counters(library).synchronisations == 0


def test_launches_do_not_grow_with_images_or_objects(library):
    def asked_by(images, objects):
        rng = np.random.default_rng(0)
        gt_boxes = random_boxes(rng, images * objects).reshape(images, objects, 4)
        none = np.zeros((images, 0, 4), np.float32)
        flags = (True, False, False, False)
        start(library, 0)
        anchors = random_boxes(rng, 300)
        matches(library, anchors, gt_boxes, none, (0.7, 0.3, 0, 0.5), flags, (False, False))
        return counters(library)._replace(barriers=0)

    assert asked_by(1, 3) == asked_by(4, 300) == Counters(3, 0, 1, 0, 0, 0)
