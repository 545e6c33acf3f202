"""evaluate_coco against published numbers, pycocotools and its known faults."""

import contextlib
import io
import json
import math
import warnings

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


def test_annotation_id_zero_counts_as_found_unless_pycocotools_is_asked_for():
    truth, found = small_case(first_id=0)
    assert evaluate_coco(truth, found).ap == pytest.approx(1)
    with pytest.warns(UserWarning) as said:
        faulty = evaluate_coco(truth, found, parity="pycocotools")
    assert_equal(faulty, run_pycocotools(truth, found))
    assert faulty.ap < 0.9, "pycocotools' fault"
    assert [str(warning.message) for warning in said] == [
        "`gt`: annotations with id 0: 1 of 4, of image 5. pycocotools takes that for no match: its "
        "object counts as missed, and a detection of it as false. "
        f"AP {faulty.ap:.3f} and AP50 {faulty.ap50:.3f} are with this fault; "
        'parity="corrected" (--corrected) gives AP 1.000 and AP50 1.000'
    ]
    assert said[0].filename == __file__


def test_parities_are_the_same_without_a_fault_of_pycocotools():
    truth, found = small_case()
    np.testing.assert_array_equal(
        evaluate_coco(truth, found).stats, evaluate_coco(truth, found, parity="pycocotools").stats
    )


def test_negative_sides_and_scores_not_finite_are_pycocotools_own_or_refused():
    rng = np.random.default_rng(0)
    for case in range(30):
        truth, found = random_case(rng)
        for detection in found:
            if rng.random() < 0.2:
                detection["bbox"][2 + int(rng.integers(2))] *= -1
            if rng.random() < 0.2:
                detection["score"] = float(rng.choice([np.nan, np.inf, -np.inf]))
        truth["annotations"][0]["bbox"][3] = -3.0
        found[0]["score"], found[-1]["bbox"][2] = math.nan, -2.0
        with pytest.raises(ValueError, match=r"annotations\[0\] has a negative side"):
            evaluate_coco(truth, found)
        with pytest.warns(UserWarning) as said:
            results = evaluate_coco(truth, found, parity="pycocotools")
        messages = [str(w.message) for w in said]
        assert any("has a negative side, bbox" in m for m in messages)
        assert any("has score nan: kept, and NaN sorted last" in m for m in messages)
        assert all(w.filename == __file__ for w in said), "the caller's line"
        assert_equal(results, run_pycocotools(truth, found), f"case {case}")


def random_case(rng):
    """Images, classes and boxes in no order, with ties."""
    images, classes = rng.permutation(40)[:5].tolist(), rng.permutation(9)[:3].tolist()

    def records(n):
        boxes = np.concatenate([rng.integers(0, 9, (n, 2)), rng.integers(1, 40, (n, 2))], 1)
        return [
            {"image_id": i, "category_id": c, "bbox": [float(x) for x in b]}
            for i, c, b in zip(
                rng.choice(images, n).tolist(), rng.choice(classes, n).tolist(), boxes.tolist()
            )
        ]

    annotations = [
        {**r, "id": i, "area": r["bbox"][2] * r["bbox"][3], "iscrowd": int(rng.random() < 0.2)}
        for i, r in enumerate(records(30), 1)
    ]
    truth = {
        "images": [{"id": i} for i in images],
        "categories": [{"id": c, "name": str(c)} for c in classes],
        "annotations": annotations,
    }
    found = [{**r, "score": float(rng.integers(5)) / 4} for r in records(40)]
    return truth, found


@pytest.mark.parametrize("use_classes", [True, False])
def test_random_files_equal_pycocotools(use_classes):
    rng = np.random.default_rng(int(use_classes))
    for case in range(20):
        truth, found = random_case(rng)
        results = evaluate_coco(truth, found, parity="pycocotools", use_classes=use_classes)
        assert_equal(
            results, run_pycocotools(truth, found, use_classes=use_classes), f"case {case}"
        )


def assert_equal(results, evaluation, said=""):
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(
            getattr(results, name), evaluation.eval[name], f"{said} {name}"
        )
    np.testing.assert_array_equal(results.stats, evaluation.stats, said)


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
    with pytest.warns(
        UserWarning,
        match=r"`dt`: 1 results of unknown categories left out, such as results\[4\] with "
        "category_id 99",
    ):
        results = evaluate_coco(truth, [*found, extra])
    np.testing.assert_array_equal(results.stats, expected)


