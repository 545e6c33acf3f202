"""box_iou_max: sizes with either side the larger, whole numbers with ties, bad boxes, order."""

import numpy as np
import torch

from sightline import ops, reference

from ..ops.box_cases import random_boxes

CASES = 20_000


def draw_boxes(rng: np.random.Generator, n: int, dtype) -> np.ndarray:
    kind = rng.random()
    if kind < 0.3:  # whole numbers in a small range: equal overlaps are frequent
        return rng.integers(-2, 8, (n, 4)).astype(dtype)
    if kind < 0.6:  # of every size, far apart
        centre = rng.uniform(0, 1000, (n, 2))
        side = np.exp2(rng.uniform(-2, 9, (n, 2))) / 2
        return np.concatenate([centre - side, centre + side], 1).round().astype(dtype)
    return random_boxes(rng, n, dtype, bad=bool(rng.random() < 0.5))


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    sizes = rng.integers(0, 200, 2)
    if rng.random() < 0.05:  # enough for the boxes to be put into an order
        sizes = np.array([rng.integers(4096, 6000), rng.integers(100, 150)])
    boxes1, boxes2 = (draw_boxes(rng, int(n), dtype) for n in rng.permutation(sizes))
    if len(boxes1) and len(boxes2) and rng.random() < 0.3:
        boxes2[: len(boxes2) // 2] = rng.choice(boxes1, len(boxes2) // 2)
    said = f"{len(boxes1)} x {len(boxes2)} boxes, {dtype}"
    expected = reference.box_iou_max(boxes1, boxes2)
    got = ops.box_iou_max(boxes1, boxes2)
    if rng.random() < 0.2:
        said = f"tensors: {said}"
        got = [p.numpy() for p in ops.box_iou_max(*map(torch.from_numpy, (boxes1, boxes2)))]
    for name, part, want in zip(expected._fields, got, expected):
        assert part.dtype == want.dtype and (part == want).all(), f"{name}: {said}"
