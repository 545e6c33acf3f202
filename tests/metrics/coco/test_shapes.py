"""evaluate_coco of masks and of keypoints equals every cell of pycocotools."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.metrics import decode_masks, evaluate_coco

from .cases import id_zero_is_known

CELLS = ("precision", "recall", "scores")


def run_pycocotools(truth, found, iou_type, *, use_classes=True, max_detections=None):
    truth, found = copy.deepcopy((truth, found))
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(found), iou_type)
        evaluation.params.useCats = int(use_classes)
        if max_detections:
            evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        with contextlib.suppress(Exception):  # other numbers of caps than it is written for
            evaluation.summarize()
    return evaluation


def check_equal(truth, found, iou_type, **settings):
    with id_zero_is_known():
        results = evaluate_coco(truth, found, iou_type=iou_type, parity="pycocotools", **settings)
    evaluation = run_pycocotools(truth, found, iou_type, **settings)
    for name in CELLS:
        np.testing.assert_array_equal(getattr(results, name), evaluation.eval[name], name)
    if len(evaluation.stats):
        np.testing.assert_array_equal(results.stats, evaluation.stats)
    return results


def draw_polygon(rng, height, width):
    """One to three rings, now and then a degenerate one, partly outside the picture."""
    centre, size = rng.uniform(0, 1, 2) * (width, height), rng.choice([4, 20, 60]) * rng.random(2)
    rings = []
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))))
        xy = centre + size * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        rings.append((xy + rng.normal(0, 3, 2)).round(int(rng.integers(0, 3))).ravel().tolist())
    return rings


def to_rle(rings, height, width):
    return pycocotools.merge(pycocotools.frPyObjects(rings, height, width))


def as_counts(rle):
    pixels = decode_masks([rle])[0].ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], pixels])))
    return {
        "size": rle["size"],
        "counts": [int(n) for n in np.diff([0, *changes, len(pixels)])],
    }


def as_text(rle):
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def draw_masks(rng, *, boxes=False):
    """Objects as polygons, lists of counts and strings; detections near them as strings."""
    images = [
        {"id": int(i), "height": int(rng.integers(20, 90)), "width": int(rng.integers(20, 90))}
        for i in rng.choice(50, int(rng.integers(1, 6)), replace=False)
    ]
    categories = [{"id": int(i)} for i in rng.choice(9, int(rng.integers(1, 4)), replace=False)]
    annotations, found = [], []
    first = int(rng.integers(0, 2))
    for i in range(int(rng.integers(1, 30))):
        image = images[int(rng.integers(len(images)))]
        size = (image["height"], image["width"])
        rings = draw_polygon(rng, *size)
        rle = to_rle(rings, *size)
        if rng.random() < 0.1:
            rle = pycocotools.encode(np.zeros(size, np.uint8, order="F"))
        crowd = int(rng.random() < 0.2)
        form = rng.integers(3)
        segmentation = [rings, as_counts(rle), as_text(rle)][form]
        common = {
            "image_id": image["id"],
            "category_id": categories[int(rng.integers(len(categories)))]["id"],
        }
        area = float(pycocotools.area(rle)) if rng.random() < 0.7 else rng.choice([0, 1024, 9216])
        annotations.append(
            {
                **common,
                "id": i + first,
                "segmentation": segmentation,
                "bbox": pycocotools.toBbox(to_rle(rings, *size)).tolist(),
                "area": float(area),
                "iscrowd": crowd,
            }
        )
        for _ in range(int(rng.integers(0, 4))):
            pixels = decode_masks([rle])[0]
            shift = rng.integers(-2, 3, 2) * int(rng.integers(0, 3))
            pixels = np.asfortranarray(np.roll(pixels, tuple(shift), (0, 1)).astype(np.uint8))
            guess = pycocotools.encode(pixels)
            found.append(
                {
                    **common,
                    "segmentation": as_text(guess),
                    "score": round(float(rng.random()), int(rng.choice([1, 9]))),
                    **({"bbox": pycocotools.toBbox(guess).tolist()} if boxes else {}),
                }
            )
    truth = {"images": images, "categories": categories, "annotations": annotations}
    return truth, found


@pytest.mark.parametrize("seed", range(60))
def test_random_masks_equal_pycocotools_in_every_cell(seed):
    rng = np.random.default_rng(seed)
    truth, found = draw_masks(rng, boxes=seed % 3 == 2)
    if found:
        check_equal(truth, found, "segm", use_classes=seed % 5 != 0)


def coco100(shared_data):
    path = shared_data / "coco100" / "instances_val2014_100.json"
    return json.loads(path.read_text())


def guesses_of(truth, rng):
    """Masks near those of the objects, and some of other classes."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    classes = [category["id"] for category in truth["categories"]]
    found = []
    for annotation in truth["annotations"]:
        size, rings = sizes[annotation["image_id"]], annotation["segmentation"]
        if isinstance(rings, dict):
            continue
        for _ in range(int(rng.integers(1, 4))):
            scale, shift = rng.normal(1, 0.05), rng.normal(0, 3, 2)
            moved = [
                (np.reshape(ring, (-1, 2)) * scale + shift).round(2).ravel().tolist()
                for ring in rings
            ]
            found.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"]
                    if rng.random() < 0.9
                    else int(rng.choice(classes)),
                    "segmentation": as_text(to_rle(moved, *size)),
                    "score": round(float(rng.random()), 2),
                }
            )
    return found