def test_objects_of_unknown_images_and_categories_are_left_out_with_a_warning():
    truth, found = small_case()
    expected = evaluate_coco(truth, found).stats
    extra = [
        {"id": 70, "image_id": 99, "category_id": 1, "bbox": [0, 0, 5, 5]},
        {"id": 71, "image_id": 5, "category_id": 99, "bbox": [0, 0, 5, 5]},
    ]
    truth["annotations"] = [extra[0], *truth["annotations"], extra[1]]
    with pytest.warns(UserWarning) as said:
        results = evaluate_coco(truth, found)
    assert [str(w.message).split(": ", 1)[1] for w in said] == [
        "1 annotations of unknown images left out, such as annotations[0] with image_id 99",
        "1 annotations of unknown categories left out, such as annotations[5] with category_id 99",
    ]
    np.testing.assert_array_equal(results.stats, expected)


def test_empty_ground_truth_has_nothing_to_average():
    truth, found = small_case()
    for kept in ({"annotations": []}, {"annotations": [], "categories": []}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert (evaluate_coco({**truth, **kept}, found).stats == -1).all()
    empty = {"images": [], "annotations": [], "categories": []}
    assert (evaluate_coco(empty, []).stats == -1).all()


def test_files_and_loaded_objects_give_the_same(tmp_path):
    truth, found = small_case()
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(found))
    from_files = evaluate_coco(tmp_path / "gt.json", str(tmp_path / "dt.json"))
    np.testing.assert_array_equal(from_files.stats, evaluate_coco(truth, found).stats)


def change(entries, index, **values):
    return [{**e, **values} if i == index else e for i, e in enumerate(entries)]


def test_a_cap_other_than_100_has_an_ap_unless_pycocotools_is_asked_for():
    truth, found = small_case()
    caps = {"max_detections": (1, 10, 50)}
    assert evaluate_coco(truth, found, **caps).ap == pytest.approx(1)
    faulty = evaluate_coco(truth, found, parity="pycocotools", **caps)
    assert faulty.stats[0] == -1 and faulty.stats[1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("edit_truth", "edit_found", "message"),
    [
        ({}, {"image_id": 99}, r"`dt`: results\[1\] is of image 99, which `gt` lacks \(1 of 4"),
        ({}, {"score": float("nan")}, r"results\[1\] has score nan, need finite numbers"),
        ({}, {"score": float("-inf")}, r"results\[1\] has score -inf"),
        ({}, {"score": "high"}, r'results\[1\].score: must be a number, got "high"'),
        ({}, {"bbox": [0, 0, -1, 2]}, r"results\[1\] has a negative side, bbox \[0.0, 0.0, -1.0"),
        ({}, {"bbox": [0, 0, 1]}, r"must be four numbers \[x, y, w, h\], got \[0,0,1\]"),
        ({}, {"bbox": [0, 0, 1, float("nan")]}, r"results\[1\] has bbox \[0.0, 0.0, 1.0, nan\]"),
        ({"id": 1}, {}, r"annotations\[1\] has annotation id 1, which annotations\[0\] has"),
        ({"bbox": [0, 0, float("inf"), 1]}, {}, r"`gt`: annotations\[1\] has bbox"),
        ({"area": float("nan")}, {}, r"annotations\[1\] has area nan"),
        ({"area": None}, {}, r"annotations\[1\].area: must be a number, got null"),
    ],
)
def test_bad_files_are_refused(edit_truth, edit_found, message):
    truth, found = small_case()
    truth["annotations"] = change(truth["annotations"], 1, **edit_truth)
    with pytest.raises(ValueError, match=message):
        evaluate_coco(truth, change(found, 1, **edit_found))


def test_missing_keys_wrong_types_and_broken_files_are_refused(tmp_path):
    truth, found = small_case()
    del found[0]["score"], found[0]["bbox"]
    with pytest.raises(ValueError, match=r"`dt`: results\[0\] lacks `score` and `bbox`"):
        evaluate_coco(truth, found)
    with pytest.raises(ValueError, match="`gt`: lacks `images`"):
        evaluate_coco({}, [])
    with pytest.raises(ValueError, match="`dt`: must be a list of detections, got an object"):
        evaluate_coco(truth, {})
    with pytest.raises(ValueError, match="`iou_type` must be one of"):
        evaluate_coco(truth, [], iou_type="boxes")
    with pytest.raises(ValueError, match="`parity` must be one of"):
        evaluate_coco(truth, [], parity="strict")
    path = tmp_path / "broken.json"
    path.write_text('{"images": [\n  {"id": 1}\n  {"id": 2}\n]}')
    problem = rf"{path}: byte 27 \(line 3\), images\[0\]: expected ',' or '\]', found '\{{'"
    with pytest.raises(ValueError, match=problem):
        evaluate_coco(path, [])
    with pytest.raises(FileNotFoundError):
        evaluate_coco(tmp_path / "none.json", [])
    with pytest.raises(IsADirectoryError):
        evaluate_coco(tmp_path, [])
