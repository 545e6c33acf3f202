"""Boxes that are hard on NMS: what pruning by place and size could get wrong."""

import numpy as np

from ..ops.box_cases import random_boxes

# The ends, numbers that float32 holds exactly, and numbers that it does not.
THRESHOLDS = (0.0, 1e-9, 1e-3, 0.05, 0.25, 0.3, 0.5, 0.6, 0.7, 0.95, 0.999, 1.0)


def draw_size(rng) -> int:
    """Of boxes: few mostly; at times enough for all the structures that a kernel may build."""
    return int(rng.integers(0, 60) if rng.random() < 0.7 else rng.integers(60, 500))


def draw_boxes(rng, n: int, dtype, threshold: float) -> np.ndarray:
    kind = rng.choice(
        ["whole", "bad", "scattered", "sizes", "borders", "edge", "strips", "one in another"]
    )
    spread = 10.0 ** rng.uniform(0, 2.5)
    if kind == "whole":  # equal IoUs and equal boxes are frequent
        boxes = rng.integers(-2, 9, (n, 4)).astype(float)
    elif kind == "bad":
        return random_boxes(rng, n, dtype, bad=True)
    elif kind == "scattered":
        boxes = of_centres(rng.uniform(0, spread, (n, 2)), rng.uniform(0.5, 2, (n, 2)))
    elif kind == "sizes":  # over many powers of two
        sides = 2.0 ** rng.uniform(-12, 12, (n, 1)) * rng.uniform(0.5, 2, (n, 2))
        boxes = of_centres(rng.normal(0, spread, (n, 2)), sides)
    elif kind == "borders":  # sides and centres that are powers of two, and their halves and thirds
        side = 2.0 ** rng.integers(-2, 4, (n, 2))
        step = rng.choice([1, 0.5, 2, 4 / 3, 8 / 3])
        boxes = of_centres(rng.integers(-9, 9, (n, 2)) * step, side)
    elif kind == "edge":
        boxes = at_the_threshold(rng, n, spread, threshold)
    elif kind == "strips":
        sides = np.exp2(rng.uniform(-6, 6, (n, 2)))
        boxes = of_centres(rng.uniform(0, spread, (n, 2)), sides)
    else:  # giants over many tiny ones
        sides = np.where(rng.random((n, 1)) < 0.1, spread, 0.1) * rng.uniform(0.5, 2, (n, 2))
        boxes = of_centres(rng.uniform(0, spread, (n, 2)), sides)
    boxes = moved(rng, boxes)
    with np.errstate(over="ignore"):
        return boxes.astype(dtype)


def moved(rng, boxes):
    """Mostly as they are; or so that sums round, products underflow or areas overflow."""
    where = rng.choice(["here", "far", "tiny", "huge"], p=[0.6, 0.2, 0.1, 0.1])
    if where == "far":
        return boxes + rng.choice([-1e3, 1e6, 2.0**20, 1e7])
    if where == "tiny":
        return boxes * rng.choice([1e-16, 1e-20, 1e-22, 1e-155, 1e-160])
    return boxes * rng.choice([1e15, 1e17, 1e150]) if where == "huge" else boxes


def of_centres(centres, sides):
    return np.concatenate([centres - sides / 2, centres + sides / 2], 1)


def at_the_threshold(rng, n, spread, threshold):
    """Pairs whose IoU is about the threshold by a shift, by a longer side, or by both."""
    boxes = of_centres(rng.uniform(0, spread, (n, 2)), rng.uniform(0.5, 4, (n, 2)))
    partners = boxes[rng.integers(0, n, n // 2)] if n else boxes
    t = np.clip(threshold, 0.02, 0.98)
    axis = rng.integers(0, 2, len(partners))
    rows = np.arange(len(partners))
    side = partners[rows, axis + 2] - partners[rows, axis]
    share = rng.choice([0.0, 0.5, 1.0], len(partners))  # of the difference on the low side
    longer = side * (1 / t - 1)
    shift = side * (1 - t) / (1 + t) * (share > 0.75)
    by = np.where(share < 0.75, -longer * share, shift)
    partners[rows, axis] += by
    partners[rows, axis + 2] += np.where(share < 0.75, longer * (1 - share), shift)
    return np.concatenate([boxes[: n - len(partners)], partners])


def draw_scores(rng, shape, dtype) -> np.ndarray:
    """Mostly distinct; at times with many ties, NaN and infinities."""
    scores = rng.uniform(-1, 1, shape)
    if rng.random() < 0.5:
        scores = np.round(scores, 1)
        for value in (np.nan, np.inf, -np.inf, -0.0):
            scores[rng.random(shape) < 0.03] = value
    return scores.astype(dtype)


def draw_decay_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] and scores [n] of one type: small and large spreads, ties, repeats, bad ones."""
    n = int(rng.integers(0, 200)) if rng.random() < 0.9 else int(rng.integers(0, 6))
    dtype = rng.choice([np.float32, np.float64])
    spread = rng.choice([20, 100, 1000])
    corner = rng.uniform(-spread, spread, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-5, 60, (n, 2))], 1)
    if rng.random() < 0.5:
        boxes = np.round(boxes)
    if rng.random() < 0.3 and n:
        boxes[rng.random(boxes.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30])
    boxes = boxes[rng.integers(0, n, n)] if rng.random() < 0.2 and n else boxes
    scores = rng.uniform(-0.1, 1, n)
    if rng.random() < 0.5:
        scores = np.round(scores, int(rng.integers(1, 4)))
    if rng.random() < 0.2:
        scores[rng.random(n) < 0.05] = rng.choice([np.nan, np.inf, -0.0])
    return boxes.astype(dtype), scores.astype(dtype)
