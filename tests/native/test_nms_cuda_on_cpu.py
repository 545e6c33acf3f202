"""The CUDA kernels of NMS, run thread by thread on the CPU, give what the CPU kernels give.

No GPU is needed: `cuda_on_cpu` says what such a run shows and what it cannot.
"""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import Counters, counters, garbage, pointer, start

TYPES = [(np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float32)]
SHORT = 4096  # float32 scores of a list that one block sorts


@pytest.fixture(scope="module")
def library():
    return build.library("nms")


def cluttered(rng, n, dtype=np.float32, spread=300.0):
    """Boxes in clusters and alone, some of them equal, degenerate, inverted or not finite."""
    centres = rng.uniform(-spread, spread, (max(n // 8, 1), 2))
    corner = centres[rng.integers(0, len(centres), n)] + rng.normal(0, 6, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (n, 2))], 1)
    kind = rng.integers(0, 24, n)
    boxes[kind == 0] = np.round(boxes[kind == 0], -1)
    boxes[kind == 1, 2:] = boxes[kind == 1, :2]
    boxes[kind == 2] = boxes[kind == 2][:, [2, 3, 0, 1]]
    for value in (np.nan, np.inf, -np.inf, 0.9 * float(np.finfo(dtype).max)):
        boxes[rng.random(boxes.shape) < 0.004] = value
    return boxes.astype(dtype)


def tied(rng, shape, dtype=np.float32):
    scores = np.round(rng.uniform(-1, 1, shape), int(rng.integers(1, 5))).astype(dtype)
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
        scores[rng.random(shape) < 0.01] = value
    return scores


def function(library, name, boxes, scores):
    found = getattr(library, f"{name}_{boxes.dtype}_{scores.dtype}")
    found.restype = ctypes.c_int64
    return found


def nms(library, boxes, scores, idxs, threshold):
    keep = garbage(len(boxes), np.int64)
    count = function(library, "nms", boxes, scores)(
        *map(pointer, (boxes, scores, idxs, keep)),
        ctypes.c_int64(len(boxes)), ctypes.c_double(threshold),
    )  # fmt: skip
    assert count >= 0, "wrote past the workspace"
    return keep[:count]


def nms_padded(library, boxes, scores, idxs, iou_threshold, max_detections, score_threshold):
    images, n = scores.shape
    indices, counts = garbage((images, max_detections), np.int64), garbage(images, np.int64)
    above = None if score_threshold is None else np.array(score_threshold, np.float64)
    status = function(library, "nms_padded", boxes, scores)(
        *map(pointer, (boxes, scores, idxs, indices, counts)),
        *map(ctypes.c_int64, (images, n, max_detections)),
        ctypes.c_double(iou_threshold), pointer(above),
    )  # fmt: skip
    assert status == 0, "wrote past the workspace"
    return indices, counts


def multiclass_nms(
    library, boxes, scores, above, iou_threshold, max_detections, pre_top_k, agnostic
):
    images, rows = scores.shape[0], (scores.shape[0], max_detections)
    outputs = (
        garbage((*rows, 4), boxes.dtype),
        garbage(rows, scores.dtype),
        garbage(rows, np.int64),
        garbage(images, np.int64),
    )
    own_boxes = boxes.ndim == 4
    sizes = np.array([*scores.shape, own_boxes, max_detections, pre_top_k, agnostic], np.int64)
    status = function(library, "multiclass_nms", boxes, scores)(
        *map(pointer, (boxes, scores, *outputs, sizes)),
        ctypes.c_double(above), ctypes.c_double(iou_threshold),
    )  # fmt: skip
    assert status == 0, "wrote past the workspace"
    return outputs


@pytest.mark.parametrize("dtypes", TYPES)
def test_nms_keeps_what_the_cpu_keeps(library, dtypes):
    rng = np.random.default_rng(0)
    for seed, n in enumerate((1, 2, 63, 64, 65, 255, 256, 257, 511, 513, 1000, 1500)):
        boxes, scores = cluttered(rng, n, dtypes[0]), tied(rng, n, dtypes[1])
        for threshold in (0.0, 0.3, 0.7, 1.0):
            start(library, seed)
            got = nms(library, boxes, scores, None, threshold)
            np.testing.assert_array_equal(got, _numpy.nms(boxes, scores, threshold))


@pytest.mark.parametrize("dtypes", TYPES)
def test_batched_nms_of_short_lists_keeps_what_the_cpu_keeps(library, dtypes):
    rng = np.random.default_rng(1)
    for seed, n in enumerate((1, 64, 300, 1100)):
        boxes, scores = cluttered(rng, n, dtypes[0], 40), tied(rng, n, dtypes[1])
        for idxs in (rng.integers(-3, 4, n), rng.choice([-(2**63), -1, 0, 2**63 - 1], n)):
            start(library, seed)
            got = nms(library, boxes, scores, idxs, 0.4)
            np.testing.assert_array_equal(got, _numpy.batched_nms(boxes, scores, idxs, 0.4))


@pytest.mark.parametrize("segments", [1, 3, 40, 3000])
def test_batched_nms_of_long_lists_keeps_what_the_cpu_keeps(library, segments):
    rng = np.random.default_rng(segments)
    n = SHORT + 700
    boxes, scores = cluttered(rng, n, np.float32, 900), tied(rng, n)
    # Some large segments among small ones, with borders at and between those of tiles.
    idxs = rng.integers(0, segments, n) - segments // 2
    idxs[: n // 4] = 0
    start(library, segments)
    got = nms(library, boxes, scores, idxs, 0.5)
    np.testing.assert_array_equal(got, _numpy.batched_nms(boxes, scores, idxs, 0.5))


def test_a_chain_of_boxes_in_which_each_suppresses_the_next(library):
    # Every other box is kept; each fate follows from the one before, through all tiles.
    left = np.arange(700, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 1.9, 0 * left + 1], 1)
    scores = -left
    for seed in range(3):
        start(library, seed)
        got = nms(library, boxes, scores, None, 0.3)
        np.testing.assert_array_equal(got, np.arange(0, 700, 2))


def test_suppressed_by_says_what_the_cpu_says(library):
    rng = np.random.default_rng(5)
    for seed, n in enumerate((0, 1, 257, 900)):
        boxes, scores = cluttered(rng, n, spread=60), tied(rng, n)
        for idxs in (None, rng.integers(0, 3, n)):
            keep, suppressed_by = garbage(n, np.int64), garbage(n, np.int64)
            start(library, seed)
            count = function(library, "nms_suppressed_by", boxes, scores)(
                *map(pointer, (boxes, scores, idxs, keep, suppressed_by)),
                ctypes.c_int64(n), ctypes.c_double(0.5),
            )  # fmt: skip
            want = _numpy.nms_suppressed_by(boxes, scores, idxs, 0.5)
            np.testing.assert_array_equal(keep[:count], want[0])
            np.testing.assert_array_equal(suppressed_by, want[1])


def test_nms_padded_is_nms_of_each_image_cut(library):
    rng = np.random.default_rng(2)
    cases = [(1, 0), (3, 1), (2, 256), (3, 257), (2, 1300), (1, SHORT + 300), (2, SHORT + 100)]
    for seed, (images, n) in enumerate(cases):
        boxes = cluttered(rng, images * n).reshape(images, n, 4)
        scores, idxs = tied(rng, (images, n)), rng.integers(0, 3, (images, n))
        for max_detections, above in ((0, None), (5, 0.2), (n + 3, None), (100, -np.inf), (9, 2.0)):
            segments = idxs if seed % 2 else None
            start(library, seed)
            settings = (segments, 0.4, max_detections, above)
            got = nms_padded(library, boxes, scores, *settings)
            for part, want in zip(got, _numpy.nms_padded(boxes, scores, *settings), strict=True):
                np.testing.assert_array_equal(part, want)


@pytest.mark.parametrize("dtypes", TYPES)
def test_multiclass_nms_gives_what_the_cpu_gives(library, dtypes):
    rng = np.random.default_rng(3)
    shapes = [(0, 3, 2), (2, 0, 3), (2, 3, 0), (1, 1, 1), (3, 65, 5), (2, 500, 3), (2, 600, 8)]
    for seed, (b, a, c) in enumerate(shapes):
        scores = tied(rng, (b, a, c), dtypes[1])
        shared = cluttered(rng, b * a, dtypes[0], 60).reshape(b, a, 4)
        own = cluttered(rng, b * a * c, dtypes[0], 60).reshape(b, a, c, 4)
        for boxes in (shared, own):
            for settings in (
                (0.6, 0.4, 0, 9**9, False),
                (0.1, 0.4, 10, 7, False),
                (-np.inf, 0.5, 300, 900, False),
                (-np.inf, 0.5, 300, 900, True),
            ):
                start(library, seed)
                got = multiclass_nms(library, boxes, scores, *settings)
                expected = _numpy.multiclass_nms(boxes, scores, *settings)
                for part, want in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(part, want)


def test_launches_do_not_grow_with_the_boxes_and_padded_forms_never_wait(library):
    rng = np.random.default_rng(4)

    def asked_by(call, n, *arguments):
        start(library, 0)
        boxes, scores = cluttered(rng, n), tied(rng, n)
        call(library, boxes, scores, *arguments)
        return counters(library)._replace(barriers=0)

    def padded(library, boxes, scores, images):
        boxes, scores = boxes.reshape(images, -1, 4), scores.reshape(images, -1)
        nms_padded(library, boxes, scores, None, 0.5, 10, None)

    for n in (8, 1000, SHORT):
        assert asked_by(nms, n, None, 0.5) == Counters(2, 0, 0, 1, 1, 0)
        assert asked_by(padded, n, 1) == asked_by(padded, n, 8) == Counters(2, 0, 0, 0, 0, 0)
    for n in (SHORT + 100, 6000):
        assert asked_by(nms, n, None, 0.5) == Counters(3, 1, 0, 1, 1, 0)
        assert asked_by(nms, n, np.arange(n) % 9, 0.5) == Counters(5, 3, 0, 1, 1, 0)
        assert asked_by(padded, n, 1) == Counters(3, 1, 0, 0, 0, 0)
    assert asked_by(padded, 2 * SHORT + 100, 2) == Counters(4, 2, 0, 0, 0, 0)


def test_nms_padded_looks_at_no_more_tiles_than_it_takes(library):
    # Boxes far from each other: the first tile alone fills an image.
    n = 20 * 256
    left = 3 * np.arange(n, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 1, 0 * left + 1], 1)[None]

    def barriers(max_detections):
        start(library, 0)
        indices, _ = nms_padded(library, boxes, -left[None], None, 0.5, max_detections, None)
        assert indices[0].tolist() == list(range(max_detections))
        return counters(library).barriers

    assert barriers(200) < barriers(n) / 3
