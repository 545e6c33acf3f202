"""`nms_rotated` against greedy suppression on the matrix of `box_iou_rotated`, which is fuzzed for
itself, over sizes, clusterings, segments, ties and bad boxes."""

import numpy as np

from sightline import ops
from sightline.reference.nms_rotated import suppress

from ..ops.rotated_cases import random_rotated_boxes

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    n = int(rng.integers(0, 200) if rng.random() < 0.9 else rng.integers(200, 900))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    unit = ("degrees", "radians")[rng.integers(2)]
    boxes = random_rotated_boxes(rng, n, dtype, bad=n > 0 and rng.random() < 0.5, unit=unit)
    spread = 10 ** rng.uniform(-2, 1.5)
    with np.errstate(all="ignore"):
        boxes[:, :2] *= dtype(spread)
    scores = np.round(rng.uniform(-1, 1, n), int(rng.integers(1, 9)))
    scores[rng.random(n) < 0.05] = np.nan
    scores = scores.astype((np.float32, np.float64)[rng.integers(2)])
    idxs = rng.integers(-2, 3, n) if rng.random() < 0.5 else None
    iou = ops.box_iou_rotated(boxes, boxes, unit=unit)
    threshold = float(rng.choice([0, 1, rng.random(), iou.flat[0] if n else 0.5]))
    got = ops.nms_rotated(boxes, scores, threshold, idxs=idxs, unit=unit)
    expected = suppress(iou, scores, threshold, idxs)
    case = f"n={n} {dtype.__name__} {unit} threshold={threshold} spread={spread} idxs={idxs}"
    assert got.dtype == np.int64 and got.tolist() == expected.tolist(), case
