"""COCO evaluation against pycocotools, and its two kernels alone, on synthetic detections.

The shape is that of COCO val2017: 80 classes, 7.4 objects per image; detections are objects moved
by a few pixels, with one in four elsewhere.
"""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.metrics import evaluate_coco
from sightline.ops import accumulate_precision, match_detections

CLASSES, OBJECTS_AN_IMAGE = 80, 7.4


def synthetic_coco(images, detections_an_object, seed=0):
    """Ground truth and detections as COCO's files hold them."""
    rng = np.random.default_rng(seed)
    count = int(images * OBJECTS_AN_IMAGE)
    boxes = np.concatenate([rng.random((count, 2)) * 500, 5 + rng.random((count, 2)) * 120], axis=1)
    image, label = rng.integers(0, images, count), rng.integers(0, CLASSES, count)
    rows = np.repeat(np.arange(count), detections_an_object)
    moved = boxes[rows] + rng.normal(0, 3, (len(rows), 4))
    elsewhere = rng.random(len(rows)) < 0.25
    moved[elsewhere, :2] = rng.random((int(elsewhere.sum()), 2)) * 500
    moved[:, 2:] = np.maximum(moved[:, 2:], 1)
    truth = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": c} for c in range(CLASSES)],
        "annotations": [
            {"id": i + 1, "image_id": int(image[i]), "category_id": int(label[i])}
            | {"bbox": box, "area": box[2] * box[3], "iscrowd": int(i % 100 == 0)}
            for i, box in enumerate(boxes.tolist())
        ],
    }
    found = [
        {"image_id": int(image[r]), "category_id": int(label[r]), "bbox": box, "score": score}
        for r, box, score in zip(rows, moved.tolist(), rng.random(len(rows)).tolist())
    ]
    return truth, found


def run_pycocotools(truth, found):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes([dict(d) for d in found]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("contender", ["sightline", "pycocotools"])
def test_evaluate_coco(benchmark, contender):
    truth, found = synthetic_coco(images=500, detections_an_object=2)
    ours, theirs = evaluate_coco(truth, found), run_pycocotools(truth, found)
    np.testing.assert_array_equal(ours.precision, theirs.eval["precision"])
    np.testing.assert_array_equal(ours.stats, theirs.stats)
    benchmark.group = f"evaluation, 500 images, {len(found)} detections, from loaded files"
    benchmark.extra_info["detections"] = len(found)
    run = {"sightline": evaluate_coco, "pycocotools": run_pycocotools}[contender]
    benchmark.pedantic(run, args=(truth, found), rounds=3)


def groups(detections_an_object):
    """5,000 images x 80 classes laid end to end, as the ops take them."""
    rng = np.random.default_rng(0)
    total = int(5000 * OBJECTS_AN_IMAGE)
    key = np.sort(rng.integers(0, CLASSES * 5000, total))
    keys, gt_count = np.unique(key, return_counts=True)
    gt_offsets = np.concatenate([[0], np.cumsum(gt_count)])
    dt_offsets = gt_offsets * detections_an_object
    gt = np.concatenate([rng.random((total, 2)) * 500, 5 + rng.random((total, 2)) * 120], axis=1)
    dt = np.repeat(gt, detections_an_object, axis=0) + rng.normal(
        0, 3, (total * detections_an_object, 4)
    )
    dt[:, 2:] = np.maximum(dt[:, 2:], 1)
    class_offsets = np.searchsorted(keys // 5000, np.arange(CLASSES + 1))
    return dt, rng.random(len(dt)), dt_offsets, gt, gt_offsets, class_offsets


@pytest.mark.parametrize("detections_an_object", [1, 10])
@pytest.mark.parametrize("op", ["match_detections", "accumulate_precision"])
def test_kernels(benchmark, op, detections_an_object):
    dt, scores, dt_offsets, gt, gt_offsets, class_offsets = groups(detections_an_object)
    areas = [(0, 1e10), (0, 1024), (1024, 9216), (9216, 1e10)]

    def match():
        return match_detections(
            dt, scores, dt_offsets, gt, gt_offsets, area_ranges=areas, max_detections=100
        )

    outcome, gt_count = match()
    benchmark.group = f"kernels, {len(dt)} detections"
    benchmark.extra_info["bytes"] = outcome.nbytes
    if op == "match_detections":
        benchmark.pedantic(match, rounds=3)
    else:
        arguments = (outcome, scores, dt_offsets, class_offsets, gt_count)
        benchmark.pedantic(accumulate_precision, args=arguments, rounds=3)
