"""Resampling of images: compared with explicit copies, and the coverage of its intervals."""

from dataclasses import replace

import numpy as np
import pytest

from sightline.metrics import compare
from sightline.metrics.detection.confidence import draw_images
from sightline.reference import match_detections, resampled_precision
from tests.metrics.detection.cases import at, random_images, results_of

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def images():
    # no scores tie within an image, where copies of each detection stand together
    return random_images(11, images=25, quantum=1e-9)


def written_out(images, weights):
    return [image for image, copies in zip(images, weights) for _ in range(copies)]


def plain(evidence, weights):
    """The reference for drawn images, from what `match_detections` says of the groups."""
    layout, dt, gt, rules = evidence.matched.layout, evidence.dt, evidence.gt, evidence.rules
    outcome, gt_count = match_detections(
        dt.boxes_xywh[layout.dt_rows],
        dt.scores[layout.dt_rows],
        layout.dt_offsets,
        gt.boxes_xywh[layout.gt_rows],
        layout.gt_offsets,
        gt_area=gt.area[layout.gt_rows],
        gt_crowd=gt.crowd[layout.gt_rows],
        gt_ignore=gt.ignore[layout.gt_rows],
        iou_thresholds=rules.iou_thresholds,
        area_ranges=rules.area_ranges,
        max_detections=max(rules.max_detections),
    )
    image = [
        (np.append(dt.image[layout.dt_rows[d0:d1]], gt.image[layout.gt_rows[g0:g1]]))[0]
        for d0, d1, g0, g1 in zip(
            layout.dt_offsets, layout.dt_offsets[1:], layout.gt_offsets, layout.gt_offsets[1:]
        )
    ]
    return resampled_precision(
        outcome,
        dt.scores[layout.dt_rows],
        layout.dt_offsets,
        layout.class_groups,
        gt_count,
        np.array(image),
        weights,
        max_detections=rules.max_detections,
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_reference_writes_the_drawn_images_out(images, seed):
    weights = next(draw_images(len(images), 1, seed))
    assert weights.sum() == len(images) and weights.max() > 1 and weights.min() == 0
    expected = results_of(written_out(images, weights), class_names=NAMES)
    found = plain(results_of(images, class_names=NAMES).evidence(), weights)
    np.testing.assert_array_equal(found[0], expected.precision)
    np.testing.assert_array_equal(found[1], expected.recall)
    np.testing.assert_array_equal(found[2], expected.scores)


@pytest.mark.parametrize("quantum", [1e-9, 0.1], ids=["distinct", "tied"])
def test_intervals_are_those_of_the_reference(quantum):
    images = random_images(11, images=25, quantum=quantum)
    result = results_of(images, class_names=NAMES)
    found = result.confidence_interval(replicates=8, seed=3, level=0.5)
    drawn = []
    for weights in draw_images(len(images), 8, 3):
        precision, recall, _ = plain(result.evidence(), weights)
        class_ap = precision[:, :, :, 0, -1].mean(axis=1)
        class_ap[class_ap < 0] = np.nan
        drawn.append(replace(result, precision=precision, recall=recall, class_ap=class_ap))
    for name, value in result.named.items():
        values = np.array([r[name] for r in drawn])
        values += value - values.mean()
        interval = found[name]
        assert interval.value == value
        bounds = tuple(np.quantile(values, [0.25, 0.75]))
        assert (interval.low, interval.high) == pytest.approx(bounds)
    per_class = np.array([[row.ap for row in r.per_class] for r in drawn])
    for k, interval in enumerate(found.class_ap):
        values = per_class[:, k] + result.per_class[k].ap - per_class[:, k].mean()
        assert interval.low == pytest.approx(np.quantile(values, 0.25))


@pytest.mark.parametrize("protocol", ["voc2007", "voc2010"])
def test_intervals_of_voc_are_those_of_the_written_out_data_sets(images, protocol):
    result = results_of(images, class_names=NAMES, protocol=protocol)
    found = result.confidence_interval(replicates=6, level=0.5)
    values = np.array(
        [
            results_of(written_out(images, weights), class_names=NAMES, protocol=protocol).ap
            for weights in draw_images(len(images), 6, 0)
        ]
    )
    values += result.ap - values.mean()
    assert found["AP"].high == pytest.approx(np.quantile(values, 0.75))


def test_the_seed_decides_and_the_summary_says_what_was_done(images):
    result = results_of(images, class_names=NAMES)
    first, again, other = (result.confidence_interval(replicates=20, seed=s) for s in (1, 1, 2))
    assert first == again and first["AP"] != other["AP"]
    assert first.summary().startswith("95 % intervals of 20 resamplings of 25 images")
    with pytest.raises(KeyError, match="'ap' is not one of AP"):
        first["ap"]


def test_a_perfect_detector_has_no_spread():
    result = results_of([({"boxes": at(0)}, {"boxes": at(0)})] * 5)
    interval = result.confidence_interval(replicates=10)["AP"]
    assert (interval.low, interval.high) == pytest.approx((1, 1), abs=1e-12)


def test_numbers_that_some_draws_lack_come_from_the_others():
    # only one image has a dog: a third of the draws are without it
    pairs = [({"boxes": at(0)}, {"boxes": at(0)})] * 6
    pairs += [({"boxes": at(0, 30), "labels": [1, 1]}, {"boxes": at(30), "labels": [1]})]
    found = results_of(pairs).confidence_interval(replicates=60)
    assert found.class_ap[1].low == pytest.approx(0.5)
    assert np.isnan(found["AP_large"].low)


SHARES = (0.5, 0.25, 0.15, 0.1)


def draw_truth(rng, count):
    """Images with one to five objects of four classes, and how hard each image is."""
    sizes = rng.integers(1, 6, count)
    return [(rng.choice(4, n, p=SHARES), rng.normal(0.3, 1)) for n in sizes]


def detect(rng, truth, skill=1.0):
    """Results of a detector that finds more in easy images, and three things that are not there."""
    pairs = []
    for labels, hard in truth:
        n = len(labels)
        boxes = np.array(at(*(20 * np.arange(n + 3))))
        hit = rng.random(n) < 1 / (1 + np.exp(hard - skill))
        detections = {
            "boxes": boxes[np.append(np.flatnonzero(hit), np.arange(n, n + 3))],
            "labels": np.append(labels[hit], rng.choice(4, 3, p=SHARES)),
            "scores": np.append(rng.beta(3, 2, hit.sum()), rng.beta(2, 3, 3)),
        }
        pairs.append((detections, {"boxes": boxes[:n], "labels": labels}))
    settings = {"iou_thresholds": [0.5], "area_ranges": {"all": (0, 1e10)}}
    return results_of(pairs, class_names=(*NAMES, "d"), **settings)


def test_intervals_hold_the_mean_over_new_data_sets():
    rng = np.random.default_rng(0)
    mean = np.mean([detect(rng, draw_truth(rng, 50)).ap for _ in range(150)])
    held = 0
    for seed in range(60):
        result = detect(rng, draw_truth(rng, 50))
        interval = result.confidence_interval(level=0.9, replicates=60, seed=seed)["AP"]
        held += interval.low <= mean <= interval.high
    assert 0.8 <= held / 60 <= 0.99


def test_equal_detectors_are_seldom_told_apart():
    rng = np.random.default_rng(2)
    p_values = []
    for seed in range(50):
        truth = draw_truth(rng, 40)
        found = compare(detect(rng, truth), detect(rng, truth), replicates=60, seed=seed)
        p_values.append(found.p_value)
        assert ("no difference" in found.verdict) == (found["AP"].low <= 0 <= found["AP"].high)
    assert np.mean(np.array(p_values) < 0.2) == pytest.approx(0.2, abs=0.12)


def test_a_better_detector_is_told():
    rng = np.random.default_rng(1)
    truth = draw_truth(rng, 150)
    old, new = detect(rng, truth), detect(rng, truth, skill=2.0)
    found = compare(old, new, replicates=100)
    assert found["AP"].low > 0 and found.p_value == pytest.approx(2 / 101)
    assert found["AP"].difference == new.ap - old.ap
    points = 100 * (new.ap - old.ap)
    assert found.verdict.startswith(f"B is better by {points:.1f} AP points (95 % interval ")
    back = compare(new, old, replicates=100, names=("new", "old"))
    assert back.verdict.startswith(f"new is better by {points:.1f} AP points (95 % interval ")
    assert back["AP"].high == pytest.approx(-found["AP"].low)


def test_equal_detectors_differ_by_nothing_that_the_images_can_show(images):
    result = results_of(images, class_names=NAMES)
    found = compare(result, result, replicates=20)
    assert found.p_value == 1
    assert found.verdict == (
        "no difference in AP that 25 images can show "
        "(B minus A: 0.0 points, 95 % interval 0.0 to 0.0)"
    )


def test_results_that_do_not_belong_together_are_refused(images):
    result = results_of(images, class_names=NAMES)
    moved = [(d, {**t, "boxes": t["boxes"] + 1}) for d, t in images]
    with pytest.raises(ValueError, match="same ground truth: their objects differ"):
        compare(result, results_of(moved, class_names=NAMES))
    with pytest.raises(ValueError, match="got 25 and 24 images"):
        compare(result, results_of(images[:-1], class_names=NAMES))
    with pytest.raises(ValueError, match="same settings"):
        compare(result, results_of(images, class_names=NAMES, max_detections=(1, 10)))
    with pytest.raises(ValueError, match="numbers only"):
        compare(result, result.numbers_only())
    with pytest.raises(KeyError, match="'mAP' is not one of"):
        compare(result, result, metric="mAP")


def test_bad_arguments_are_refused(images):
    result = results_of(images, class_names=NAMES)
    with pytest.raises(ValueError, match="`level` must lie between"):
        result.confidence_interval(level=95)
    with pytest.raises(ValueError, match="`replicates` must be"):
        result.confidence_interval(replicates=0)
    with pytest.raises(ValueError, match="no images"):
        results_of([]).confidence_interval()
