"""The CUDA kernel of YOLO's assignment, run on the CPU, gives what the CPU kernel gives."""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from ..ops.box_cases import random_boxes
from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, garbage, pointer, start


@pytest.fixture(scope="module")
def library():
    return build.library("assign_yolo")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_yolo_gives_what_the_cpu_gives(library, dtype):
    rng = np.random.default_rng(0)
    run = library[f"assign_yolo_{np.dtype(dtype)}"]
    levels = np.array([(3, 12, 13), (2, 6, 7), (0, 3, 3), (4, 3, 4)], np.int64)
    strides = np.array([8.0, 16.0, 20.0, 32.0])
    for seed, (images, objects) in enumerate([(0, 3), (2, 0), (3, 5), (2, 300)]):
        for rule in (2, 3, 5):
            gt_boxes = np.round(random_boxes(rng, images * objects, dtype, bad=True))
            gt_boxes = gt_boxes.reshape(images, objects, 4)
            shapes = rng.integers(4, 60, (levels[:, 0].sum(), 2)).astype(dtype)
            out = garbage((images, levels.prod(1).sum()), np.int64)
            start(library, seed)
            run(
                *map(pointer, (gt_boxes, shapes, out, levels, strides)),
                *map(ctypes.c_int64, (len(levels), images, objects, rule)),
                ctypes.c_double(3),
            )
            columns = map(list, levels.T)
            expected = _numpy.assign_yolo(gt_boxes, shapes, *columns, list(strides), rule, 3.0)
            np.testing.assert_array_equal(out, expected)
            asked = counters(library)
            assert asked.kernels <= 1 and asked.synchronisations == asked.copies_to_host == 0
