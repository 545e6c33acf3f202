"""box_iou_topk: sizes with either side the larger, whole numbers with ties, bad boxes, any k."""

import numpy as np
import torch

from sightline import ops, reference

from .fuzz_box_iou_max import draw_boxes

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    sizes = rng.integers(0, 200, 2)
    if rng.random() < 0.02:  # enough for the boxes to be put into an order
        sizes = np.array([rng.integers(4096, 6000), rng.integers(100, 150)])
    boxes1, boxes2 = (draw_boxes(rng, int(n), dtype) for n in rng.permutation(sizes))
    k = int(rng.choice([0, 1, 2, 9, 13, 100, 250]))
    said = f"{len(boxes1)} x {len(boxes2)} boxes, {dtype}, k {k}"
    expected = reference.box_iou_topk(boxes1, boxes2, k)
    got = ops.box_iou_topk(boxes1, boxes2, k)
    if rng.random() < 0.2:
        said = f"tensors: {said}"
        got = [p.numpy() for p in ops.box_iou_topk(*map(torch.from_numpy, (boxes1, boxes2)), k)]
    for name, part, want in zip(expected._fields, got, expected):
        assert part.dtype == want.dtype and (part == want).all(), f"{name}: {said}"
