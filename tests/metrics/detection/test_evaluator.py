"""DetectionEvaluator against pycocotools and against cases worked by hand."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.metrics import DetectionEvaluator

NO_DETECTIONS = {"boxes": np.zeros((0, 4)), "scores": [], "labels": []}


def random_case(rng, *, images, classes, objects, detections, quantum):
    """Images with crowds, tied scores, tied overlaps, own areas and empty sides.

    `quantum` rounds scores, so that they tie; boxes are on a grid and often repeat the truth.
    """
    case = {}
    for image_id in rng.permutation(1000)[:images].tolist():
        n_gt, n_dt = rng.integers(0, objects + 1), rng.integers(0, detections + 1)
        size = rng.choice([8.0, 40.0, 120.0], (n_gt, 1))
        gt = np.concatenate(
            [rng.integers(0, 100, (n_gt, 2)), np.ceil(rng.random((n_gt, 2)) * size)], axis=1
        )
        dt = np.concatenate(
            [rng.integers(0, 100, (n_dt, 2)), rng.integers(0, 130, (n_dt, 2))], axis=1
        ).astype(np.float64)
        if n_gt and n_dt:
            near = rng.random(n_dt) < 0.8
            dt[near] = gt[rng.integers(0, n_gt, near.sum())]
            dt += np.where(rng.random((n_dt, 1)) < 0.5, rng.normal(0, 2, (n_dt, 4)), 0.0)
            dt[:, 2:] = np.abs(dt[:, 2:])
        case[image_id] = (
            {
                "boxes_xywh": dt,
                "scores": np.round(rng.random(n_dt) / quantum) * quantum,
                "labels": rng.integers(0, classes, n_dt),
            },
            {
                "boxes_xywh": gt,
                "labels": rng.integers(0, classes, n_gt),
                "iscrowd": rng.random(n_gt) < 0.2,
                # areas of masks, and exactly on the bounds of COCO's ranges
                "area": np.where(
                    rng.random(n_gt) < 0.3,
                    rng.choice([1024.0, 9216.0], n_gt),
                    gt[:, 2] * gt[:, 3] * rng.random(n_gt),
                ),
            },
        )
    return case


def run_pycocotools(case, classes, *, use_classes=True, max_detections=(1, 10, 100)):
    # here, so that tests of a GPU, which import this file, run without it
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gt = COCO()
    gt.dataset = {
        "images": [{"id": i} for i in case],
        "categories": [{"id": c} for c in range(classes)],
        "annotations": [],
    }
    found = []
    for image_id, (dt, truth) in case.items():
        for j, box in enumerate(truth["boxes_xywh"].tolist()):
            gt.dataset["annotations"].append(
                {
                    "id": len(gt.dataset["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": int(truth["labels"][j]),
                    "bbox": box,
                    "area": float(truth["area"][j]),
                    "iscrowd": int(truth["iscrowd"][j]),
                }
            )
        for j, box in enumerate(dt["boxes_xywh"].tolist()):
            found.append(
                {
                    "image_id": image_id,
                    "category_id": int(dt["labels"][j]),
                    "bbox": box,
                    "score": float(dt["scores"][j]),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(found), "bbox")
        evaluation.params.useCats = int(use_classes)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def run_ours(case, classes, **kwargs):
    evaluator = DetectionEvaluator(class_names=[str(c) for c in range(classes)], **kwargs)
    for image_id, (dt, gt) in case.items():
        evaluator.update(image_id, dt, gt)
    return evaluator.compute()


def assert_bit_equal(results, evaluation):
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(results, name), evaluation.eval[name], err_msg=name)


def has_detections(case):
    return any(len(dt["scores"]) for dt, _ in case.values())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 8),
    classes=st.integers(1, 4),
    objects=st.integers(0, 8),
    detections=st.integers(1, 20),
    quantum=st.sampled_from([0.25, 0.01]),
    use_classes=st.booleans(),
)
def test_coco_arrays_equal_pycocotools_bit_for_bit(
    seed, images, classes, objects, detections, quantum, use_classes
):
    rng = np.random.default_rng(seed)
    case = random_case(
        rng,
        images=images,
        classes=classes,
        objects=objects,
        detections=detections,
        quantum=quantum,
    )
    if not has_detections(case):
        return  # pycocotools cannot read an empty list
    results = run_ours(case, classes, use_classes=use_classes)
    evaluation = run_pycocotools(case, classes, use_classes=use_classes)
    assert_bit_equal(results, evaluation)
    np.testing.assert_array_equal(results.stats, evaluation.stats)


@pytest.mark.parametrize("caps", [(1, 2, 3), (5, 100, 300), (3, 7, 100)])
def test_coco_arrays_equal_pycocotools_for_other_caps(caps):
    case = random_case(
        np.random.default_rng(5), images=3, classes=2, objects=30, detections=250, quantum=0.01
    )
    results = run_ours(case, 2, max_detections=caps)
    evaluation = run_pycocotools(case, 2, max_detections=caps)
    assert_bit_equal(results, evaluation)
    # the first line is AP at the last cap here, at a cap of 100 or -1 in pycocotools
    np.testing.assert_array_equal(results.stats[1:], evaluation.stats[1:])
    assert results.ap == np.mean(np.ascontiguousarray(results.precision[:, :, :, 0, 2]))


def test_results_do_not_depend_on_the_order_of_updates():
    case = random_case(
        np.random.default_rng(1), images=12, classes=2, objects=5, detections=9, quantum=0.25
    )
    shuffled = dict(sorted(case.items(), key=lambda item: -item[0]))
    first, second = run_ours(case, 2), run_ours(shuffled, 2)
    np.testing.assert_array_equal(first.precision, second.precision)
    np.testing.assert_array_equal(first.scores, second.scores)


def evaluate_one(detections, targets, protocol="coco", **kwargs):
    evaluator = DetectionEvaluator(protocol, class_names=["a"], **kwargs)
    evaluator.update(0, detections, targets)
    return evaluator.compute()


def test_xyxy_and_xywh_give_the_same_results():
    xyxy = evaluate_one(
        {"boxes": [[10, 20, 30, 50]], "scores": [0.5], "labels": [0]},
        {"boxes": [[10, 20, 30, 52]], "labels": [0]},
    )
    xywh = evaluate_one(
        {"boxes_xywh": [[10, 20, 20, 30]], "scores": [0.5], "labels": [0]},
        {"boxes_xywh": [[10, 20, 20, 32]], "labels": [0]},
    )
    np.testing.assert_array_equal(xyxy.stats, xywh.stats)
    assert xyxy.precision.max() == 0.9999999999999998  # one detection: 1 / (1 + 2 ** -52)
    assert xyxy.ap50 == xyxy.stats[1] == xyxy.class_ap[0, 0]


def test_class_without_ground_truth_is_nan_in_results_and_minus_one_in_arrays():
    evaluator = DetectionEvaluator(class_names=["seen", "absent"])
    evaluator.update(
        0,
        {"boxes": [[0, 0, 9, 9], [0, 0, 9, 9]], "scores": [0.9, 0.8], "labels": [0, 1]},
        {"boxes": [[0, 0, 9, 9]], "labels": [0]},
    )
    results = evaluator.compute()
    seen, absent = results.per_class
    assert seen.ap50 == pytest.approx(1) and np.isnan(absent.ap) and np.isnan(absent.ar)
    assert (results.precision[:, :, 1] == -1).all() and (results.recall[:, 1] == -1).all()
    assert results.ap50 == seen.ap50, "an absent class takes no part in the mean"
    assert results.to_dict()["per_class"][1]["ap"] is None
    assert (absent.gt_count, absent.dt_count) == (0, 1)


def test_class_without_detections_has_ap_zero():
    results = evaluate_one(NO_DETECTIONS, {"boxes": [[0, 0, 9, 9]], "labels": [0]})
    assert results.ap == 0 and results.stats[8] == 0 and results.scores.max() == 0


def test_no_images_give_nan_and_minus_one():
    results = DetectionEvaluator(class_names=["a"]).compute()
    assert np.isnan(results.ap) and np.isnan(results.threshold_weighted_ap)
    assert (results.stats == -1).all()
    assert DetectionEvaluator().compute().precision.shape == (10, 101, 0, 4, 3)


def test_without_class_names_classes_are_the_labels_that_occur():
    evaluator = DetectionEvaluator()
    evaluator.update(
        0,
        {"boxes": [[0, 0, 9, 9]], "scores": [0.9], "labels": [7]},
        {"boxes": [[0, 0, 9, 9]], "labels": [3]},
    )
    results = evaluator.compute()
    assert results.class_ids == (3, 7) and results.class_names == ("3", "7")


def test_area_ranges_can_be_named_by_the_caller():
    results = evaluate_one(
        {"boxes": [[0, 0, 9, 9]], "scores": [0.9], "labels": [0]},
        {"boxes": [[0, 0, 9, 9], [50, 50, 99, 99]], "labels": [0, 0]},
        area_ranges={"all": (0, 1e10), "tiny": (0, 100)},
    )
    assert results.area_names == ("all", "tiny")
    assert results.recall[0, 0, 0, -1] == 0.5 and results.recall[0, 0, 1, -1] == 1
    assert results.stats[3] == -1, "no range is called small"


def test_curve_reaches_the_final_recall_and_then_is_zero():
    results = evaluate_one(
        {"boxes": [[0, 0, 9, 9], [200, 0, 209, 9]], "scores": [0.9, 0.8], "labels": [0, 0]},
        {"boxes": [[0, 0, 9, 9], [50, 50, 99, 99]], "labels": [0, 0]},
    )
    curve = results.curve(0, iou_threshold=0.5)
    assert curve.precision[50] == pytest.approx(1) and curve.precision[51] == 0
    assert curve.scores[50] == 0.9 and curve.scores[51] == 0
    with pytest.raises(ValueError, match="`iou_threshold` must be one of"):
        results.curve(0, iou_threshold=0.51)


def test_summary_reads_as_the_well_known_table():
    results = evaluate_one(NO_DETECTIONS, {"boxes": [[0, 0, 9, 9]], "labels": [0]})
    lines = results.summary().splitlines()
    assert len(lines) == 12
    assert lines[0] == (
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.000"
    )
    assert lines[6] == (
        " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.000"
    )
    assert lines[11].startswith(" Average Recall     (AR) @[ IoU=0.50:0.95 | area= large")


def read_voc7(shared_data):
    for path in sorted((shared_data / "voc7" / "groundtruths").glob("*.txt")):
        detections = path.parent.parent / "detections" / path.name
        gt, dt = (
            [[float(v) for v in line.split()[1:]] for line in p.read_text().splitlines() if line]
            for p in (path, detections)
        )
        yield (
            path.stem,
            {
                "boxes_xywh": [row[1:] for row in dt],
                "scores": [row[0] for row in dt],
                "labels": [0] * len(dt),
            },
            {"boxes_xywh": gt, "labels": [0] * len(gt)},
        )


# At IoU .1, .3, .5 and .75, known to ten digits.
@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("voc2007", [0.3333333333, 0.2683982683, 0.0303030303, 0.0]),
        ("voc2010", [0.3371980676, 0.2456866804, 0.0222222222, 0.0]),
    ],
)
def test_voc_seven_image_case(shared_data, protocol, expected):
    evaluator = DetectionEvaluator(
        protocol, class_names=["person"], iou_thresholds=[0.1, 0.3, 0.5, 0.75]
    )
    for image in read_voc7(shared_data):
        evaluator.update(*image)
    results = evaluator.compute()
    np.testing.assert_allclose(results.class_ap[:, 0], expected, rtol=0, atol=1e-9)
    assert results.ap50 == results.class_ap[2, 0] and results.ap75 == 0
    assert (results.gt_count[0], results.dt_count[0]) == (15, 24)


def devkit_ap(case, label, threshold, *, eleven_points):
    """VOC's AP of one class as its devkit goes: all images' detections in one ranking."""
    ranking = sorted(
        (-score, image_id, j)
        for image_id, (dt, _) in sorted(case.items())
        for j, score in enumerate(dt["scores"].tolist())
        if dt["labels"][j] == label
    )
    taken, tp, fp = set(), [], []
    for _, image_id, j in ranking:
        (x, y, w, h), truth = case[image_id][0]["boxes_xywh"][j], case[image_id][1]
        best, best_overlap = None, -np.inf
        for g, (gx, gy, gw, gh) in enumerate(truth["boxes_xywh"]):
            width = min(x + w, gx + gw) - max(x, gx) + 1
            height = min(y + h, gy + gh) - max(y, gy) + 1
            if truth["labels"][g] != label or width <= 0 or height <= 0:
                continue
            inter = width * height
            overlap = inter / ((w + 1) * (h + 1) + (gw + 1) * (gh + 1) - inter)
            if overlap > best_overlap:
                best, best_overlap = g, overlap
        hit = best_overlap >= threshold
        skipped = hit and truth["difficult"][best]
        again = hit and (image_id, best) in taken
        tp.append(hit and not skipped and not again)
        fp.append(not skipped and not tp[-1])
        if hit:
            taken.add((image_id, best))
    positives = sum(
        int(((t["labels"] == label) & ~np.asarray(t["difficult"])).sum()) for _, t in case.values()
    )
    if positives == 0:
        return np.nan
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall, precision = tp / positives, tp / np.maximum(tp + fp, np.finfo(float).eps)
    if eleven_points:
        return sum(max(precision[recall >= t], default=0) / 11 for t in np.arange(0, 1.1, 0.1))
    recall, precision = np.r_[0, recall, 1], np.r_[0, precision, 0]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), objects=st.integers(0, 6), detections=st.integers(0, 12))
def test_voc_equals_a_plain_devkit_loop(seed, objects, detections):
    case = random_case(
        np.random.default_rng(seed),
        images=5,
        classes=2,
        objects=objects,
        detections=detections,
        quantum=0.05,
    )
    for _, truth in case.values():
        truth["difficult"] = truth.pop("iscrowd")
    for protocol in ("voc2007", "voc2010"):
        results = run_ours(case, 2, protocol=protocol, iou_thresholds=[0.3, 0.5])
        for t, threshold in enumerate((0.3, 0.5)):
            wanted = [
                devkit_ap(case, label, threshold, eleven_points=protocol == "voc2007")
                for label in (0, 1)
            ]
            np.testing.assert_allclose(results.class_ap[t], wanted, rtol=0, atol=1e-12)


def test_voc_second_detection_of_a_difficult_object_does_not_count_either():
    boxes = [[0, 0, 9, 9], [0, 0, 9, 9], [50, 0, 59, 9]]
    results = evaluate_one(
        {"boxes": boxes, "scores": [0.9, 0.8, 0.7], "labels": [0, 0, 0]},
        {"boxes": boxes[1:], "labels": [0, 0], "difficult": [True, False]},
        "voc2010",
    )
    assert results.ap == 1 and results.gt_count[0] == 1


def test_voc_does_not_fall_back_to_the_second_best_object_as_coco_does():
    # both detections overlap object 0 most; object 1 is good enough for the second
    detections = {
        "boxes": [[0, 0, 100, 100], [0, 0, 100, 98]],
        "scores": [0.9, 0.8],
        "labels": [0, 0],
    }
    targets = {"boxes": [[0, 0, 100, 100], [0, 0, 100, 80]], "labels": [0, 0]}
    assert evaluate_one(detections, targets, "voc2010").ap == 0.5
    assert evaluate_one(detections, targets, "coco").recall[0, 0, 0, -1] == 1


def test_inclusive_pixels_can_be_switched_off_for_voc():
    # IoU .5 needs the added pixel: 4 x 2 of 4 x 4 continuous, 5 x 3 of 5 x 5 inclusive
    detections = {"boxes": [[0, 0, 4, 1.9]], "scores": [0.9], "labels": [0]}
    targets = {"boxes": [[0, 0, 4, 4]], "labels": [0]}
    assert evaluate_one(detections, targets, "voc2010").ap == 1
    assert evaluate_one(detections, targets, "voc2010", inclusive_pixels=False).ap == 0


GOOD_DT = {"boxes": [[0, 0, 9, 9]], "scores": [0.5], "labels": [0]}
GOOD_GT = {"boxes": [[0, 0, 9, 9]], "labels": [0]}


@pytest.mark.parametrize(
    ("dt", "gt", "error", "message"),
    [
        ({**GOOD_DT, "scores": [np.nan]}, GOOD_GT, ValueError, r"'scores'\]` must be finite"),
        ({**GOOD_DT, "boxes": [[0, 0, np.inf, 9]]}, GOOD_GT, ValueError, "must be finite"),
        ({**GOOD_DT, "boxes": [[5, 0, 4, 9]]}, GOOD_GT, ValueError, "x1 <= x2 and y1 <= y2"),
        ({**GOOD_DT, "boxes": [[5, 0, 4]]}, GOOD_GT, ValueError, r"shape \[N, 4\], got \[1, 3\]"),
        ({**GOOD_DT, "scores": [0.5, 0.4]}, GOOD_GT, ValueError, r"shape \[1\] as its boxes"),
        ({**GOOD_DT, "labels": [1]}, GOOD_GT, ValueError, r"in 0 ... 0, got 1 in row 0"),
        ({**GOOD_DT, "labels": [-1]}, GOOD_GT, ValueError, "got -1 in row 0"),
        ({**GOOD_DT, "labels": [np.nan]}, GOOD_GT, TypeError, "must be integers"),
        ({**GOOD_DT, "labels": [0, 0]}, GOOD_GT, ValueError, r"shape \[1\] as its boxes"),
        ({**GOOD_DT, "boxes_xywh": []}, GOOD_GT, ValueError, "either 'boxes'"),
        ({"boxes": [], "labels": []}, GOOD_GT, ValueError, "lacks 'scores'"),
        (GOOD_DT, {"boxes": []}, ValueError, "lacks 'labels'"),
        (GOOD_DT, {**GOOD_GT, "crowd": [0]}, ValueError, r"unknown keys \['crowd'\]"),
        (GOOD_DT, {**GOOD_GT, "area": [np.nan]}, ValueError, r"'area'\]` must be finite"),
        (GOOD_DT, [GOOD_GT], TypeError, "`targets` must be a dict"),
    ],
)
def test_bad_input_is_refused_and_leaves_the_evaluator_as_it_was(dt, gt, error, message):
    evaluator = DetectionEvaluator(class_names=["a"])
    with pytest.raises(error, match=message):
        evaluator.update("img", dt, gt)
    assert len(evaluator) == 0
    evaluator.update("img", GOOD_DT, GOOD_GT)


def test_the_same_image_twice_is_an_error_until_reset():
    evaluator = DetectionEvaluator()
    evaluator.update(3, GOOD_DT, GOOD_GT)
    with pytest.raises(ValueError, match="`image_id` 3 was added before"):
        evaluator.update(3, GOOD_DT, GOOD_GT)
    evaluator.reset()
    evaluator.update(3, GOOD_DT, GOOD_GT)


def test_an_update_without_image_ids_says_what_they_are():
    evaluator = DetectionEvaluator()
    with pytest.raises(
        TypeError, match=r"`targets` are missing: call update\(image_id, detections"
    ):
        evaluator.update([GOOD_DT], [GOOD_GT])
    assert len(evaluator) == 0


def test_image_ids_of_two_kinds_are_an_error():
    evaluator = DetectionEvaluator()
    evaluator.update(3, GOOD_DT, GOOD_GT)
    with pytest.raises(TypeError, match="`image_id` must be all int or all str"):
        evaluator.update("3", GOOD_DT, GOOD_GT)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"protocol": "voc"}, "`protocol` must be one of"),
        ({"iou_thresholds": [0.0, 0.5]}, r"numbers in \(0, 1\]"),
        ({"iou_thresholds": [0.5, 0.5]}, "must ascend"),
        ({"iou_thresholds": []}, "one or more"),
        ({"max_detections": [0]}, "integers >= 1"),
        ({"protocol": "voc2007", "max_detections": [5]}, "for the coco protocol only"),
        ({"protocol": "voc2007", "area_ranges": {"all": (0, 1)}}, "for the coco protocol only"),
        ({"area_ranges": {"all": (5, 1)}}, "0 <= low <= high"),
        ({"area_ranges": {}}, "must have 1 to 16 entries, got 0"),
        ({"area_ranges": {str(n): (0, n) for n in range(17)}}, "must have 1 to 16 entries, got 17"),
        ({"inclusive_pixels": True}, "for the VOC protocols"),
    ],
)
def test_bad_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DetectionEvaluator(**kwargs)


@pytest.mark.parametrize("caps", [(1, 10, 100), (1, 10, 50), (1, 100, 300), (100, 200, 300)])
def test_pycocotools_takes_its_first_ap_at_a_hundred_detections_or_gives_minus_one(caps):
    case = random_case(
        np.random.default_rng(0), images=3, classes=1, objects=5, detections=150, quantum=0.001
    )
    wanted = run_pycocotools(case, 1, max_detections=caps)
    results = run_ours(case, 1, max_detections=caps, parity="pycocotools")
    np.testing.assert_array_equal(results.stats, wanted.stats)
    assert " maxDets=100 ] =" in results.summary().splitlines()[0]
    corrected = run_ours(case, 1, max_detections=caps).stats
    assert corrected[0] == np.mean(results.precision[:, :, 0, 0, 2])
    np.testing.assert_array_equal(corrected[1:], wanted.stats[1:])
