"""The plain COCO evaluation equals pycocotools to the last bit, except for corrected faults."""

import json

import numpy as np
import pytest

from sightline import metrics, reference
from sightline.reference.coco import evaluate_coco
from tests.metrics.pycocotools.programs import draw_keypoints

from .cases import STATS, draw_case, draw_settings, id_zero_is_known, run_pycocotools


def assert_equal_to_pycocotools(truth, found, **settings):
    got = evaluate_coco(truth, found, parity="pycocotools", **settings)
    expected = run_pycocotools(truth, found, **settings)
    for name in STATS:
        np.testing.assert_array_equal(getattr(got, name), expected[name], f"{name}, {settings}")
    return got


@pytest.mark.parametrize("use_classes", [True, False])
def test_hundred_images_to_the_last_bit(shared_data, use_classes):
    folder = shared_data / "coco100"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    found = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    got = assert_equal_to_pycocotools(truth, found, use_classes=use_classes)
    if use_classes:
        assert got.stats[0] == 0.5045806987249628
        corrected = evaluate_coco(truth, found)
        np.testing.assert_array_equal(corrected.precision, got.precision)
        np.testing.assert_array_equal(corrected.stats, got.stats)


@pytest.mark.parametrize("seed", range(100))
def test_random_cases_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    assert_equal_to_pycocotools(*draw_case(rng), **draw_settings(rng))


@pytest.mark.parametrize("seed", range(3))
def test_keypoints_to_the_last_bit(seed):
    truth, found = draw_keypoints(np.random.default_rng(seed))
    expected = run_pycocotools(truth, found, iou_type="keypoints")

    def points(records):
        return np.array([r["keypoints"] for r in records]).reshape(-1, 17, 3)

    def similarity(dt, gt):
        area, boxes = [g["area"] for g in gt], [g["bbox"] for g in gt]
        sigmas = metrics.COCO_KEYPOINT_SIGMAS
        return reference.keypoint_similarity(points(dt), points(gt), area, boxes, sigmas)

    for d in found:  # that of the extent of the keypoints
        x, y, _ = points([d])[0].T
        d["area"] = (x.max() - x.min()) * (y.max() - y.min())
    got = evaluate_coco(
        truth, found, iou_type="keypoints", overlaps=similarity, parity="pycocotools"
    )
    for name in STATS:
        np.testing.assert_array_equal(getattr(got, name), expected[name], name)


def case(gt, dt, first_id=1):
    """One image and class from (bbox, area, iscrowd) and (bbox, score)."""
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {
                "id": first_id + i,
                "image_id": 1,
                "category_id": 1,
                "bbox": box,
                "area": area,
                "iscrowd": crowd,
            }
            for i, (box, area, crowd) in enumerate(gt)
        ],
    }
    return truth, [{"image_id": 1, "category_id": 1, "bbox": b, "score": s} for b, s in dt]


def test_area_of_1024_is_small_and_medium():
    truth, found = case([([0, 0, 32, 32], 1024, 0)], [([0, 0, 32, 32], 0.9)])
    got = assert_equal_to_pycocotools(truth, found)
    assert got.recall[0, 0, :, 2].tolist() == [1, 1, 1, -1]


def test_annotation_id_zero_counts_as_found_only_when_corrected():
    truth, found = case([([0, 0, 10, 10], 100, 0)], [([0, 0, 10, 10], 0.9)], first_id=0)
    assert assert_equal_to_pycocotools(truth, found).stats[0] == 0
    assert evaluate_coco(truth, found).stats[0] == pytest.approx(1)


def test_ap_without_a_cap_of_100_is_that_of_the_last_cap_only_when_corrected():
    truth, found = case([([0, 0, 10, 10], 100, 0)], [([0, 0, 10, 10], 0.9)])
    caps = {"max_detections": (1, 2, 3)}
    assert assert_equal_to_pycocotools(truth, found, **caps).stats[0] == -1
    assert evaluate_coco(truth, found, **caps).stats[0] == pytest.approx(1)


def test_nan_score_is_refused_when_corrected_and_else_ranked_last():
    truth, found = case(
        [([0, 0, 10, 10], 100, 0)], [([0, 0, 10, 10], float("nan")), ([50, 50, 9, 9], 0.1)]
    )
    assert assert_equal_to_pycocotools(truth, found).stats[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="NaN score"):
        evaluate_coco(truth, found)


def test_ignore_in_the_file_is_not_read():
    truth, found = case([([0, 0, 10, 10], 100, 0)], [([0, 0, 10, 10], 0.9)])
    truth["annotations"][0]["ignore"] = 1
    assert assert_equal_to_pycocotools(truth, found).stats[0] == pytest.approx(1)


def test_only_a_crowd_is_found_twice_and_its_union_is_the_detection():
    crowd = ([0, 0, 100, 100], 10_000, 1)
    truth, found = case(
        [crowd, ([200, 0, 10, 10], 100, 0)],
        [([0, 0, 10, 10], 0.9), ([50, 50, 10, 10], 0.8), ([200, 0, 10, 10], 0.7)],
    )
    assert assert_equal_to_pycocotools(truth, found).stats[0] == pytest.approx(1)


def test_recall_of_seven_tenths_does_not_reach_its_sample():
    boxes = [[20.0 * i, 0, 10, 10] for i in range(10)]
    truth, found = case([(b, 100, 0) for b in boxes], [(b, 0.9) for b in boxes[:7]])
    got = assert_equal_to_pycocotools(truth, found)
    assert got.precision[0, 69, 0, 0, 2] > 0.99 and got.precision[0, 70, 0, 0, 2] == 0


def test_empty_truth_and_empty_detections():
    truth, found = case([([0, 0, 10, 10], 100, 0)], [([0, 0, 10, 10], 0.9)])
    assert assert_equal_to_pycocotools(truth, []).stats[0] == 0
    truth["annotations"] = []
    assert assert_equal_to_pycocotools(truth, found).stats.tolist() == [-1] * 12


def test_overlaps_from_outside_and_keypoint_numbers():
    truth, found = case([([0, 0, 10, 10], 5000, 0)] * 2, [([0, 0, 1, 1], 0.9)] * 2)
    for annotation, count in zip(truth["annotations"], (0, 3)):
        annotation["num_keypoints"] = count
    got = evaluate_coco(
        truth,
        [{**d, "area": 5000} for d in found],
        iou_type="keypoints",
        overlaps=lambda dt, gt: np.array([[1.0, 0.72], [1.0, 0.0]]),
    )
    # the first detection passes the ignored object only where the other is good enough
    assert got.precision.shape == (10, 101, 1, 3, 1) and got.stats.shape == (10,)
    assert got.recall[:, 0, 0, 0].tolist() == [1] * 5 + [0] * 5


@pytest.mark.parametrize("parity", ["corrected", "pycocotools"])
@pytest.mark.parametrize("caps", [(1, 2, 3), (1, 100, 300), (1, 10, 100)])
def test_evaluator_repeats_or_mends_the_fault_of_a_missing_cap(parity, caps):
    truth, found = draw_case(np.random.default_rng(12))
    with id_zero_is_known():
        got = metrics.evaluate_coco(truth, found, parity=parity, max_detections=caps)
    expected = evaluate_coco(truth, found, parity=parity, max_detections=caps)
    np.testing.assert_array_equal(got.stats, expected.stats)
    if parity == "pycocotools":
        peer = run_pycocotools(truth, found, max_detections=caps)
        np.testing.assert_array_equal(got.stats, peer["stats"])
        assert (got.stats[0] == -1) == (100 not in caps)
