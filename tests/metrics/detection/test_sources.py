"""Targets and detections are accepted in the form of other libraries' loaders and models."""

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator, detection_confusion_matrix

torch = pytest.importorskip("torch")

BOXES = torch.tensor([[2.0, 3, 20, 30], [40, 8, 60, 50]])
DETECTIONS = {"boxes": BOXES, "scores": torch.tensor([0.9, 0.4]), "labels": torch.tensor([1, 0])}
PLAIN = {"boxes": BOXES, "labels": torch.tensor([1, 0])}
# What each source writes beside boxes and labels.
SOURCES = {
    "our loader": {
        "iscrowd": torch.zeros(2, dtype=torch.bool),
        "difficult": torch.zeros(2, dtype=torch.bool),
        "image_id": "picture.png",
        "orig_size": torch.tensor([480, 640]),
        "index": 3,
    },
    "torchvision's references": {
        "image_id": torch.tensor([7]),
        "area": (BOXES[:, 2] - BOXES[:, 0]) * (BOXES[:, 3] - BOXES[:, 1]),
        "iscrowd": torch.zeros(2, dtype=torch.int64),
        "masks": torch.zeros(2, 64, 64, dtype=torch.uint8),
    },
    "torchvision's tutorial": {"image_id": 7, "iscrowd": torch.zeros(2, dtype=torch.int64)},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("batch", [False, True])
def test_targets_of_a_loader_are_taken_as_they_are(source, batch):
    target = {**PLAIN, **SOURCES[source]}
    evaluator, plain = DetectionEvaluator(), DetectionEvaluator()
    if batch:
        evaluator.update([target["image_id"]], [DETECTIONS], [target])
    else:
        evaluator.update(target["image_id"], DETECTIONS, target)
    plain.update(0, DETECTIONS, PLAIN)
    np.testing.assert_array_equal(evaluator.compute().precision, plain.compute().precision)
    assert evaluator.compute().ap50 == pytest.approx(1)
    counts = detection_confusion_matrix([DETECTIONS], [target], num_classes=2)
    assert counts.sum() == np.trace(counts)


def test_a_crowd_of_a_loader_is_still_a_crowd():
    crowd = {**PLAIN, "image_id": 1, "orig_size": [9, 9], "iscrowd": torch.tensor([False, True])}
    evaluator = DetectionEvaluator()
    evaluator.update(1, DETECTIONS, crowd)
    assert [row.gt_count for row in evaluator.compute().per_class] == [0, 1]


def test_ids_may_be_tensors_of_one_number():
    evaluator = DetectionEvaluator()
    ids = [torch.tensor([7]), torch.tensor(8)]
    evaluator.update(ids, [DETECTIONS] * 2, [{**PLAIN, "image_id": i} for i in ids])
    assert len(evaluator) == 2
    with pytest.raises(ValueError, match="`image_id` 7 was added before"):
        evaluator.update(7, DETECTIONS, PLAIN)


def test_detections_of_mask_and_keypoint_models_are_taken_by_their_boxes():
    found = {
        **DETECTIONS,
        "masks": torch.rand(2, 1, 64, 64),
        "keypoints": torch.rand(2, 17, 3),
        "keypoints_scores": torch.rand(2, 17),
    }
    found["boxes"] = BOXES.clone().requires_grad_()
    evaluator = DetectionEvaluator()
    evaluator.update(1, found, PLAIN)
    assert evaluator.compute().ap50 == pytest.approx(1)


def test_keypoints_of_a_model_are_taken_with_their_scores_passed_over():
    found = {**DETECTIONS, "keypoints": torch.ones(2, 17, 3), "keypoints_scores": torch.ones(2, 17)}
    target = {**PLAIN, "keypoints": torch.ones(2, 17, 3), "image_id": 1}
    evaluator = DetectionEvaluator(iou_type="keypoints")
    evaluator.update(1, found, target)
    assert len(evaluator) == 1


@pytest.mark.parametrize(
    ("side", "extra", "message"),
    [
        ("detections", {"image_id": 1}, r"`detections` has unknown keys \['image_id'\]"),
        ("targets", {"size": [1, 1]}, r"`targets` has unknown keys \['size'\]; known are"),
        ("targets", {"image_id": 1, "crowd": [0, 0]}, r"unknown keys \['crowd'\]"),
    ],
)
def test_other_keys_are_still_named(side, extra, message):
    sides = {"detections": DETECTIONS, "targets": PLAIN}
    sides[side] = {**sides[side], **extra}
    with pytest.raises(ValueError, match=message):
        DetectionEvaluator().update(1, **sides)
