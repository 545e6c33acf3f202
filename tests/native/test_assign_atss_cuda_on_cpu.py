"""The CUDA kernels of ATSS, run thread by thread on the CPU, give what the CPU kernels give."""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from ..ops.box_cases import random_boxes
from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, garbage, pointer, start


@pytest.fixture(scope="module")
def library():
    return build.library("assign_atss")


def levels_of(rng, sizes, dtype):
    """Anchors in levels: whole numbers, so that distances tie, or not; some are bad."""
    levels = [random_boxes(rng, size, dtype, bad=bool(rng.integers(2))) for size in sizes]
    return [np.round(level / 4) * 4 if rng.integers(2) else level for level in levels]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_atss_gives_what_the_cpu_gives(library, dtype):
    rng = np.random.default_rng(0)
    run = library[f"assign_atss_{np.dtype(dtype)}"]
    run.restype = ctypes.c_int64
    for seed, sizes in enumerate(
        [(1,), (0, 5), (255, 256, 257), (600, 0, 80, 3), (3,) * 16, (0, 0)]
    ):
        for images, objects, top_k in ((1, 0, 9), (2, 7, 1), (2, 5, 9), (2, 5, 300)):
            anchors = np.concatenate(levels_of(rng, sizes, dtype))
            gt_boxes = random_boxes(rng, images * objects, dtype, bad=True)
            gt_boxes = np.round(gt_boxes).reshape(images, objects, 4)
            out = garbage((images, len(anchors)), np.int64)
            start(library, seed)
            status = run(
                *map(pointer, (anchors, gt_boxes, out, np.array(sizes, np.int64))),
                *map(ctypes.c_int64, (len(sizes), images, objects, top_k)),
            )
            assert status == 0, "wrote past the workspace"
            expected = _numpy.assign_atss(anchors, sizes, gt_boxes, top_k)
            np.testing.assert_array_equal(out, expected)
            asked = counters(library)
            assert asked.kernels <= 2 and asked.synchronisations == asked.copies_to_host == 0
