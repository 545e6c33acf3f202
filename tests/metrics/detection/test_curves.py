"""Curves over recall and over the score, and the best operating point."""

import numpy as np
import pytest

from sightline.metrics import evaluate_coco
from tests.metrics.detection.cases import at, random_images, results_of


def test_best_f1_worked_by_hand():
    # found, wrong, found of three objects: F1 2/4, 2/5, 4/6 at scores .9, .8 and .7
    detections = {"boxes": at(0, 500, 50), "scores": [0.9, 0.8, 0.7]}
    best = results_of([(detections, {"boxes": at(0, 50, 100)})]).best_f1()
    point = best.per_class[0]
    assert (point.threshold, point.precision, point.recall) == (0.7, 2 / 3, 2 / 3)
    assert point.f1 == pytest.approx(2 / 3) and best.pooled == point
    assert np.isnan(best.per_class[1].f1), "no dog to find"


def test_detections_of_one_score_stand_or_fall_together():
    detections = {"boxes": at(0, 500), "scores": [0.5, 0.5]}
    curve = results_of([(detections, {"boxes": at(0)})]).score_curve(0)
    assert curve.scores.tolist() == [0.5]
    assert (curve.precision.item(), curve.recall.item()) == (0.5, 1.0)


def test_scores_that_are_not_finite_are_scores_too():
    scores = [0.5, np.inf, np.nan, -np.inf, np.inf, np.nan, -np.inf]
    detections = {"boxes": at(*range(0, 700, 100)), "scores": scores}
    curve = results_of([(detections, {"boxes": at(0)})], parity="pycocotools").score_curve(0)
    np.testing.assert_array_equal(curve.scores, [np.inf, 0.5, -np.inf, np.nan])
    np.testing.assert_array_equal(curve.precision, [0, 1 / 3, 1 / 5, 1 / 7])


def test_of_equal_f1_the_higher_threshold_is_taken():
    # F1 is 1/2 with one found of three, and with two found of five kept
    detections = {"boxes": at(0, 500, 600, 700, 50), "scores": [0.9, 0.8, 0.7, 0.6, 0.5]}
    point = results_of([(detections, {"boxes": at(0, 50, 100)})]).best_f1().per_class[0]
    assert (point.threshold, point.f1) == (0.9, 0.5)


def test_a_class_without_detections_has_f1_zero():
    targets = {"boxes": at(0), "labels": [1]}
    point = results_of([({"boxes": []}, targets)]).best_f1().per_class[1]
    assert (point.recall, point.f1) == (0, 0) and np.isnan(point.threshold)


def test_detections_on_a_crowd_count_neither_way():
    targets = {"boxes": [[0, 0, 10, 10], [40, 0, 100, 60]], "iscrowd": [0, 1]}
    curve = results_of([({"boxes": at(42, 60, 0)}, targets)]).score_curve(0)
    assert curve.precision.tolist() == [1.0]


@pytest.mark.parametrize("iou_threshold", [0.5, 0.62])
def test_score_curves_agree_with_counting_at_each_threshold(iou_threshold):
    images = random_images(3, quantum=0.05)
    result = results_of(images, class_names="abc", iou_thresholds=[iou_threshold])
    for k in (0, 1, 2, None):
        curve = result.score_curve(k, iou_threshold=iou_threshold)
        assert np.all(np.diff(curve.scores) < 0) and len(curve.scores) > 10
        for score, recall in zip(curve.scores[::4], curve.recall[::4]):
            kept = [
                ({name: column[d["scores"] >= score] for name, column in d.items()}, t)
                for d, t in images
            ]
            again = results_of(kept, class_names="abc", iou_thresholds=[iou_threshold])
            recalls = again.recall[0, :, 0, -1] * again.gt_count
            count = again.gt_count.sum() if k is None else again.gt_count[k]
            assert (recalls.sum() if k is None else recalls[k]) / count == pytest.approx(recall)


def test_a_threshold_that_was_not_evaluated_is_matched_anew():
    images = random_images(5)
    at_once = results_of(images, class_names="abc", iou_thresholds=[0.62])
    later = results_of(images, class_names="abc")
    assert later.best_f1(iou_threshold=0.62) == at_once.best_f1(iou_threshold=0.62)
    errors = [r.error_breakdown(iou_threshold=0.62) for r in (at_once, later)]
    assert errors[0].costs == errors[1].costs and errors[0].ap == at_once.ap


def test_the_mean_curve_has_the_ap_as_its_mean():
    result = results_of(random_images(4), class_names="abcd")
    curve = result.curve(None, iou_threshold=0.75)
    assert curve.precision.mean() == pytest.approx(result["AP75"], abs=1e-15)
    assert np.isnan(curve.scores).all()
    classes = [result.curve(k, iou_threshold=0.75).precision for k in range(3)]
    np.testing.assert_allclose(curve.precision, np.mean(classes, axis=0))


