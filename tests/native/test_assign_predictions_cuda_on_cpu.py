"""The CUDA kernels of task alignment and SimOTA, run on the CPU, give what the CPU kernels give."""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from ..ops.box_cases import random_boxes
from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, garbage, pointer, start

# images, anchors, objects, top_k: few, none, more than a buffer of picks, many wanted
SHAPES = ((1, 1, 1, 1), (2, 300, 0, 9), (2, 257, 7, 10), (1, 2100, 4, 3), (1, 1500, 3, 512))


@pytest.fixture(scope="module")
def library():
    return build.library("assign_predictions")


def case(rng, images, anchors, objects, dtype):
    """Scores, boxes, points, strides, objects and labels; some equal, some bad, some wrong."""
    scores = (rng.integers(0, 9, (images, anchors, 19)) / 8).astype(dtype)
    scores[rng.random(scores.shape) < 0.001] = np.nan
    boxes = np.round(random_boxes(rng, images * anchors, dtype, bad=True)).reshape(images, -1, 4)
    points = np.round(rng.uniform(0, 100, (anchors, 2))).astype(dtype)
    strides = rng.choice([8, 16, 32], anchors).astype(dtype)
    gt_boxes = random_boxes(rng, images * objects, dtype, bad=True).reshape(images, objects, 4)
    gt_boxes[:, ::3] = [1, 1, 99, 99]
    labels = rng.integers(-1, 19, (images, objects))
    return scores, boxes, points, strides, gt_boxes, labels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ["task_aligned", "sim_ota"])
def test_kernels_give_what_the_cpu_gives(library, op, dtype):
    rng = np.random.default_rng(0)
    run = library[f"{op}_{np.dtype(dtype)}"]
    run.restype = ctypes.c_int64
    for seed, (images, anchors, objects, top_k) in enumerate(SHAPES):
        arrays = case(rng, images, anchors, objects, dtype)
        if op == "task_aligned":
            arrays = (*arrays[:3], *arrays[4:])
            settings = top_k, [top_k, 2][seed % 2], 1.0, [6.0, 0.7][seed % 2], bool(seed % 2)
            expected = _numpy.assign_task_aligned(*arrays, *settings)
        else:
            settings = top_k, 2.5, 3.0, 1.0
            expected = _numpy.assign_sim_ota(*arrays, *settings)
        out = [garbage((images, anchors), value.dtype) for value in expected]
        of_type = {int: ctypes.c_int64, float: ctypes.c_double, bool: ctypes.c_bool}
        start(library, seed)
        status = run(
            *map(pointer, (*arrays, *out)),
            *map(ctypes.c_int64, (images, anchors, objects, 19)),
            *(of_type[type(value)](value) for value in settings),
        )
        assert status == 0, "wrote past the workspace"
        for own, other in zip(out, expected):
            np.testing.assert_array_equal(own, other)
        if objects > 2:
            assert (expected[0] >= 0).any()
        asked = counters(library)
        assert asked.kernels <= 5 and asked.synchronisations == asked.copies_to_host == 0
