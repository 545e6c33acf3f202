"""multiclass_nms: shapes, thresholds, limits, shared and own boxes, against the reference."""

import numpy as np
import torch

from sightline import ops, reference

from .scored_boxes import THRESHOLDS, draw_boxes, draw_scores

CASES = 40_000


def check(rng: np.random.Generator) -> None:
    dtype, score_dtype = rng.choice([np.float32, np.float64], 2)
    shape = b, a, c = rng.integers(0, 4), int(rng.integers(0, 90)), int(rng.integers(0, 6))
    threshold = float(rng.choice(THRESHOLDS))
    own = bool(rng.random() < 0.3)
    boxes = draw_boxes(rng, b * a * (c if own else 1), dtype, threshold)
    boxes = boxes.reshape(b, a, c, 4) if own else boxes.reshape(b, a, 4)
    scores = draw_scores(rng, shape, score_dtype)
    settings = {
        "score_threshold": float(rng.choice([-np.inf, -0.5, 0.0, 0.3, 0.9, np.inf])),
        "iou_threshold": threshold,
        "max_detections": int(rng.choice([0, 1, 5, 40, a * c, a * c + 9])),
        "pre_top_k": rng.choice([None, 1, 10, 100]),
        "agnostic": bool(rng.random() < 0.4),
    }
    said = f"scores {shape} {score_dtype}, boxes {boxes.shape} {dtype}, {settings}"
    expected = reference.multiclass_nms(boxes, scores, **settings)
    results = [ops.multiclass_nms(boxes, scores, **settings)]
    if rng.random() < 0.2:
        tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
        results.append([part.numpy() for part in ops.multiclass_nms(*tensors, **settings)])
    for result in results:
        for got, want in zip(result, expected, strict=True):
            np.testing.assert_array_equal(got, want, said)
