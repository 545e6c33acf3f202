"""Which kept box removed each box: `return_suppressed_by` of `nms` and `batched_nms`."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .box_cases import random_boxes
from .isa import output_of_every_level

BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.8, 0.9, 0.7], np.float32)


def explained(function, *arguments):
    keep, suppressed_by = function(*arguments, return_suppressed_by=True)
    return np.asarray(keep).tolist(), np.asarray(suppressed_by).tolist()


def test_the_best_kept_box_that_overlaps_enough_is_named():
    # The last overlaps both kept boxes; the better one, not the one it overlaps more, is named.
    boxes = np.array([[0, 0, 10, 10], [8, 0, 18, 10], [5, 0, 15, 10]], np.float32)
    assert explained(ops.nms, boxes, np.array([3, 2, 1]), 0.3) == ([0, 1], [-1, -1, 0])
    assert explained(ops.nms, boxes, np.array([2, 3, 1]), 0.3) == ([1, 0], [-1, -1, 1])
    assert explained(ops.nms, boxes, np.array([2, 3, 1]), 0.5) == ([1, 0], [-1, -1, 1])


def test_a_suppressed_box_is_never_named():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [6, 0, 16, 10]], np.float32)
    assert explained(ops.nms, boxes, np.array([3, 2, 1]), 0.2) == ([0], [-1, 0, 0])


def test_boxes_are_named_by_one_of_their_segment():
    boxes = np.repeat(BOXES[:1], 4, 0)
    got = explained(ops.batched_nms, boxes, np.array([4, 3, 2, 1]), np.array([7, 5, 5, 7]), 0.5)
    assert got == ([0, 1], [-1, -1, 1, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_equals_the_reference(dtype):
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 63, 64, 65, 1000):
        boxes = random_boxes(rng, n, dtype, bad=True)
        scores, idxs = np.round(rng.random(n), 2), rng.integers(-1, 2, n)
        for threshold in (0.0, 0.3, 0.8):
            expected = explained(reference.nms, boxes, scores, threshold)
            assert explained(ops.nms, boxes, scores, threshold) == expected
            b, s, i = map(torch.from_numpy, (boxes, scores, idxs))
            assert explained(ops.nms, b, s, threshold) == expected
            assert ops.nms(boxes, scores, threshold).tolist() == expected[0]
            expected = explained(reference.batched_nms, boxes, scores, idxs, threshold)
            assert explained(ops.batched_nms, boxes, scores, idxs, threshold) == expected
            assert explained(ops.batched_nms, b, s, i, threshold) == expected


def test_every_instruction_set_and_thread_count_names_the_same():
    code = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 700, (9000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (9000, 2))], 1)
scores = np.round(rng.random(9000), 3)
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        b = boxes.astype(dtype)
        for part in ops.nms(b, scores, 0.4, return_suppressed_by=True):
            print(dtype.__name__, hashlib.md5(part.tobytes()).hexdigest())
        tensors = torch.from_numpy(b), torch.from_numpy(scores)
        for part in ops.nms(*tensors, 0.4, return_suppressed_by=True):
            print(dtype.__name__, hashlib.md5(part.numpy().tobytes()).hexdigest())
"""
    lines = output_of_every_level(code).splitlines()
    assert lines[:4] == lines[:2] * 2 == lines[4:8] and lines[8:12] == lines[8:10] * 2 == lines[12:]


def test_torch_knows_the_op():
    rng = np.random.default_rng(1)
    boxes, scores = torch.from_numpy(random_boxes(rng, 40)), torch.from_numpy(rng.random(40))
    op = torch.ops.sightline.nms_suppressed_by
    torch.library.opcheck(op, (boxes, scores, None, 0.5))
    torch.library.opcheck(op, (boxes.double(), scores.float(), torch.arange(40) % 3, 0.5))

    def owners(boxes, scores):
        return ops.nms(boxes, scores, 0.5, return_suppressed_by=True)

    compiled = torch.compile(owners, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(boxes, scores), owners(boxes, scores), strict=True):
        assert got.tolist() == expected.tolist()


def test_cuda_names_what_the_cpu_names(cuda):
    rng = np.random.default_rng(2)
    for n in (0, 1, 65, 3000):
        boxes = torch.from_numpy(random_boxes(rng, n, bad=True))
        scores, idxs = torch.from_numpy(rng.random(n)), torch.from_numpy(rng.integers(-1, 2, n))
        on_gpu = [part.to(cuda) for part in (boxes, scores, idxs)]
        for got, expected in (
            (
                ops.nms(*on_gpu[:2], 0.4, return_suppressed_by=True),
                ops.nms(boxes, scores, 0.4, return_suppressed_by=True),
            ),
            (
                ops.batched_nms(*on_gpu, 0.4, return_suppressed_by=True),
                ops.batched_nms(boxes, scores, idxs, 0.4, return_suppressed_by=True),
            ),
        ):
            assert [part.tolist() for part in got] == [part.tolist() for part in expected]
