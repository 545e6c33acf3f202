"""match_anchors: sizes, grids with ties, copies of objects among the anchors, thresholds, rules."""

import numpy as np
import torch

from sightline import ops, reference
from sightline.ops.matching import RULES

from ..ops.box_cases import random_boxes

CASES = 20_000


def draw_boxes(rng: np.random.Generator, n: int, dtype) -> np.ndarray:
    if rng.random() < 0.4:  # whole numbers in a small range: equal overlaps are frequent
        return rng.integers(-2, 8, (n, 4)).astype(dtype)
    return random_boxes(rng, n, dtype, bad=bool(rng.random() < 0.3))


def check(rng: np.random.Generator) -> None:
    dtype = rng.choice([np.float32, np.float64])
    anchors = draw_boxes(rng, int(rng.integers(0, 200)), dtype)
    images = [draw_boxes(rng, int(rng.integers(0, 12)), dtype) for _ in range(rng.integers(0, 4))]
    if images and len(anchors):
        images[0] = np.concatenate([images[0], rng.choice(anchors, rng.integers(0, 4))])
    gt_boxes = images[0] if len(images) == 1 else images
    # Numbers that float32 holds exactly, the ends among them; halves are frequent IoUs.
    low, high = np.sort(rng.choice([0, 16, 20, 32, 45, 64], 2)) / 64
    settings = {
        "high_threshold": float(high),
        "low_threshold": float(low),
        "allow_low_quality": bool(rng.random() < 0.7),
        "rule": str(rng.choice(RULES)),
    }
    said = f"{len(anchors)} anchors, objects {[len(i) for i in images]}, {dtype}, {settings}"
    expected = reference.match_anchors(anchors, gt_boxes, **settings)
    got = ops.match_anchors(anchors, gt_boxes, **settings)
    assert got.shape == expected.shape and (got == expected).all(), said
    if rng.random() < 0.2:
        single = isinstance(gt_boxes, np.ndarray)
        to_tensor = torch.from_numpy
        objects = to_tensor(gt_boxes) if single else [to_tensor(image) for image in images]
        got = ops.match_anchors(to_tensor(anchors), objects, **settings).numpy()
        assert (got == expected).all(), f"tensors: {said}"
