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
    arguments = (boxes, scores, threshold)
    keep, by = reference.nms(*arguments, return_suppressed_by=True)
    assert ops.nms(*arguments).tolist() == keep.tolist(), said
    got = ops.nms(*arguments, return_suppressed_by=True)
    assert got[0].tolist() == keep.tolist() and got[1].tolist() == by.tolist(), said
    if rng.random() < 0.2:
        tensors = map(torch.from_numpy, arguments[:-1])
        assert ops.nms(*tensors, threshold).tolist() == keep.tolist(), f"tensors: {said}"
