"""evaluate_coco against published numbers, pycocotools and its known fault."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.metrics import evaluate_coco

# Measured with pycocotools 2.0.11.
COCO100_STATS = [
    0.5045806987249628,
    0.6969727247299577,
    0.5729816669904824,
    0.5856257209410443,
    0.5193996948036719,
    0.5013978986347466,
    0.38681277964578054,
    0.5936795762842003,
    0.595352982877607,
    0.6398109626113442,
    0.5664205978994309,
    0.5642905982905982,
]


def coco100(shared_data):
    folder = shared_data / "coco100"
    return (
        folder / "instances_val2014_100.json",
        folder / "instances_val2014_fakebbox100_results.json",
    )


def run_pycocotools(truth, found, *, use_classes=True):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = json.loads(json.dumps(truth))
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(json.loads(json.dumps(found))), "bbox")
        evaluation.params.useCats = int(use_classes)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def test_coco_hundred_image_case_to_the_last_bit(shared_data):
    results = evaluate_coco(*coco100(shared_data))
    assert results.stats.tolist() == COCO100_STATS
    assert results.class_ids[-1] == 90 and results.class_names[0] == "person"
    assert json.loads(json.dumps(results.to_dict()))["stats"] == COCO100_STATS


@pytest.mark.parametrize("use_classes", [True, False])
def test_coco_hundred_image_case_arrays_equal_pycocotools(shared_data, use_classes):
    truth, found = (json.loads(path.read_text()) for path in coco100(shared_data))
    results = evaluate_coco(truth, found, use_classes=use_classes)
    evaluation = run_pycocotools(truth, found, use_classes=use_classes)
    np.testing.assert_array_equal(results.precision, evaluation.eval["precision"])
    np.testing.assert_array_equal(results.recall, evaluation.eval["recall"])
    np.testing.assert_array_equal(results.scores, evaluation.eval["scores"])
    np.testing.assert_array_equal(results.stats, evaluation.stats)


def small_case(first_id=1):
    boxes = [[0, 0, 20, 20], [50, 0, 60, 60], [120, 0, 100, 100], [0, 0, 40, 40]]
    truth = {
        "images": [{"id": 7}, {"id": 5}, {"id": 6}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [
            {
                "id": first_id + i,
                "image_id": 5 if i < 3 else 7,
                "category_id": 3 if i != 1 else 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for i, box in enumerate(boxes)
        ],
    }
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"]}
        for a in truth["annotations"]
    ]
    return truth, [{**d, "score": 0.9 - 0.1 * i} for i, d in enumerate(found)]


def test_perfect_detections_score_one():
    results = evaluate_coco(*small_case())
    assert results.ap == pytest.approx(1) and results.stats[8] == 1
    assert results.class_ids == (1, 3) and results.class_names == ("dog", "cat")


def test_annotation_id_zero_counts_as_found_unless_strict():
    truth, found = small_case(first_id=0)
    assert evaluate_coco(truth, found).ap == pytest.approx(1)
    strict = evaluate_coco(truth, found, strict=True)
    evaluation = run_pycocotools(truth, found)
    np.testing.assert_array_equal(strict.precision, evaluation.eval["precision"])
    np.testing.assert_array_equal(strict.recall, evaluation.eval["recall"])
    assert strict.ap < 0.9, "pycocotools' fault"


def test_strict_is_the_same_without_annotation_id_zero():
    truth, found = small_case()
    np.testing.assert_array_equal(
        evaluate_coco(truth, found).stats, evaluate_coco(truth, found, strict=True).stats
    )


def test_area_and_iscrowd_may_be_absent():
    truth, found = small_case()
    expected = evaluate_coco(truth, found).stats
    for annotation in truth["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    np.testing.assert_array_equal(evaluate_coco(truth, found).stats, expected)


def test_no_detections_give_ap_zero():
    truth, _ = small_case()
    assert evaluate_coco(truth, []).ap == 0


def test_unknown_category_is_left_out_with_a_warning():
    truth, found = small_case()
    expected = evaluate_coco(truth, found).stats
    extra = {"image_id": 5, "category_id": 99, "bbox": [0, 0, 5, 5], "score": 0.95}
    with pytest.warns(UserWarning, match="1 entries of unknown categories left out, such as 99"):
        results = evaluate_coco(truth, [*found, extra])
    np.testing.assert_array_equal(results.stats, expected)


def test_files_and_loaded_objects_give_the_same(tmp_path):
    truth, found = small_case()
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(found))
    from_files = evaluate_coco(tmp_path / "gt.json", str(tmp_path / "dt.json"))
    np.testing.assert_array_equal(from_files.stats, evaluate_coco(truth, found).stats)


def change(entries, index, **values):
    return [{**e, **values} if i == index else e for i, e in enumerate(entries)]


@pytest.mark.parametrize(
    ("edit_truth", "edit_found", "message"),
    [
        ({}, {"image_id": 99}, "1 detections of images that the ground truth lacks, such as 99"),
        ({}, {"score": float("nan")}, "entry 1 has score nan"),
        ({}, {"bbox": [0, 0, -1, 2]}, "entry 1 has a negative side"),
        ({}, {"bbox": [0, 0, 1]}, r"need \[x, y, w, h\]"),
        ({"id": 1}, {}, "annotation id twice"),
        ({"bbox": [0, 0, float("inf"), 1]}, {}, "`gt_json`: entry 1 has bbox"),
        ({"area": float("nan")}, {}, "entry 1 has area nan"),
    ],
)
def test_bad_files_are_refused(edit_truth, edit_found, message):
    truth, found = small_case()
    truth["annotations"] = change(truth["annotations"], 1, **edit_truth)
    with pytest.raises(ValueError, match=message):
        evaluate_coco(truth, change(found, 1, **edit_found))


def test_missing_keys_wrong_types_and_broken_files_are_refused(tmp_path):
    truth, found = small_case()
    del found[0]["score"]
    with pytest.raises(ValueError, match="`dt_json`: entry 0 lacks 'score'"):
        evaluate_coco(truth, found)
    with pytest.raises(ValueError, match="images, annotations and categories"):
        evaluate_coco({}, [])
    with pytest.raises(ValueError, match="`dt_json` must be a list"):
        evaluate_coco(truth, {})
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="`gt_json` is not JSON"):
        evaluate_coco(tmp_path / "broken.json", [])
    with pytest.raises(FileNotFoundError):
        evaluate_coco(tmp_path / "none.json", [])