@pytest.mark.parametrize("use_classes", [True, False])
def test_masks_of_a_hundred_coco_images_equal_pycocotools(shared_data, use_classes):
    truth = coco100(shared_data)
    found = guesses_of(truth, np.random.default_rng(0))
    results = check_equal(truth, found, "segm", use_classes=use_classes)
    assert 0.05 < results.ap < 0.9 and results.iou_type == "segm"


def draw_keypoints(rng, k=17):
    images = [{"id": int(i)} for i in rng.choice(50, int(rng.integers(1, 6)), replace=False)]
    categories = [{"id": 1, "name": "person"}]
    if rng.random() < 0.3:
        categories.append({"id": 4, "name": "horse"})
    annotations, found = [], []
    whole = rng.random() < 0.5
    for i in range(int(rng.integers(1, 25))):
        pose = np.concatenate(
            [rng.uniform(0, 1, (k, 2)) * rng.choice([30, 90, 300]), rng.integers(0, 3, (k, 1))], 1
        )
        if rng.random() < 0.2:
            pose[:, 2] = 0
        if whole:
            pose = pose.round()
        seen = int((pose[:, 2] > 0).sum())
        low, high = pose[:, :2].min(0), pose[:, :2].max(0)
        common = {
            "image_id": images[int(rng.integers(len(images)))]["id"],
            "category_id": categories[int(rng.integers(len(categories)))]["id"],
        }
        annotations.append(
            {
                **common,
                "id": i + 1,
                "keypoints": pose.ravel().tolist(),
                "num_keypoints": seen if rng.random() < 0.9 else 0,
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": float(np.prod(high - low) * rng.choice([0.5, 1])),
                "iscrowd": int(rng.random() < 0.1),
            }
        )
        for _ in range(int(rng.integers(0, 4))):
            guess = pose + rng.normal(0, rng.choice([0, 1, 5, 30]), pose.shape)
            if whole:
                guess = guess.round()
            found.append(
                {
                    **common,
                    "keypoints": guess.ravel().tolist(),
                    "score": round(float(rng.random()), int(rng.choice([1, 9]))),
                }
            )
    truth = {"images": images, "categories": categories, "annotations": annotations}
    return truth, found


@pytest.mark.parametrize("seed", range(60))
def test_random_keypoints_equal_pycocotools_in_every_cell(seed):
    rng = np.random.default_rng(seed)
    truth, found = draw_keypoints(rng)
    if found:
        if seed % 7 == 0:
            for d in found:
                d["bbox"] = [1.0, 2.0, 60.0, 50.0]
        results = check_equal(truth, found, "keypoints", use_classes=seed % 5 != 0)
        assert len(results.stats) == 10


