"""The CUDA kernels of detection metrics, run on the CPU, give what the CPU kernels give."""

import ctypes
import itertools

import numpy as np
import pytest

from sightline import _numpy

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, garbage, pointer, start

THRESHOLDS, RECALLS = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
AREAS = np.array([[0, 1e10], [0, 40], [40, 200], [200, 1e10]], np.float64)


@pytest.fixture(scope="module")
def library():
    return build.library("average_precision")


def draw_groups(rng, groups, most):
    """Whole-numbered boxes, so that overlaps tie and lie on the thresholds; some offsets repeat."""

    def side(most):
        counts = rng.integers(0, most + 1, groups) * (rng.random(groups) < 0.8)
        boxes = rng.integers(0, 6, (int(counts.sum()), 4)) + np.array([0, 0, 1, 1])
        return np.append(0, np.cumsum(counts)), (boxes * rng.choice([1.0, 10.0])).astype(float)

    (dt_offsets, dt_boxes), (gt_offsets, gt_boxes) = side(most), side(max(most // 4, 1))
    area = gt_boxes[:, 2] * gt_boxes[:, 3] * rng.choice([1, 0.5], len(gt_boxes))
    crowd, ignore = (rng.random(len(gt_boxes)) < share for share in (0.2, 0.1))
    dt_order = np.concatenate(
        [begin + rng.permutation(end - begin) for begin, end in itertools.pairwise(dt_offsets)]
        or [np.zeros(0, np.int64)]
    )
    return dt_boxes, dt_order, dt_offsets, gt_boxes, area, crowd, ignore, gt_offsets


def match(library, columns, rule, inclusive, cap, seed):
    dt_boxes, gt_boxes, groups = columns[0], columns[3], len(columns[2]) - 1
    shape = len(AREAS), len(THRESHOLDS), len(dt_boxes)
    sizes = np.array([len(dt_boxes), len(gt_boxes), groups, 10, 4, cap, rule, inclusive])
    outcome, index = garbage(shape, np.int8), garbage(shape, np.int64)
    count = garbage((len(AREAS), groups), np.int64)
    taken = np.zeros((len(AREAS), len(THRESHOLDS), len(gt_boxes)), np.uint8)
    start(library, seed)
    library.match_detections(
        *map(pointer, (*columns, THRESHOLDS, AREAS, sizes, outcome, count, index, taken))
    )
    return outcome, count, index


@pytest.mark.parametrize(("rule", "inclusive"), [(0, False), (1, True)])
def test_matching_gives_what_the_cpu_gives(library, rule, inclusive):
    rng = np.random.default_rng(rule)
    for seed, (groups, most) in enumerate([(0, 0), (1, 0), (1, 40), (70, 8), (300, 3), (9, 70)]):
        columns = draw_groups(rng, groups, most)
        for cap in (100, 5):
            ours = match(library, columns, rule, inclusive, cap, seed)
            asked = counters(library)
            assert asked.kernels <= 1 and asked.synchronisations == asked.copies_to_host == 0
            wanted = _numpy.match_detections(
                *columns, THRESHOLDS, AREAS, cap, rule, inclusive, True
            )
            for a, b in zip(ours, wanted):
                np.testing.assert_array_equal(a, b)


def test_accumulation_gives_what_the_cpu_gives(library):
    rng = np.random.default_rng(2)
    caps = np.array([1, 10, 100])
    for seed, (classes, most) in enumerate([(0, 0), (1, 0), (1, 1), (5, 64), (40, 30), (2, 1000)]):
        counts = rng.integers(0, most + 1, classes)
        rows = int(counts.sum())
        outcome = rng.choice([-1, 0, 1], (len(AREAS), len(THRESHOLDS), rows)).astype(np.int8)
        gt_count = rng.integers(0, max(most, 1) + 1, (len(AREAS), classes))
        scores = np.round(rng.random(rows), 1)
        offsets, order = np.append(0, np.cumsum(counts)), rng.permutation(rows)
        columns = (outcome, scores, order, rng.integers(0, 120, rows), offsets, gt_count, caps)
        sizes = np.array([rows, classes, 10, 4, 3, 101])
        shape = len(THRESHOLDS), len(RECALLS), classes, len(AREAS), len(caps)
        precision, score_at = garbage(shape, np.float64), garbage(shape, np.float64)
        recall = garbage((shape[0], *shape[2:]), np.float64)
        start(library, seed)
        library.accumulate_precision(
            *map(pointer, (*columns, RECALLS, sizes, precision, recall, score_at))
        )
        asked = counters(library)
        assert asked.kernels <= 1 and asked.synchronisations == asked.copies_to_host == 0
        wanted = _numpy.accumulate_precision(*columns, RECALLS)
        for a, b in zip((precision, recall, score_at), wanted):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", [0, 1, 2])
def test_average_precision_gives_what_the_cpu_gives(library, method):
    rng = np.random.default_rng(3)
    for seed, (curves, points) in enumerate([(0, 5), (3, 0), (1, 1), (70, 13), (300, 64)]):
        recall = np.sort(np.round(rng.random((curves, points)), 1), axis=1)
        precision, out = rng.random((curves, points)), garbage(curves, np.float64)
        start(library, seed)
        library.average_precision(
            *map(pointer, (recall, precision, out)),
            *map(ctypes.c_int64, (curves, points, method)),
        )
        wanted = _numpy.average_precision(recall, precision, method)
        np.testing.assert_array_equal(out, wanted)
