"""Errors by kind: each worked by hand, and costs compared with evaluating the corrected data."""

import numpy as np
import pytest

from sightline.metrics import ERROR_KINDS
from tests.metrics.detection.cases import at, random_images, results_of


def counts(detections, targets, **thresholds):
    found = results_of([(detections, targets)]).error_breakdown(**thresholds).counts
    return {kind: number for kind, number in found.items() if number}


def test_a_perfect_detector_has_no_errors():
    breakdown = results_of([({"boxes": at(0, 50)}, {"boxes": at(0, 50)})]).error_breakdown()
    assert not any(breakdown.counts.values()) and set(breakdown.counts) == set(ERROR_KINDS)
    assert set(breakdown.costs.values()) == {0.0}


def test_classification_is_a_right_box_of_another_class():
    assert counts({"boxes": at(0), "labels": [1]}, {"boxes": at(0)}) == {"classification": 1}


def test_localisation_is_the_right_class_with_too_little_overlap():
    # IoU 40 / 160; the object is not missed, as mending the box would find it
    assert counts({"boxes": at(6)}, {"boxes": at(0)}) == {"localisation": 1}


def test_both_is_another_class_with_too_little_overlap():
    detections = {"boxes": at(6), "labels": [1]}
    assert counts(detections, {"boxes": at(0)}) == {"both": 1, "missed": 1}


def test_duplicate_is_a_second_detection_of_an_object():
    assert counts({"boxes": at(0, 1)}, {"boxes": at(0)}) == {"duplicate": 1}
    assert counts({"boxes": [[0, 0, 10, 5]] * 2}, {"boxes": at(0)}) == {"duplicate": 1}, "IoU .5"


def test_background_is_a_detection_of_nothing():
    assert counts({"boxes": at(50)}, {"boxes": at(0)}) == {"background": 1, "missed": 1}
    assert counts({"boxes": at(50)}, {"boxes": []}) == {"background": 1}


def test_missed_is_an_object_that_nothing_aims_at():
    assert counts({"boxes": []}, {"boxes": at(0, 50)}) == {"missed": 2}


def test_the_background_threshold_belongs_to_localisation_and_to_background():
    # 2 of 10 + 12 - 2: IoU .1 within a class is localisation, across classes background
    shifted = [[8, 0, 18, 1]]
    targets = {"boxes": [[0, 0, 10, 1.2]]}
    bounds = {"background_threshold": 0.1}
    assert counts({"boxes": shifted}, targets, **bounds) == {"localisation": 1}
    other = {"boxes": shifted, "labels": [1]}
    assert counts(other, targets, **bounds) == {"background": 1, "missed": 1}
    assert counts(other, targets, background_threshold=0.099) == {"both": 1, "missed": 1}


def test_localisation_comes_before_classification():
    targets = {"boxes": at(0, 6), "labels": [0, 1]}
    detections = {"boxes": at(0, 6), "labels": [1, 1], "scores": [0.5, 0.9]}
    assert counts(detections, targets) == {"localisation": 1, "missed": 1}


def test_detections_on_crowds_and_difficult_objects_are_no_errors():
    targets = {"boxes": [[0, 0, 100, 100], [200, 0, 210, 10]]}
    targets |= {"iscrowd": [1, 0], "difficult": [0, 1]}
    assert counts({"boxes": at(0, 20, 200)}, targets) == {}


def test_what_mending_a_class_costs_is_worked_by_hand():
    # the better of two wrong labels of the cat is mended, the dog's precision recovers
    detections = {"boxes": at(0, 1, 50), "labels": [1, 1, 1], "scores": [0.9, 0.8, 0.7]}
    targets = {"boxes": at(0, 50), "labels": [0, 1]}
    breakdown = results_of([(detections, targets)]).error_breakdown()
    assert breakdown.counts["classification"] == 2 and breakdown.counts["missed"] == 0
    assert breakdown.class_counts["classification"].tolist() == [0, 2]
    assert breakdown.kind_of_detection.tolist() == [0, 0, -1]
    third = 1 / 3
    assert breakdown.class_ap == pytest.approx([0, third]) and breakdown.ap == pytest.approx(1 / 6)
    assert breakdown.class_costs["classification"] == pytest.approx([1, 2 * third])
    assert breakdown.costs["classification"] == pytest.approx(5 / 6)
    assert breakdown.costs["false positives"] == pytest.approx(third)
    # without the cat there is no class of cats: the mean is the dog's
    assert breakdown.costs["false negatives"] == pytest.approx(1 / 6)
    assert np.isnan(breakdown.class_costs["false negatives"][0])


def plain_kinds(detections, targets, iou_threshold=0.5, low=0.1):
    """Kind of each detection of one image, or None, and which objects are missed: with loops."""
    gt = np.array(targets["boxes"]).reshape(-1, 4)
    counted = ~(np.array(targets["iscrowd"], bool) | np.array(targets["difficult"], bool))

    def overlap(a, b, crowd):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        if w <= 0 or h <= 0:
            return 0.0
        area = (a[2] - a[0]) * (a[3] - a[1])
        return w * h / (area if crowd else area + (b[2] - b[0]) * (b[3] - b[1]) - w * h)

    boxes, labels = detections["boxes"], detections["labels"]
    ious = np.array(
        [[overlap(d, g, c) for g, c in zip(gt, targets["iscrowd"])] for d in boxes]
    ).reshape(len(boxes), len(gt))
    taken, matched = set(), {}
    for d in np.argsort(-np.array(detections["scores"]), kind="stable"):
        fits = [
            (counted[g], ious[d, g], g)
            for g in range(len(gt))
            if targets["labels"][g] == labels[d]
            and ious[d, g] >= iou_threshold
            and (g not in taken or targets["iscrowd"][g])
        ]
        if fits:
            g = max(fits)[2]
            taken.add(g)
            matched[d] = g
    kinds, aimed = [None] * len(boxes), set()
    for d in range(len(boxes)):
        if d in matched:
            continue
        own, others = (
            max(
                (
                    (ious[d, g], -g)
                    for g in range(len(gt))
                    if counted[g] and (targets["labels"][g] == labels[d]) == same
                ),
                default=(0, 0),
            )
            for same in (True, False)
        )
        if low <= own[0] < iou_threshold:
            kinds[d] = "localisation"
            aimed.add(-own[1])
        elif others[0] >= iou_threshold:
            kinds[d] = "classification"
            aimed.add(-others[1])
        elif own[0] >= iou_threshold:
            kinds[d] = "duplicate"
        else:
            kinds[d] = "background" if max(own[0], others[0]) <= low else "both"
    missed = [bool(counted[g]) and g not in taken and g not in aimed for g in range(len(gt))]
    return kinds, missed


