"""nms: boxes of all sizes and places, ties, IoUs about the threshold, against the reference."""

import numpy as np
import torch

from sightline import ops, reference

from .scored_boxes import THRESHOLDS, draw_boxes, draw_scores, draw_size

CASES = 60_000


def check(rng: np.random.Generator) -> None:
    dtype, score_dtype = rng.choice([np.float32, np.float64], 2)
    n, threshold = draw_size(rng), float(rng.choice(THRESHOLDS))
    boxes = draw_boxes(rng, n, dtype, threshold)
    scores = draw_scores(rng, n, score_dtype)
    said = f"{n} boxes, {dtype}, scores {score_dtype}, threshold {threshold}"
    expected = reference.nms(boxes, scores, threshold)
    assert ops.nms(boxes, scores, threshold).tolist() == expected.tolist(), said
    if rng.random() < 0.2:
        got = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
        assert got.tolist() == expected.tolist(), f"tensors: {said}"
