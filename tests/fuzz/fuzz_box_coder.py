"""encode_boxes and decode_boxes: sizes, anchors shared by a batch, weights, clipping, bad boxes."""

import numpy as np
import torch

from sightline import ops, reference

from ..ops.box_cases import random_boxes

CASES = 20_000

# Of what each number is computed from, which `encoding_scale` and `decoding_scale` give.
EPS_OF_ENCODING, EPS_OF_DECODING = 3, 6


def draw_boxes(rng: np.random.Generator, n: int, dtype) -> np.ndarray:
    boxes = random_boxes(rng, n, np.float32)
    kind = rng.integers(0, 8, n)
    boxes[kind == 0, 2:] = boxes[kind == 0, :2]
    boxes[kind == 1] = boxes[kind == 1][:, [2, 3, 0, 1]]
    boxes[kind == 2] = np.round(boxes[kind == 2])
    boxes[rng.random(boxes.shape) < rng.choice([0, 0.02])] = np.nan
    return boxes.astype(dtype)


def encoding_scale(boxes, anchors, weights):
    """[N, 4]: of a shift the mean distance of the edges, in sizes of the anchor; of a scale 1 + its
    size, as the ratio inside of the logarithm is rounded."""
    edges = np.abs(boxes - anchors)
    size, unit = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    shift = (edges[:, :2] + edges[:, 2:]) / 2 / unit
    return np.abs(weights) * np.concatenate([shift, 1 + np.abs(np.log(size / unit))], 1)


def decoding_scale(deltas, anchors, weights):
    """[N, 4]: what an edge is summed from, without signs: the anchor's centre and size, the shift
    in pixels, half of the side."""
    centre = np.abs(anchors[:, :2] + anchors[:, 2:]) / 2
    unit, moves = np.abs(anchors[:, 2:] - anchors[:, :2]), deltas / np.array(weights)
    half = unit * np.minimum(np.exp(moves[:, 2:]), 62.5) / 2
    return np.tile(centre + unit + np.abs(moves[:, :2]) * unit + half, 2)


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    images, anchors_each = int(rng.integers(1, 4)), int(rng.integers(0, 120))
    anchors = draw_boxes(rng, anchors_each, dtype)
    boxes = draw_boxes(rng, images * anchors_each, dtype)
    deltas = (rng.normal(size=boxes.shape) * rng.choice([0.1, 1, 3])).astype(dtype)
    weights = tuple(rng.choice([1.0, 2.0, 5.0, 10.0, -4.0], 4).tolist())
    size = None if rng.random() < 0.5 else tuple(rng.integers(0, 120, 2).tolist())
    said = f"{images} x {anchors_each}, {dtype}, weights {weights}, size {size}"
    repeated = np.tile(anchors, (images, 1)).astype(float)
    as_tensors = rng.random() < 0.3

    def assert_close(function, rows, expected, scale, eps, **settings):
        arguments = [rows.reshape(images, anchors_each, 4), anchors]
        if as_tensors:
            arguments = [torch.from_numpy(a) for a in arguments]
        got = np.asarray(function(*arguments, weights, **settings)).reshape(-1, 4)
        assert got.dtype == dtype, said
        with np.errstate(all="ignore"):
            bound = eps * np.finfo(dtype).eps * scale(rows.astype(float), repeated, weights)
            close = (np.abs(got - expected) <= bound) | (got == expected)
        close |= np.isnan(got) & np.isnan(expected)
        if not close.all():
            row, column = np.argwhere(~close)[0]
            found = f"{got[row, column]}, not {expected[row, column]} at {[row, column]}"
            raise AssertionError(
                f"{function.__name__} of {said}: {found} from {rows[row].tolist()} and "
                f"{repeated[row].tolist()}"
            )

    expected = reference.encode_boxes(boxes, repeated, weights)
    assert_close(ops.encode_boxes, boxes, expected, encoding_scale, EPS_OF_ENCODING)
    expected = reference.decode_boxes(deltas, repeated, weights, size=size)
    assert_close(ops.decode_boxes, deltas, expected, decoding_scale, EPS_OF_DECODING, size=size)