@pytest.mark.parametrize("seed", range(4))
def test_kinds_agree_with_loops(seed):
    images = random_images(seed, images=40)
    breakdown = results_of(images, class_names="abc").error_breakdown()
    plain = [plain_kinds(*pair) for pair in images]
    kinds = [kind for kinds, _ in plain for kind in kinds]
    assert [ERROR_KINDS[k] if k >= 0 else None for k in breakdown.kind_of_detection] == kinds
    missed = [m for _, objects in plain for m in objects]
    np.testing.assert_array_equal(breakdown.missed_objects, missed)
    assert all(breakdown.counts[kind] == kinds.count(kind) for kind in ERROR_KINDS[:-1])
    assert all(breakdown.counts.values()), "every kind occurs"
    for kind, by_class in breakdown.class_counts.items():
        assert by_class.sum() == breakdown.counts[kind]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["both", "duplicate", "background", "missed"])
def test_a_cost_is_that_of_the_data_set_without_the_errors(seed, kind):
    images = random_images(seed, images=40)
    result = results_of(images, class_names="abc")
    breakdown = result.error_breakdown()
    dt_end = np.cumsum([len(d["boxes"]) for d, _ in images])[:-1]
    gt_end = np.cumsum([len(t["boxes"]) for _, t in images])[:-1]
    kept = np.split(breakdown.kind_of_detection != ERROR_KINDS.index(kind), dt_end)
    stays = np.split(~breakdown.missed_objects | (kind != "missed"), gt_end)
    mended = [
        (
            {name: column[k] for name, column in d.items()},
            {name: column[s] for name, column in t.items()},
        )
        for (d, t), k, s in zip(images, kept, stays)
    ]
    after = results_of(mended, class_names="abc")
    assert breakdown.ap == result["AP50"]
    assert breakdown.costs[kind] == after["AP50"] - result["AP50"] > 0


@pytest.mark.parametrize("kind", ["classification", "localisation"])
def test_a_cost_is_that_of_the_data_set_with_the_errors_mended(kind):
    images = random_images(7, images=40)
    result = results_of(images, class_names="abc")
    mended, row = [], 0
    breakdown = result.error_breakdown()
    for d, t in images:
        new = {name: column.copy() for name, column in d.items()}
        keep = np.ones(len(d["boxes"]), bool)
        free = set(np.flatnonzero(~t["iscrowd"] & ~t["difficult"]))
        alone = plain_taken(d, t)
        for i in np.argsort(-d["scores"], kind="stable"):
            if breakdown.kind_of_detection[row + i] != ERROR_KINDS.index(kind):
                continue
            same = t["labels"] == d["labels"][i]
            fits = [g for g in free if same[g] == (kind == "localisation")]
            aim = max(fits, key=lambda g: (iou(d["boxes"][i], t["boxes"][g]), -g))
            if aim in alone:
                keep[i] = False
                continue
            alone.add(aim)
            new["boxes"][i], new["labels"][i] = t["boxes"][aim], t["labels"][aim]
        row += len(keep)
        mended.append(({name: column[keep] for name, column in new.items()}, t))
    after = results_of(mended, class_names="abc")
    assert breakdown.costs[kind] == pytest.approx(after["AP50"] - result["AP50"], abs=1e-12)
    assert breakdown.costs[kind] > 0.01


def iou(a, b):
    w = np.clip(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0, None)
    h = np.clip(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0, None)
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def plain_taken(detections, targets):
    """Objects that a detection of their class finds at IoU .5."""
    taken = set()
    for i in np.argsort(-detections["scores"], kind="stable"):
        fits = [
            (not (targets["iscrowd"][g] or targets["difficult"][g]), overlap, g)
            for g, box in enumerate(targets["boxes"])
            if targets["labels"][g] == detections["labels"][i]
            and (overlap := iou(detections["boxes"][i], box)) >= 0.5
            and g not in taken
        ]
        if fits:
            taken.add(max(fits)[2])
    return taken


def test_thresholds_out_of_order_are_refused():
    result = results_of([({"boxes": at(0)}, {"boxes": at(0)})])
    with pytest.raises(ValueError, match=r"got 0\.6 and 0\.5"):
        result.error_breakdown(background_threshold=0.6)


def test_nothing_at_all_has_no_errors_and_no_ap():
    breakdown = results_of([]).error_breakdown()
    assert not any(breakdown.counts.values())
    assert np.isnan(breakdown.ap) and all(np.isnan(cost) for cost in breakdown.costs.values())


def test_voc_results_break_down_too():
    images = random_images(5)
    result = results_of(images, class_names="abc", protocol="voc2010")
    assert result.error_breakdown().ap == result["AP"]
    assert "duplicate" in result.error_breakdown().summary()
