"""batched_nms: segments of all kinds of numbers and sizes, against the reference."""

import numpy as np
import torch

from sightline import ops, reference

from .scored_boxes import THRESHOLDS, draw_boxes, draw_scores, draw_size

CASES = 60_000


def draw_idxs(rng, n: int) -> np.ndarray:
    kind = rng.choice(["few", "many", "far apart", "small dtype", "one large"])
    if kind == "few":
        return rng.integers(-1, 2, n)
    if kind == "many":
        return rng.integers(0, 1 + n, n)
    if kind == "far apart":
        return rng.choice([-(2**63), -(2**40), 0, 3, 2**63 - 1], n)
    if kind == "small dtype":
        return rng.integers(0, 80, n, np.uint8)
    return np.where(rng.random(n) < 0.9, 7, rng.integers(0, 9, n))


def check(rng: np.random.Generator) -> None:
    dtype, score_dtype = rng.choice([np.float32, np.float64], 2)
    n, threshold = draw_size(rng), float(rng.choice(THRESHOLDS))
    boxes = draw_boxes(rng, n, dtype, threshold)
    scores, idxs = draw_scores(rng, n, score_dtype), draw_idxs(rng, n)
    said = (
        f"{n} boxes, {dtype}, scores {score_dtype}, threshold {threshold}, "
        f"{len(np.unique(idxs))} segments of {idxs.dtype}"
    )
    arguments = (boxes, scores, idxs, threshold)
    keep, by = reference.batched_nms(*arguments, return_suppressed_by=True)
    assert ops.batched_nms(*arguments).tolist() == keep.tolist(), said
    got = ops.batched_nms(*arguments, return_suppressed_by=True)
    assert got[0].tolist() == keep.tolist() and got[1].tolist() == by.tolist(), said
    if rng.random() < 0.2:
        tensors = map(torch.from_numpy, arguments[:-1])
        assert ops.batched_nms(*tensors, threshold).tolist() == keep.tolist(), f"tensors: {said}"
