"""The confusion matrix of a detector, worked by hand."""

import numpy as np
import pytest

from sightline.metrics import detection_confusion_matrix
from tests.metrics.detection.cases import random_images, results_of

A, B, FAR = [0, 0, 10, 10], [100, 0, 110, 10], [500, 0, 510, 10]


def dt(boxes, labels, scores=None):
    return {
        "boxes": boxes,
        "labels": labels,
        "scores": [0.9] * len(boxes) if scores is None else scores,
    }


def matrix(detections, targets, **kwargs):
    result = detection_confusion_matrix([detections], [targets], num_classes=2, **kwargs)
    return result.tolist()


def test_right_wrong_missed_and_false_alarm():
    detections = dt([A, B, FAR], [0, 0, 1])
    targets = {"boxes": [A, B, [200, 0, 210, 10]], "labels": [0, 1, 1]}
    assert matrix(detections, targets) == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_rows_add_up_to_objects_and_columns_to_detections():
    rng = np.random.default_rng(0)
    detections, targets = [], []
    for _ in range(20):
        boxes = rng.integers(0, 40, (12, 4)).astype(float)
        boxes[:, 2:] += boxes[:, :2] + 5
        detections.append(dt(boxes, rng.integers(0, 3, 12), rng.random(12)))
        moved = boxes[:7] + rng.integers(-3, 4, (7, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        targets.append({"boxes": moved, "labels": rng.integers(0, 3, 7)})
    counts = detection_confusion_matrix(detections, targets, num_classes=3, score_threshold=0)
    labels = np.concatenate([t["labels"] for t in targets])
    np.testing.assert_array_equal(counts[:3].sum(axis=1), np.bincount(labels, minlength=3))
    assert counts[:, :3].sum() == 240 and counts[3, 3] == 0
    assert counts[:3, :3].sum() > 20, "many are paired"


def test_largest_overlap_is_paired_first():
    # the detection with the lower score fits better, the other is left over
    detections = dt([[0, 0, 10, 8], A], [0, 1], [0.9, 0.5])
    assert matrix(detections, {"boxes": [A], "labels": [1]}) == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_equal_overlaps_are_paired_by_score():
    detections = dt([A, A], [0, 1], [0.5, 0.9])
    assert matrix(detections, {"boxes": [A], "labels": [1]}) == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_detections_below_the_score_threshold_take_no_part():
    detections = dt([A, B], [0, 0], [0.25, 0.24])
    assert matrix(detections, {"boxes": [], "labels": []}) == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_iou_threshold_is_reached_by_equality():
    targets = {"boxes": [[0, 0, 10, 5]], "labels": [0]}
    assert matrix(dt([A], [0]), targets)[0][0] == 1
    assert matrix(dt([A], [0]), targets, iou_threshold=0.51)[0] == [0, 0, 1]


def test_difficult_objects_and_crowds_excuse_but_do_not_count():
    detections = dt([A, [100, 0, 105, 5], FAR], [0, 1, 1])
    targets = {
        "boxes": [A, [90, 0, 140, 50]],
        "labels": [0, 1],
        "difficult": [True, False],
        "iscrowd": [False, True],
    }
    assert matrix(detections, targets) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_no_images_give_zeros():
    assert not detection_confusion_matrix([], [], num_classes=3).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detection_confusion_matrix([], [{}], num_classes=1), "one entry for each image"),
        (lambda: detection_confusion_matrix([], [], num_classes=0), "`num_classes` must be"),
        (
            lambda: detection_confusion_matrix([], [], num_classes=1, iou_threshold=0),
            "`iou_threshold` must lie",
        ),
        (
            lambda: detection_confusion_matrix([dt([A], [2])], [{}], num_classes=2),
            "image 0: `detections.*got 2 in row 0",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def plain_matrix(detections, targets, num_classes, score_threshold=0.25):
    """Pairs taken one at a time, image after image."""
    counts = np.zeros((num_classes + 1, num_classes + 1), int)
    for found, truth in zip(detections, targets):
        crowd, counted = truth["iscrowd"], ~(truth["iscrowd"] | truth["difficult"])
        kept = np.flatnonzero(found["scores"] >= score_threshold)
        overlap = np.zeros((len(found["boxes"]), len(truth["boxes"])))
        for d, a in enumerate(found["boxes"]):
            for g, b in enumerate(truth["boxes"]):
                w = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
                h = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
                area, other = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
                union = area if crowd[g] else area + other - w * h
                overlap[d, g] = w * h / union if union > 0 else 0
        candidates = [
            (-overlap[d, g], -found["scores"][d], d, g)
            for d in kept
            for g in np.flatnonzero(counted)
            if overlap[d, g] >= 0.5
        ]
        seen, of = set(), set()
        for _, _, d, g in sorted(candidates):
            if d not in seen and g not in of:
                seen.add(d)
                of.add(g)
                counts[truth["labels"][g], found["labels"][d]] += 1
        for g in set(np.flatnonzero(counted)) - of:
            counts[truth["labels"][g], -1] += 1
        for d in set(kept) - seen:
            if not np.any(overlap[d, ~counted] >= 0.5):
                counts[-1, found["labels"][d]] += 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_all_images_at_once_agree_with_one_pair_at_a_time(seed, monkeypatch):
    images = random_images(seed, images=25, objects=9, detections=30, quantum=0.1)
    detections, targets = zip(*images)
    expected = plain_matrix(detections, targets, 3)
    counts = detection_confusion_matrix(detections, targets, num_classes=3)
    np.testing.assert_array_equal(counts, expected)
    result = results_of(images, class_names="abc")
    np.testing.assert_array_equal(result.confusion_matrix(), expected)
    monkeypatch.setattr("sightline.metrics.detection.pairs._PAIRS_AT_ONCE", 5)
    np.testing.assert_array_equal(result.confusion_matrix(), expected)


def test_a_chain_of_better_partners_is_followed_to_its_end():
    # each object overlaps its own detection less than the next one's, but the last
    objects = [[12 * i, 0, 12 * i + 20, 10] for i in range(50)]
    found = [[12 * i + 4 + 0.01 * i, 0, 12 * i + 24 + 0.01 * i, 10] for i in range(50)]
    counts = detection_confusion_matrix(
        [dt(found, [0] * 50)], [{"boxes": objects, "labels": [0] * 50}], num_classes=1
    )
    assert counts.tolist() == [[50, 0], [0, 0]]


def test_a_result_without_its_rows_has_no_matrix():
    result = results_of(random_images(0), class_names="abc").numbers_only()
    with pytest.raises(ValueError, match="numbers only"):
        result.confusion_matrix()
