"""nms_padded: sizes, ties, bad boxes, segments, thresholds and cuts."""

import numpy as np
import torch

from sightline import ops, reference

from ..ops.box_cases import random_boxes

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    images, n = int(rng.integers(0, 4)), int(rng.integers(0, 120))
    dtype, score_dtype = rng.choice([np.float32, np.float64], 2)
    boxes = random_boxes(rng, images * n, dtype, bad=bool(rng.random() < 0.5))
    boxes = boxes.reshape(images, n, 4)
    if rng.random() < 0.3:  # whole numbers: equal boxes, and IoUs that lie on the threshold
        boxes = np.round(np.nan_to_num(boxes, posinf=9, neginf=-9) / 20).clip(-9, 9).astype(dtype)
    scores = np.round(rng.normal(0, 1, (images, n)), int(rng.integers(0, 4))).astype(score_dtype)
    scores[rng.random(scores.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    idxs = rng.integers(-2, 3, (images, n)) if rng.random() < 0.5 else None
    threshold = float(rng.choice([0, 8, 16, 32, 45, 64]) / 64)
    settings = {
        "max_detections": int(rng.choice([0, 1, 5, n, n + 3])),
        "score_threshold": float(rng.choice([-np.inf, -0.5, 0, 1])) if rng.random() < 0.5 else None,
    }
    segments = "no idxs" if idxs is None else "idxs"
    said = f"{images} images of {n}, {dtype}, {score_dtype}, {segments}, {threshold}, {settings}"
    expected = reference.nms_padded(boxes, scores, threshold, idxs=idxs, **settings)
    got = ops.nms_padded(boxes, scores, threshold, idxs=idxs, **settings)
    for part, want in zip(got, expected, strict=True):
        assert part.shape == want.shape and (part == want).all(), said
    if rng.random() < 0.2:
        given = [None if a is None else torch.from_numpy(a) for a in (boxes, scores, idxs)]
        got = ops.nms_padded(*given[:2], threshold, idxs=given[2], **settings)
        for part, want in zip(got, expected, strict=True):
            assert (part.numpy() == want).all(), f"tensors: {said}"