def test_the_best_threshold_of_a_coco_file_is_exact():
    truth = {
        "images": [{"id": 7}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 81}
        ],
    }
    found = [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.123456789}]
    assert evaluate_coco(truth, found).best_f1().pooled.threshold == 0.123456789


def test_bad_thresholds_and_empty_truth_are_refused():
    result = results_of([({"boxes": at(0)}, {"boxes": []})])
    with pytest.raises(ValueError, match="`iou_threshold` must lie"):
        result.best_f1(iou_threshold=0)
    with pytest.raises(ValueError, match="no class has ground truth"):
        result.curve(None)


def worked_result():
    # scores .9 found, .8 wrong, .7 found, .6 wrong, .5 wrong, .4 found; of four objects
    detections = {"boxes": at(0, 500, 50, 600, 700, 100), "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]}
    return results_of([(detections, {"boxes": at(0, 50, 100, 150)})])


@pytest.mark.parametrize(
    ("wanted", "threshold"),
    [
        ({"recall": 0.2}, 0.9),
        ({"recall": 0.25}, 0.9),
        ({"recall": 0.26}, 0.7),
        ({"recall": 0.75}, 0.4),
        ({"precision": 1}, 0.9),
        ({"precision": 0.6}, 0.7),  # though .8, above it, reaches 1/2 only
        ({"precision": 0.5}, 0.4),
    ],
)
def test_the_threshold_for_a_recall_is_the_highest_and_for_a_precision_the_lowest(
    wanted, threshold
):
    result = worked_result()
    assert result.threshold_for(**wanted) == result.threshold_for(0, **wanted) == threshold
    point = result.score_curve().at(**wanted)
    (name, value), *_ = wanted.items()
    assert point.threshold == threshold and getattr(point, name) >= value
    assert point.f1 == pytest.approx(
        2 * point.precision * point.recall / (point.precision + point.recall)
    )


def test_what_is_out_of_reach_says_what_is_not():
    result = worked_result()
    with pytest.raises(
        ValueError, match=r"reaches a recall of 0\.9: the highest is 0\.75, .* at least 0\.4"
    ):
        result.threshold_for(recall=0.9)
    detections = {"boxes": at(500, 0), "scores": [0.9, 0.5]}
    wrong_first = results_of([(detections, {"boxes": at(0)})])
    with pytest.raises(
        ValueError, match=r"reaches a precision of 0\.9: the highest is 0\.5, .* at least 0\.5"
    ):
        wrong_first.threshold_for(precision=0.9)
    with pytest.raises(ValueError, match=r"class 'dog': .* there are no detections"):
        result.threshold_for(1, recall=0.5)
    with pytest.raises(ValueError, match="recall is not defined without objects"):
        results_of([(detections, {"boxes": []})]).threshold_for(recall=0.5)


@pytest.mark.parametrize("wanted", [{}, {"recall": 0.5, "precision": 0.5}])
def test_a_threshold_is_for_either_recall_or_precision(wanted):
    with pytest.raises(ValueError, match="give either `recall` or `precision`"):
        worked_result().threshold_for(**wanted)


@pytest.mark.parametrize("value", [0, -1, 1.1, np.nan])
def test_a_wanted_recall_is_a_share(value):
    with pytest.raises(ValueError, match=r"`recall` must be in \(0, 1\], got"):
        worked_result().threshold_for(recall=value)


def test_a_threshold_is_never_nan():
    scores = [0.5, np.nan]
    detections = {"boxes": at(500, 0), "scores": scores}
    result = results_of([(detections, {"boxes": at(0)})], parity="pycocotools")
    with pytest.raises(ValueError, match=r"the highest is 0, of detections .* at least 0\.5"):
        result.threshold_for(recall=0.5)


@pytest.mark.parametrize("iou_threshold", [0.5, 0.7])
def test_thresholds_keep_what_counting_finds(iou_threshold):
    result = results_of(random_images(5, images=60), class_names="abc")
    for k in (0, 1, 2, None):
        curve = result.score_curve(k, iou_threshold=iou_threshold)
        for wanted in (0.05, 0.1, 0.3):
            if wanted > curve.recall.max():
                continue
            found = result.threshold_for(k, recall=wanted, iou_threshold=iou_threshold)
            kept = curve.recall[curve.scores >= found]
            assert kept[-1] >= wanted and (kept[:-1] < wanted).all()


def test_a_thinned_curve_gives_the_same_thresholds():
    result = results_of(random_images(2, images=2000, quantum=1e-4), class_names="abc")
    curve = result.score_curve()
    thin = curve.thinned(100)
    assert len(curve.scores) > 2000 and len(thin.scores) <= 203
    for name in ("recall", "precision"):
        highest = getattr(curve, name).max()
        for wanted in np.arange(1, int(100 * highest) + 1) / 100:
            assert thin.at(**{name: wanted}) == curve.at(**{name: wanted})
        assert getattr(thin, name).max() == highest
    nothing = results_of([({"boxes": []}, {"boxes": at(0)})]).score_curve()
    assert len(nothing.thinned().scores) == 0
