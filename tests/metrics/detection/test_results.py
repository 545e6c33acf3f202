"""Names of results, and what remains without their rows."""

import numpy as np
import pytest

from sightline.metrics import STAT_NAMES, DetectionEvaluator
from tests.metrics.detection.cases import random_images, results_of


@pytest.fixture(scope="module")
def result():
    return results_of(random_images(0), class_names=("a", "b", "c"))


def test_the_twelve_names_stand_for_the_twelve_numbers(result):
    assert list(result.named) == [*STAT_NAMES, "threshold_weighted_ap"]
    np.testing.assert_array_equal([result[name] for name in STAT_NAMES], result.stats)
    assert result["AP"] == result.ap and result["AP50"] == result.ap50 > result["AP75"] > 0
    assert result["threshold_weighted_ap"] == result.threshold_weighted_ap


def test_an_unknown_name_is_answered_with_the_known_ones(result):
    with pytest.raises(KeyError, match="'ap50' is not one of AP, AP50, AP75, AP_small"):
        result["ap50"]


def test_other_areas_and_caps_have_names_of_their_own():
    areas = {"every": (0, 1e10), "tiny": (0, 400)}
    result = results_of(
        random_images(1), class_names="abc", max_detections=(2, 300), area_ranges=areas
    )
    names = ["AP", "AP50", "AP75", "AP_tiny", "AR_2", "AR_300", "AR_tiny", "threshold_weighted_ap"]
    assert list(result.named) == names
    assert result["AR_2"] < result["AR_300"]
    assert result["AP_tiny"] != result["AP"]


def test_nothing_to_average_is_nan_by_name_and_minus_one_in_stats():
    result = DetectionEvaluator(iou_thresholds=[0.6]).compute()
    assert np.isnan(result["AP"]) and np.isnan(result["AP50"])
    assert result.stats.tolist() == [-1.0] * 12
    assert result.to_dict()["metrics"]["AP"] is None


def test_keypoint_results_have_ten_numbers(result):
    values = {
        name: getattr(result, name)
        for name in result.__dataclass_fields__
        if name not in ("iou_type", "area_names", "max_detections", "_evidence")
    }
    for name in ("precision", "recall", "scores"):
        values[name] = values[name][..., [0, 2, 3], :][..., -1:]
    ten = type(result)(
        **values, area_names=("all", "medium", "large"), max_detections=(20,), iou_type="keypoints"
    )
    names = [
        "AP",
        "AP50",
        "AP75",
        "AP_medium",
        "AP_large",
        "AR",
        "AR50",
        "AR75",
        "AR_medium",
        "AR_large",
    ]
    assert list(ten.named)[:10] == names
    np.testing.assert_array_equal([ten[name] for name in names], ten.stats)
    assert ten["AP_large"] == result["AP_large"] and ten["AR_medium"] == result["AR_medium"]
    assert ten["AR50"] > ten["AR"]
    assert ten.summary().count("maxDets= 20") == 10


def test_without_its_rows_a_result_keeps_its_numbers(result):
    numbers = result.numbers_only()
    assert numbers.to_dict() == result.to_dict()
    with pytest.raises(ValueError, match="holds numbers only"):
        numbers.best_f1()


def test_a_result_keeps_its_rows_when_the_evaluator_goes_on():
    images = random_images(2, images=12)
    evaluator = DetectionEvaluator(class_names="abc")
    for i in (5, 6, 7):
        evaluator.update(i, *images[i])
    first = evaluator.compute()
    confusion, errors = first.confusion_matrix(), first.error_breakdown().counts
    for i in (11, 2, 0, 9):
        evaluator.update(i, *images[i])
    assert evaluator.compute().error_breakdown().counts != errors
    np.testing.assert_array_equal(first.confusion_matrix(), confusion)
    assert first.error_breakdown().counts == errors


def test_a_class_that_is_no_row_is_refused_in_words(result):
    for curve in (result.curve, result.score_curve):
        with pytest.raises(
            TypeError, match=r"`class_index` must be.* got 'a'; .*class_names\.index"
        ):
            curve("a")
        for row in (3, -1):
            with pytest.raises(
                ValueError, match=rf"`class_index` must be in 0 \.\.\. 2, got {row}"
            ):
                curve(row)


def test_labels_that_count_from_1_get_a_hint():
    evaluator = DetectionEvaluator(class_names=["cat", "dog"])
    detections = {"boxes": [[0, 0, 1, 1]] * 2, "scores": [0.5, 0.5], "labels": [1, 2]}
    hint = r"in 0 \.\.\. 1, got 2 in row 1; .* add a background class in front"
    with pytest.raises(ValueError, match=hint):
        evaluator.update(1, detections, {"boxes": [], "labels": []})
    with pytest.raises(ValueError, match=r"got 7 in row 0$"):
        evaluator.update(1, {**detections, "labels": [7, 0]}, {"boxes": [], "labels": []})


@pytest.mark.parametrize("image_id", [np.array([3]), np.array([3, 4])])
def test_an_array_as_image_id_is_refused_in_words(image_id):
    nothing = {"boxes": [], "labels": []}
    with pytest.raises(TypeError, match=r"`image_id` must be an int or a str, got array\(\[3"):
        DetectionEvaluator().update([image_id], [{**nothing, "scores": []}], [nothing])