def test_keypoints_without_classes_are_compared_unless_parity_is_asked_for():
    truth, found = draw_keypoints(np.random.default_rng(1))
    exact = evaluate_coco(truth, found, iou_type="keypoints", use_classes=False)
    strict = evaluate_coco(
        truth, found, iou_type="keypoints", use_classes=False, parity="pycocotools"
    )
    assert exact.ap > 0 == strict.ap


def test_caps_and_areas_may_be_chosen():
    truth, found = draw_masks(np.random.default_rng(3))
    check_equal(truth, found, "segm", max_detections=(1, 2, 3))
    truth, found = draw_keypoints(np.random.default_rng(3))
    check_equal(truth, found, "keypoints", max_detections=(2,))
    chosen = evaluate_coco(truth, found, iou_type="keypoints", area_ranges={"any": (0, 1e10)})
    assert chosen.area_names == ("any",)


@pytest.mark.parametrize("bare", [slice(None), slice(0, None, 2), slice(1, None, 3)])
def test_boxes_stand_for_masks_that_are_missing_as_in_pycocotools(bare):
    truth, found = draw_masks(np.random.default_rng(12), boxes=True)
    for result in found[bare]:
        del result["segmentation"]
    with pytest.warns(UserWarning, match="without `segmentation`: boxes used as masks"):
        results = check_equal(truth, found, "segm")
    assert results.ap > 0
    with pytest.raises(ValueError, match=r"results\[.*\] lacks `segmentation`; parity="):
        evaluate_coco(truth, found, iou_type="segm")


def test_without_a_box_in_the_first_result_masks_are_needed():
    truth, found = draw_masks(np.random.default_rng(12), boxes=True)
    del found[0]["bbox"], found[3]["segmentation"]
    with pytest.raises(ValueError, match=r"results\[3\] lacks `segmentation`$"):
        evaluate_coco(truth, found, iou_type="segm", parity="pycocotools")


def test_keypoints_of_another_body_need_their_sigmas():
    truth, found = draw_keypoints(np.random.default_rng(2), k=5)
    with pytest.raises(ValueError, match="5 keypoints, but `keypoint_sigmas` are of 17"):
        evaluate_coco(truth, found, iou_type="keypoints")
    results = evaluate_coco(truth, found, iou_type="keypoints", keypoint_sigmas=[0.1] * 5)
    assert results.ap > 0


def test_a_mask_that_is_not_whole_is_named():
    truth, found = draw_masks(np.random.default_rng(3))
    found[2]["segmentation"]["counts"] += "0P"
    with pytest.raises(ValueError, match=r"a mask of image.*counts end inside a number"):
        evaluate_coco(truth, found, iou_type="segm")
    found[2]["segmentation"]["counts"] = b"\xff0"
    with pytest.raises(ValueError, match=r"a mask of image.*a character outside '0' to 'o'"):
        evaluate_coco(truth, found, iou_type="segm")
    with pytest.raises(ValueError, match="`iou_type` must be one of"):
        evaluate_coco(truth, found, iou_type="boundary")


def test_what_is_asked_of_a_result_later_is_of_masks_and_keypoints(shared_data):
    truth = coco100(shared_data)
    found = guesses_of(truth, np.random.default_rng(0))
    results = evaluate_coco(truth, found, iou_type="segm")
    # AP at .5 by class from score curves equals that of the evaluation
    errors = results.error_breakdown()
    assert errors.ap == pytest.approx(results.ap50, abs=1e-12)
    boxes = evaluate_coco(truth, [{**d, "bbox": [0, 0, 1, 1]} for d in found])
    assert boxes.ap50 < 0.01 < results.ap50
    best = results.best_f1().pooled
    tp, fp = count_at_half(results, best.threshold)
    assert best.precision == pytest.approx(tp / (tp + fp))
    assert results.confusion_matrix(score_threshold=0.0)[:-1, :-1].trace() > 300

    truth, found = draw_keypoints(np.random.default_rng(8))
    results = evaluate_coco(truth, found, iou_type="keypoints")
    assert results.error_breakdown().ap == pytest.approx(results.ap50, abs=1e-12)


def count_at_half(results, threshold):
    matches = results.evidence().match(0.5)
    kept = results.evidence().dt.scores >= threshold
    return (np.count_nonzero(matches.outcome[kept] == k) for k in (1, 0))
