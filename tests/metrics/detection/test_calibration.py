"""Calibration errors worked by hand, and against bins filled one detection at a time."""

import numpy as np
import pytest

from tests.metrics.detection.cases import at, random_images, results_of


def test_expected_and_maximum_error_worked_by_hand():
    # bin .6 to .7: two of .65, one right: gap .15; bin .9 to 1: one of .95, wrong: gap .95
    detections = {"boxes": at(0, 500, 600), "scores": [0.65, 0.65, 0.95]}
    calibration = results_of([(detections, {"boxes": at(0)})]).calibration()
    assert calibration.expected_error == pytest.approx((2 * 0.15 + 0.95) / 3)
    assert calibration.maximum_error == pytest.approx(0.95)
    pooled = calibration.pooled
    assert pooled.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert pooled.precision[[6, 9]].tolist() == [0.5, 0] and np.isnan(pooled.precision[0])
    assert calibration.per_class[0].expected_error == calibration.expected_error
    assert np.isnan(calibration.per_class[1].expected_error)


def test_a_detector_that_is_as_right_as_it_says_has_no_error():
    detections = {"boxes": at(0, 20, 40, 500), "scores": [0.75] * 4}
    calibration = results_of([(detections, {"boxes": at(0, 20, 40)})]).calibration()
    assert calibration.expected_error == calibration.maximum_error == 0


def test_a_bin_holds_its_lower_edge_and_the_last_one_also_1():
    detections = {"boxes": at(0, 20, 40, 60), "scores": [0.0, 0.25, 0.5, 1.0]}
    calibration = results_of([(detections, {"boxes": []})]).calibration(num_bins=4)
    assert calibration.pooled.count.tolist() == [1, 1, 1, 1]


def test_the_localisation_aware_error_asks_for_the_overlap():
    # found with IoU .8 and a score of .8: as sure as it is well placed, while all of them are right
    detections = {"boxes": [[0, 0, 10, 8]], "scores": [0.8]}
    calibration = results_of([(detections, {"boxes": at(0)})]).calibration()
    assert calibration.localisation_aware_error == pytest.approx(0)
    assert calibration.expected_error == pytest.approx(0.2)


def test_detections_on_crowds_or_below_the_score_take_no_part():
    targets = {"boxes": [[0, 0, 100, 100]], "iscrowd": [1]}
    detections = {"boxes": at(0, 500, 600), "scores": [0.9, 0.8, 0.1]}
    result = results_of([(detections, targets)])
    assert result.calibration().pooled.count.sum() == 2
    assert result.calibration(score_threshold=0.5).pooled.count.sum() == 1


@pytest.mark.parametrize("seed", range(3))
def test_bins_agree_with_counting_one_at_a_time(seed):
    result = results_of(random_images(seed), class_names="abc")
    curve = result.score_curve(1)  # true positives and detections at each score
    tp = curve.recall * result.gt_count[1]
    kept = np.rint(tp / np.where(tp > 0, curve.precision, 1))
    calibration = result.calibration(num_bins=7).per_class[1]
    for b, (low, high) in enumerate(zip(calibration.edges[:-1], calibration.edges[1:])):
        above = [curve.scores >= low, (curve.scores >= high) & (b < 6)]
        found, count = ([x[a].max(initial=0) for a in above] for x in (tp, kept))
        if calibration.count[b] and count[0] > 0:
            share = calibration.precision[b] * calibration.count[b]
            assert share == pytest.approx(found[0] - found[1])


def test_scores_that_are_no_probabilities_and_bad_bins_are_refused():
    result = results_of([({"boxes": at(0), "scores": [3.0]}, {"boxes": at(0)})])
    with pytest.raises(ValueError, match=r"scores in 0 \.\.\. 1, got 3"):
        result.calibration()
    with pytest.raises(ValueError, match="`num_bins` must be"):
        result.calibration(num_bins=0)
