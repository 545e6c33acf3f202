"""match_detections, accumulate_precision and average_precision: groups, ties, crowds, rules."""

import numpy as np

from sightline import ops, reference

CASES = 5_000
SHORT = 60


def offsets(rng: np.random.Generator, groups: int, most: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(rng.integers(0, most + 1, groups))]).astype(np.int64)


def boxes_xywh(rng: np.random.Generator, n: int) -> np.ndarray:
    if rng.random() < 0.5:  # whole numbers: equal overlaps and overlaps on a threshold
        return rng.integers(0, 8, (n, 4)).astype(np.float64)
    boxes = np.concatenate([rng.uniform(0, 40, (n, 2)), rng.uniform(0, 60, (n, 2))], 1)
    boxes[rng.random(n) < 0.1, 2:] = 0
    return boxes


def check(rng: np.random.Generator) -> None:
    classes = int(rng.integers(1, 4))
    class_offsets = offsets(rng, classes, 4)
    groups = int(class_offsets[-1])
    dt_offsets, gt_offsets = offsets(rng, groups, 12), offsets(rng, groups, 6)
    dt, gt = boxes_xywh(rng, int(dt_offsets[-1])), boxes_xywh(rng, int(gt_offsets[-1]))
    copied = rng.random(len(dt)) < 0.3
    if len(gt):
        dt[copied] = rng.choice(gt, int(copied.sum()))
    scores = rng.random(len(dt))
    if rng.random() < 0.5:
        scores = np.round(scores * 4) / 4
    settings = {
        "gt_area": None if rng.random() < 0.5 else rng.uniform(0, 3000, len(gt)),
        "gt_crowd": None if rng.random() < 0.5 else rng.random(len(gt)) < 0.3,
        "gt_ignore": None if rng.random() < 0.5 else rng.random(len(gt)) < 0.3,
        "iou_thresholds": None if rng.random() < 0.5 else sorted(rng.random(3).round(1)),
        "area_ranges": None if rng.random() < 0.5 else [(0, 1e10), (0, 500), (500, 1e10)],
        "max_detections": None if rng.random() < 0.5 else int(rng.integers(1, 9)),
        "rule": str(rng.choice(["coco", "voc"])),
        "inclusive": bool(rng.random() < 0.3),
        "return_index": True,
    }
    said = f"groups {dt_offsets.tolist()} {gt_offsets.tolist()}, {settings}"
    arguments = (dt, scores, dt_offsets, gt, gt_offsets)
    matched = ops.match_detections(*arguments, **settings)
    for got, expected in zip(matched, reference.match_detections(*arguments, **settings)):
        assert got.shape == expected.shape and (got == expected).all(), said

    outcome, gt_count, _ = matched
    accumulated = (outcome, scores, dt_offsets, class_offsets, gt_count)
    caps = {"max_detections": tuple(sorted(rng.integers(1, 9, int(rng.integers(1, 4))).tolist()))}
    got = ops.accumulate_precision(*accumulated, **caps)
    for result, expected in zip(got, reference.accumulate_precision(*accumulated, **caps)):
        np.testing.assert_array_equal(result, expected, f"{caps}, {said}")

    points = int(rng.integers(0, 60))
    recall = np.sort(rng.integers(0, 11, points) / 10 if rng.random() < 0.5 else rng.random(points))
    precision = rng.random(points)
    method = str(rng.choice(["101point", "11point", "all"]))
    np.testing.assert_array_equal(
        ops.average_precision(recall, precision, method=method),
        reference.average_precision(recall, precision, method=method),
        f"{method}, recall {recall.tolist()}, precision {precision.tolist()}",
    )
