"""encode_boxes and decode_boxes: sizes, anchors shared by a batch, weights, clipping, bad boxes."""

import numpy as np
import torch

from sightline import ops, reference

from ..ops.box_cases import random_boxes

CASES = 20_000

TOLERANCE = {np.float32: 4e-6, np.float64: 1e-13}


def draw_boxes(rng: np.random.Generator, n: int, dtype) -> np.ndarray:
    boxes = random_boxes(rng, n, np.float32)
    kind = rng.integers(0, 8, n)
    boxes[kind == 0, 2:] = boxes[kind == 0, :2]
    boxes[kind == 1] = boxes[kind == 1][:, [2, 3, 0, 1]]
    boxes[kind == 2] = np.round(boxes[kind == 2])
    boxes[rng.random(boxes.shape) < rng.choice([0, 0.02])] = np.nan
    return boxes.astype(dtype)


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    images, anchors_each = int(rng.integers(1, 4)), int(rng.integers(0, 120))
    anchors = draw_boxes(rng, anchors_each, dtype)
    boxes = draw_boxes(rng, images * anchors_each, dtype)
    deltas = (rng.normal(size=boxes.shape) * rng.choice([0.1, 1, 3])).astype(dtype)
    weights = tuple(rng.choice([1.0, 2.0, 5.0, 10.0, -4.0], 4).tolist())
    size = None if rng.random() < 0.5 else tuple(rng.integers(0, 120, 2).tolist())
    said = f"{images} x {anchors_each}, {dtype}, weights {weights}, size {size}"
    repeated = np.tile(anchors, (images, 1))
    as_tensors = rng.random() < 0.3

    def assert_close(function, rows, expected, **settings):
        arguments = [rows.reshape(images, anchors_each, 4), anchors]
        if as_tensors:
            arguments = [torch.from_numpy(a) for a in arguments]
        got = np.asarray(function(*arguments, weights, **settings)).reshape(-1, 4)
        assert got.dtype == dtype, said
        # Errors are relative to the largest coordinate, as differences of coordinates are.
        scale = np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(initial=100)
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(
            got, expected, rtol=tolerance, atol=tolerance * scale, err_msg=f"{function} of {said}"
        )

    assert_close(ops.encode_boxes, boxes, reference.encode_boxes(boxes, repeated, weights))
    expected = reference.decode_boxes(deltas, repeated, weights, size=size)
    assert_close(ops.decode_boxes, deltas, expected, size=size)
