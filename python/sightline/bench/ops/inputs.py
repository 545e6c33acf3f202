"""Inputs of the benchmarks, from fixed seeds: the same numbers in every process."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Arrays = tuple[np.ndarray, ...]

IMAGE = 1000  # pixels


def sparse_boxes(n: int, *, image: float = IMAGE, seed: int = 0) -> Floats:
    """[n, 4] boxes with sides of 10 to 100 pixels, at random places.

    In 1,000 x 1,000 pixels NMS at 0.5 keeps 99, 918, 6,418 and 10,498 of the first 100, 1,000,
    10,000 and 20,000.
    """
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(0, image, (n, 2)), rng.uniform(10, 100, (n, 2))
    return np.concatenate([corner, corner + sides], 1).astype(np.float32)


def clustered_boxes(n: int, *, objects: int = 60, seed: int = 0) -> Floats:
    """[n, 4] boxes around objects, as from the anchors of a detector: NMS keeps about one each."""
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(0, 900, (objects, 2)), rng.uniform(50, 200, (objects, 2))
    centred = np.concatenate([corner, corner + sides], 1)
    jitter = rng.normal(0, 5, (n, 4))
    return (centred[rng.integers(0, objects, n)] + jitter).astype(np.float32)


def scores(n: int, *, seed: int = 1) -> Floats:
    """[n] in (0, 1), all different, since peers order ties differently."""
    return ((np.random.default_rng(seed).permutation(n) + 1) / (n + 1)).astype(np.float32)


def sparse(n: int, *, image: float = IMAGE) -> Arrays:
    return sparse_boxes(n, image=image), scores(n)


def clustered(n: int) -> Arrays:
    return clustered_boxes(n), scores(n)


def classes(n: int, count: int) -> Arrays:
    """Sparse boxes, scores, and the class of each box."""
    return *sparse(n), np.random.default_rng(2).integers(0, count, n)


def pairs(n: int, m: int, *, out: bool = True) -> Arrays:
    """Two sets of boxes and, with `out`, memory for the matrix."""
    boxes = sparse_boxes(n), sparse_boxes(m, seed=1)
    return (*boxes, np.zeros((n, m), np.float32)) if out else boxes


def aligned_pairs(n: int) -> Arrays:
    """Clustered boxes, and the same moved a little: predictions and targets."""
    moved = np.random.default_rng(3).normal(0, 5, (n, 4))
    boxes = clustered_boxes(n)
    return boxes, (boxes + moved).astype(np.float32)


def deltas(images: int, anchors: int) -> Arrays:
    """Deltas [images, anchors, 4] and their anchors [images, anchors, 4], as rows."""
    n = images * anchors
    found = np.random.default_rng(3).normal(0, 0.2, (n, 4)).astype(np.float32)
    return found, np.tile(sparse_boxes(anchors), (images, 1))


def models(count: int, n: int) -> Arrays:
    """Boxes [count, n, 4], scores and labels [count, n] of models that see the same objects."""
    boxes = clustered_boxes(count * n).reshape(count, n, 4)
    found = np.stack([scores(n, seed=i) for i in range(count)])
    return boxes, found, np.zeros((count, n), np.int64)


def rotated(n: int) -> Arrays:
    """Boxes [n, 5] like those of `rotated_pairs`, and scores."""
    boxes, _, _ = rotated_pairs(n, 0)
    return boxes, scores(n)


def rotated_pairs(n: int, m: int) -> Arrays:
    """Two sets [., 5] of boxes (cx, cy, w, h, degrees), and memory for the matrix."""

    def boxes(count: int, seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        centre, sides = rng.uniform(0, IMAGE, (count, 2)), rng.uniform(10, 100, (count, 2))
        return np.column_stack([centre, sides, rng.uniform(-180, 180, count)]).astype(np.float32)

    return boxes(n, 0), boxes(m, 1), np.zeros((n, m), np.float32)


def raw_detections(images: int, anchors: int, classes: int) -> Arrays:
    """Boxes [images, anchors, 4] and scores [images, anchors, classes] before any threshold.

    The scores of an image are all different, and uniform in their logarithm: 2 % are above 0.001.
    """
    boxes = np.stack([sparse_boxes(anchors, seed=i) for i in range(images)])
    n = anchors * classes
    found = [0.9 * scores(n, seed=i).astype(np.float64) ** 300 for i in range(images)]
    return boxes, np.array(found, np.float32).reshape(images, anchors, classes)
