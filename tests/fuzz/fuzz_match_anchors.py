"""match_anchors: sizes, grids with ties, copies of objects among the anchors, thresholds, rules,
regions to ignore, and what else it returns."""

import numpy as np
import torch

from sightline import ops, reference
from sightline.ops.matching import RULES
from sightline.reference.matching import match_image

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
    regions = [draw_boxes(rng, int(rng.integers(0, 4)), dtype) for _ in images]
    if images and len(anchors):
        images[0] = np.concatenate([images[0], rng.choice(anchors, rng.integers(0, 4))])
    # Numbers that float32 holds exactly, the ends among them; halves are frequent IoUs.
    low, high = np.sort(rng.choice([0, 16, 20, 32, 45, 64], 2)) / 64
    settings = {
        "high_threshold": float(high),
        "low_threshold": float(low),
        "allow_low_quality": bool(rng.random() < 0.7),
        "first_anchor_only": bool(rng.random() < 0.3),
        "min_positive_iou": float(rng.choice([0, 0, 0.125, 0.5])),
        "rule": str(rng.choice(RULES)),
    }
    said = f"{len(anchors)} anchors, objects {[len(i) for i in images]}, {dtype}, {settings}"
    if rng.random() < 0.3:
        settings |= {"ignore_boxes": regions, "ignore_threshold": float(rng.choice([0, 0.5]))}
        said += f", regions {[len(r) for r in regions]}"
    expected = reference.match_anchors(anchors, images, **settings)
    got = ops.match_anchors(anchors, images, **settings)
    assert got.shape == expected.shape and (got == expected).all(), said
    everything = {"return_iou": True, "return_best_anchor": True}
    for image, objects in enumerate(images):
        one = {**settings}
        if "ignore_boxes" in settings:
            one["ignore_boxes"] = regions[image]
        got_all = ops.match_anchors(anchors, objects, **one, **everything)
        for name, a, b in zip(got_all._fields, got_all, match_image(anchors, objects, **one)):
            assert a.shape == b.shape and (a == b).all(), f"{name} of image {image}: {said}"
    if rng.random() < 0.2:
        to_tensors = {"ignore_boxes": [torch.from_numpy(region) for region in regions]}
        settings |= to_tensors if "ignore_boxes" in settings else {}
        objects = [torch.from_numpy(image) for image in images]
        got = ops.match_anchors(torch.from_numpy(anchors), objects, **settings).numpy()
        assert (got == expected).all(), f"tensors: {said}"
