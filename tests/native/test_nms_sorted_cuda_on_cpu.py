"""Soft, matrix and rotated NMS and weighted boxes fusion on CUDA give what the CPU kernels give.

These sort boxes by score and by segment before they start. The kernels run thread by thread on the
CPU: `cuda_on_cpu` says what such a run shows and what it cannot.
"""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import garbage, pointer, start
from .test_nms_cuda_on_cpu import cluttered, tied

SIZES = (1, 2, 65, 300)
DTYPES = (np.float32, np.float64)


@pytest.fixture(scope="module")
def library():
    return build.library("nms_sorted")


def call(library, name, dtype, arrays, *settings):
    found = getattr(library, f"{name}_{np.dtype(dtype)}")
    found.restype = ctypes.c_int64
    given = [ctypes.c_double(s) if isinstance(s, float) else ctypes.c_int64(s) for s in settings]
    status = found(*map(pointer, arrays), *given)
    assert status >= 0, "wrote past the workspace"
    return status


def cases(dtype, seed):
    """Boxes and scores of each size, with and without segments, some of them of the same boxes."""
    rng = np.random.default_rng(seed)
    for n in SIZES:
        boxes, scores = cluttered(rng, n, dtype, 60), tied(rng, n, dtype)
        for idxs in (None, rng.choice([-(2**63), -1, 0, 2**63 - 1], n)):
            start(build.library("nms_sorted"), n)
            yield boxes, scores, idxs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gaussian", [False, True])
def test_soft_nms_keeps_and_lowers_what_the_cpu_does(library, dtype, gaussian):
    for boxes, scores, idxs in cases(dtype, 1):
        n = len(boxes)
        for threshold, most in ((0.1, n), (0.001, 9)):
            keep, kept_scores = garbage(n, np.int64), garbage(n, dtype)
            count = call(
                library, "soft_nms", dtype, (boxes, scores, idxs, keep, kept_scores),
                n, gaussian, threshold, most,
            )  # fmt: skip
            want = _numpy.soft_nms(boxes, scores, idxs, gaussian, 0.3, 0.5, threshold, most)
            np.testing.assert_array_equal(keep[:count], want[0])
            np.testing.assert_array_equal(kept_scores[:count], want[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gaussian", [False, True])
def test_matrix_nms_lowers_scores_as_the_cpu_does(library, dtype, gaussian):
    for boxes, scores, idxs in cases(dtype, 2):
        decayed = garbage(len(boxes), dtype)
        call(library, "matrix_nms", dtype, (boxes, scores, idxs, decayed), len(boxes), gaussian)
        want = _numpy.matrix_nms(boxes, scores, idxs, gaussian, 2.0)
        np.testing.assert_array_equal(decayed, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_rotated_keeps_what_the_cpu_keeps(library, dtype):
    rng = np.random.default_rng(3)
    for boxes, scores, idxs in cases(dtype, 3):
        turned = np.concatenate([boxes, rng.uniform(-90, 90, (len(boxes), 1)).astype(dtype)], 1)
        turned[:, 2:4] = np.abs(boxes[:, 2:] - boxes[:, :2])
        keep = garbage(len(boxes), np.int64)
        count = call(library, "nms_rotated", dtype, (turned, scores, idxs, keep), len(boxes), 0.3)
        want = _numpy.nms_rotated(turned, scores, idxs, 0.3, True)
        np.testing.assert_array_equal(keep[:count], want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_boxes_fusion_fuses_as_the_cpu_does(library, dtype):
    rng = np.random.default_rng(4)
    weights = np.array([2.0, 1.0, 0.5])
    for boxes, scores, idxs in cases(dtype, 4):
        n = len(boxes)
        labels = np.zeros(n, np.int64) if idxs is None else idxs
        models = rng.integers(0, 3, n)
        fused = garbage((n, 4), dtype), garbage(n, dtype), garbage(n, np.int64)
        count = call(
            library, "weighted_boxes_fusion", dtype,
            (boxes, scores, labels, models, weights, *fused), n, 3, 3.5, 2.0, 0.4,
        )  # fmt: skip
        want = _numpy.weighted_boxes_fusion(
            boxes, scores, labels, models, weights.tolist(), 0.4, 0.05, 0, False
        )
        for part, expected in zip(fused, want, strict=True):
            np.testing.assert_array_equal(part[:count], expected)
