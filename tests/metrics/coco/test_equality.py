"""Generated sets of a few hundred images: every cell of pycocotools' arrays, to the last bit."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.bench.coco.files import make
from sightline.bench.coco.generate import Recipe, generate
from sightline.metrics import DetectionEvaluator, evaluate_coco
from sightline.metrics.detection.pairs import overlapping_pairs

SET = Recipe(images=300, objects=1_500, detections=4_500)
RECIPES = {
    "scores with all digits": SET,
    "scores of two digits": replace(SET, score_decimals=2),
    "boxes of one decimal": replace(SET, score_decimals=2, box_decimals=1),
    "more detections than count": replace(SET, images=25, objects=200, most=300),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coco")


@pytest.fixture(scope="module", params=RECIPES)
def case(request, folder):
    """The recipe, its files, and pycocotools' evaluation."""
    recipe = RECIPES[request.param]
    files = make(recipe, folder)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(files.gt))
        evaluation = COCOeval(truth, truth.loadRes(str(files.dt)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return recipe, files, evaluation


def assert_same(results, evaluation):
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(results, name), evaluation.eval[name], err_msg=name)
    np.testing.assert_array_equal(results.stats, evaluation.stats)


def test_files_are_evaluated_as_by_pycocotools(case):
    _, files, evaluation = case
    assert_same(evaluate_coco(files.gt, files.dt), evaluation)
    assert 0.05 < evaluation.stats[0] < 0.9, "a set that says something"


def test_arrays_are_evaluated_as_by_pycocotools(case):
    recipe, _, evaluation = case
    data = generate(recipe)
    evaluator = DetectionEvaluator("coco", class_names=[str(i) for i in data.category_ids])
    gt, dt = data.objects, data.detections
    labels = [np.searchsorted(data.category_ids, side.category) for side in (gt, dt)]
    for row, image_id in enumerate(data.image_ids.tolist()):
        own, found = gt.image == row, dt.image == row
        evaluator.update(
            image_id,
            {
                "boxes_xywh": dt.boxes[found],
                "scores": dt.scores[found],
                "labels": labels[1][found],
            },
            {
                "boxes_xywh": gt.boxes[own],
                "labels": labels[0][own],
                "area": gt.area[own],
                "iscrowd": gt.crowd[own],
            },
        )
    assert_same(evaluator.compute(), evaluation)


def test_the_sets_have_ties_crowds_and_overlaps_on_thresholds():
    data = generate(RECIPES["boxes of one decimal"])
    gt, dt = data.objects, data.detections
    assert gt.crowd.sum() > 5 and len(np.unique(dt.scores)) < 102
    sides = (dt.image, dt.boxes, gt.image, gt.boxes, gt.crowd)
    overlap = overlapping_pairs(*sides, at_least=0.4).overlap
    near = np.abs(overlap[:, None] - np.linspace(0.5, 0.95, 10)).min(axis=1) < 1e-12
    assert near.sum() > 50


@pytest.mark.parametrize("case", ["scores of two digits"], indirect=True)
def test_the_command_prints_pycocotools_numbers(case):
    _, files, evaluation = case
    words = ["--gt", str(files.gt), "--dt", str(files.dt)]
    command = [sys.executable, "-m", "sightline", "eval", *words]
    table, numbers = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
        for more in ((), ("--json",))
    )
    expected = io.StringIO()
    with contextlib.redirect_stdout(expected):
        evaluation.summarize()
    assert table == expected.getvalue()
    assert json.loads(numbers)["stats"] == evaluation.stats.tolist()
