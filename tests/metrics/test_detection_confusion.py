"""The confusion matrix of a detector, worked by hand."""

import numpy as np
import pytest

from sightline.metrics import detection_confusion_matrix

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
