from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sightline.data import Annotations, Preprocess, Record
from sightline.metrics import DetectionEvaluator
from sightline.tasks import default_task
from sightline.tasks.classify import ClassificationScorer
from sightline.tasks.detect import DetectionScorer


def detection_set():
    """Two pictures of 200 x 100 (w x h), two classes, with an empty third."""
    boxes = [
        np.array([[20.0, 10.0, 60.0, 50.0], [100.0, 20.0, 180.0, 90.0]]),
        np.array([[5.5, 5.25, 105.0, 95.0]]),
        np.zeros((0, 4)),
    ]
    labels = [np.array([0, 1]), np.array([0]), np.zeros(0, np.int64)]
    image = np.zeros((100, 200, 3), np.uint8)
    records = tuple(
        Record(image, f"picture{i}", 200, 100, labels=labels[i], boxes=boxes[i]) for i in range(3)
    )
    return Annotations("boxes", ("cat", "dog"), records, category_ids=(7, 3))


def samples(*indices):
    return [SimpleNamespace(index=index) for index in indices]


def perfect(annotations, preprocess):
    """What a perfect network would predict, in its own pixels."""
    predictions = []
    for record in annotations.records:
        transform = preprocess.transform_for(record.height, record.width)
        predictions.append(
            {
                "boxes": torch.from_numpy(transform.to_network(record.boxes)).float(),
                "scores": torch.full((len(record.labels),), 0.9),
                "labels": torch.from_numpy(record.labels),
            }
        )
    return predictions


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_boxes_go_back_to_the_pixels_of_the_picture(mode):
    annotations, preprocess = detection_set(), Preprocess((64, 64), mode=mode)
    scorer = default_task(annotations).metric(annotations, preprocess)
    assert isinstance(scorer, DetectionScorer)
    scorer.update(perfect(annotations, preprocess), [{}] * 3, samples(0, 1, 2))
    metrics = scorer.compute()
    # float32 network pixels move a corner by less than 1e-4 of a picture's.
    assert metrics["AP"] == metrics["AP50"] == metrics["AP75"] == metrics["mAP_voc"] == 1.0
    rows = scorer.evaluation().predictions
    assert [row["category_id"] for row in rows] == [7, 3, 7]
    assert rows[0]["image_id"] == "picture0"
    assert rows[0]["bbox"] == pytest.approx([20, 10, 40, 40], abs=1e-3)


def test_detection_evaluation_counts_misses_and_false_alarms():
    annotations, preprocess = detection_set(), Preprocess((100, 200))
    predictions = perfect(annotations, preprocess)
    predictions[0] = {k: v[:1] for k, v in predictions[0].items()}  # the dog is missed
    predictions[2] = {
        "boxes": torch.tensor([[0.0, 0.0, 30.0, 30.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
    }
    scorer = DetectionScorer(annotations, preprocess)
    scorer.update(predictions, [{}] * 3, samples(0, 1, 2))
    found = scorer.evaluation()
    cat, dog = found.per_class
    assert (cat["name"], cat["AP50"], cat["objects"]) == ("cat", 1.0, 2)
    assert (dog["AP50"], dog["detections"]) == (0.0, 1)
    assert found.confusion["rows"] == ["cat", "dog", "background"]
    assert np.array_equal(found.confusion["counts"], [[2, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert [curve["name"] for curve in found.curves] == ["cat", "dog"]
    curve = found.to_dict()["score_curve"]  # two cats found at .9, a dog that is none at .5
    assert curve["precision"] == pytest.approx([1, 2 / 3])
    assert curve["recall"] == pytest.approx([2 / 3, 2 / 3])
    assert curve["scores"] == pytest.approx([0.9, 0.5])


def test_each_protocol_is_evaluated_once_for_all_that_is_asked_of_it(monkeypatch):
    annotations, preprocess = detection_set(), Preprocess((100, 200))
    scorer = DetectionScorer(annotations, preprocess)
    computed, compute = [], DetectionEvaluator.compute
    monkeypatch.setattr(
        DetectionEvaluator, "compute", lambda self: computed.append(1) or compute(self)
    )
    scorer.update(perfect(annotations, preprocess)[:2], [{}] * 2, samples(0, 1))
    scorer.compute()
    assert scorer.evaluation().metrics["AP50"] == 1.0 and len(computed) == 3
    scorer.update(perfect(annotations, preprocess)[2:], [{}], samples(2))
    scorer.compute()
    assert len(computed) == 5, "more pictures are other numbers"


def test_reset_forgets_every_picture():
    annotations, preprocess = detection_set(), Preprocess((100, 200))
    scorer = DetectionScorer(annotations, preprocess)
    for _ in range(2):
        scorer.reset()
        scorer.update(perfect(annotations, preprocess), [{}] * 3, samples(0, 1, 2))
    assert scorer.compute()["AP50"] == 1.0


def test_classification_numbers_of_a_hand_worked_case():
    # Truth 0 0 1 1 2; called 0 1 1 1 2: class 0 has recall 1/2, class 1 precision 2/3.
    records = tuple(
        Record(np.zeros((8, 8, 3), np.uint8), i, 8, 8, labels=np.array([label]))
        for i, label in enumerate([0, 0, 1, 1, 2])
    )
    annotations = Annotations("class", ("a", "b", "c"), records)
    scorer = default_task(annotations).metric(annotations, Preprocess((8, 8)))
    assert isinstance(scorer, ClassificationScorer)
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 1, 2]), 3) * 5.0
    labels = torch.tensor([int(record.labels[0]) for record in records])
    scorer.update(logits[:3], labels[:3], samples(0, 1, 2))
    scorer.update(logits[3:], labels[3:], samples(3, 4))
    metrics = scorer.compute()
    assert metrics["accuracy"] == pytest.approx(4 / 5)
    assert metrics["precision_macro"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert metrics["recall_macro"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)
    assert metrics["f1_micro"] == pytest.approx(4 / 5)
    found = scorer.evaluation()
    assert found.confusion["counts"] == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert found.per_class[0]["recall"] == pytest.approx(0.5)
    assert [row["truth"] for row in found.predictions] == [0, 0, 1, 1, 2]
    assert "predictions" not in found.to_dict()
