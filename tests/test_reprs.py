"""What a console shows of a result is one short line, however large the result is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.data import Annotations, Issue, Record
from sightline.metrics import compare
from tests.metrics.detection.cases import random_images, results_of

CLASSES = 80


@pytest.fixture(scope="module")
def result():
    names = [f"class {k} of a large set\n" for k in range(CLASSES)]
    return results_of(random_images(0, images=300, classes=CLASSES), class_names=names)


RESULTS = {
    "DetectionResults(coco bbox: AP 0.": lambda r: r,
    "PrecisionRecallCurve(101 recalls, mean precision 0.": lambda r: r.curve(None),
    "ScoreCurve(101 scores from 1 to 0)": lambda r: r.score_curve(),
    "BestF1(IoU 0.5, pooled=OperatingPoint(": lambda r: r.best_f1(),
    "Calibration(IoU 0.5, pooled=Reliability(": lambda r: r.calibration(),
    "ErrorBreakdown(AP 0.": lambda r: r.error_breakdown(),
    "ConfidenceIntervals(95 %: AP 0.": lambda r: r.confidence_interval(replicates=5),
    "Comparison(no difference in AP that 300 images": lambda r: compare(r, r, replicates=5),
}


@pytest.mark.parametrize("begin", RESULTS)
def test_a_result_is_one_short_line(begin, result):
    text = repr(RESULTS[begin](result))
    assert text.startswith(begin) and "\n" not in text and len(text) < 250


def labelled(label_type, count, classes):
    boxes = np.tile([[0.0, 0, 9, 9]], (2, 1)) if label_type == "boxes" else np.zeros((0, 4))
    labels, image = np.zeros(max(1, len(boxes)), int), np.zeros((9, 9), np.uint8)
    records = tuple(Record(image, f"p{i}.jpg", 9, 9, labels, boxes) for i in range(count))
    names = tuple(f"name {k}" for k in range(classes))
    return Annotations(label_type, names, records, source="folder", format="yolo", split="val")


def test_a_data_set_is_one_short_line():
    few = labelled("boxes", 130, 2)
    assert repr(few) == (
        "Annotations(boxes: 130 pictures, 2 classes: name 0 260, name 1 0; yolo; val of folder)"
    )
    assert repr(few.records[0]) == "Record('p0.jpg', 9 x 9, 2 boxes)"
    many = repr(labelled("class", 3, 1000))
    assert "1,000 classes: name 0 3, " in many and "and 995 more" in many and len(many) < 250
    assert repr(labelled("class", 1, 2).records[0]) == "Record('p0.jpg', 9 x 9, label 0)"


def test_a_run_and_what_it_predicts_with_are_short_lines(trained):
    import sightline

    task, _, run = trained
    text = repr(run.evaluation)
    assert text.startswith(f"Evaluation({task}: ") and len(text) < 200
    assert len(repr(run)) < 600 and "\n" not in repr(run)
    network = {"detect": "light_detector", "classify": "resnet20"}[task]
    text = repr(sightline.load(run.path))
    assert text.startswith(f"Predictor({network}: {task}, ") and len(text) < 150


def test_a_conversion_is_one_short_line():
    pytest.importorskip("torch")
    from sightline.models import convert_batch_norm, create_model

    _, report = convert_batch_norm(create_model("resnet20", 2))
    text = repr(report)
    assert text.startswith("ConversionReport(") and text.endswith(" left)") and len(text) < 80


def test_notes_of_a_reader_are_not_counted_as_bad_labels():
    issues = (
        Issue(Path("a.txt"), 1, "object", "it is outside", "box dropped"),
        Issue(Path("a.txt"), 2, "polygons", "a box is four numbers", "read as boxes"),
    )
    assert "; 1 bad label; 1 note; yolo" in repr(replace(labelled("boxes", 3, 2), issues=issues))
