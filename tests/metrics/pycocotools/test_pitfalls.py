"""Inputs for which pycocotools' numbers are known to be wrong: there is always a warning."""

import contextlib
import copy
import io
import json

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest

from sightline.metrics import evaluate_coco
from sightline.metrics.pycocotools import COCO, COCOeval
from tests.metrics.coco.test_evaluate import small_case

OURS = (COCO, COCOeval)
THEIRS = (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval)


def lvis_case(kind):
    """Detections of classes that an image was not searched for, as LVIS's files say so."""
    truth, found = small_case()
    if kind == "frequency":
        truth["categories"][0]["frequency"] = "r"
    else:
        truth["images"][-1][kind] = [3]
    return truth, found


def stats_of(library, truth, found):
    """Statistics of a program written for pycocotools."""
    coco, coco_eval = library
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        evaluation = coco_eval(gt, gt.loadRes(copy.deepcopy(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("parity", ["corrected", "pycocotools"])
@pytest.mark.parametrize("kind", ["neg_category_ids", "not_exhaustive_category_ids", "frequency"])
def test_lvis_is_refused_unless_cocos_rules_are_asked_for(tmp_path, kind, parity):
    truth, found = lvis_case(kind)
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(truth))
    for source, name in ((truth, "`gt`"), (path, str(path)), (path.read_bytes(), "`gt`")):
        with pytest.raises(ValueError, match=r"protocol=\"coco\"") as error:
            evaluate_coco(source, found, parity=parity)
        assert str(error.value).startswith(f"{name}: is an LVIS file: ")
        assert f"`{kind}`" in str(error.value)
        results = evaluate_coco(source, found, parity=parity, protocol="coco")
        np.testing.assert_array_equal(results.stats, evaluate_coco(*small_case()).stats)


def test_a_frequency_that_is_no_letter_of_lvis_is_cocos():
    truth, found = small_case()
    for i, frequency in enumerate([12, "rare", "", "x", None, ["r"]]):
        truth["categories"][i % 2]["frequency"] = frequency
        assert evaluate_coco(truth, found).ap == pytest.approx(1)


def test_other_protocols_are_refused():
    with pytest.raises(ValueError, match="`protocol` must be None or 'coco', got 'lvis'"):
        evaluate_coco(*small_case(), protocol="lvis")


@pytest.mark.parametrize("kind", ["not_exhaustive_category_ids", "frequency"])
def test_the_drop_in_warns_of_lvis_and_keeps_pycocotools_numbers(tmp_path, kind, capsys):
    truth, found = lvis_case(kind)
    with pytest.warns(UserWarning, match=f"the ground truth is LVIS's: .*`{kind}`"):
        stats = stats_of(OURS, truth, found)
    np.testing.assert_array_equal(stats, stats_of(THEIRS, truth, found))
    for name, content in (("gt.json", truth), ("dt.json", found)):
        (tmp_path / name).write_text(json.dumps(content))
    gt = COCO(tmp_path / "gt.json")  # reading LVIS's files is no mistake
    evaluation = COCOeval(gt, gt.loadRes(tmp_path / "dt.json"), "bbox")
    with pytest.warns(UserWarning, match="the ground truth is LVIS's") as said:
        evaluation.evaluate()
    assert said[0].filename == __file__
    assert "dataset" not in vars(gt), "a warning made the dicts of the file"


def test_an_area_that_pycocotools_would_miss_is_named_where_its_numbers_are_asked_for():
    truth, found = small_case()
    del truth["annotations"][1]["area"], truth["annotations"][3]["area"]
    with pytest.warns(UserWarning, match=r"annotations\[1\] and 1 more without `area`: w \* h tak"):
        results = evaluate_coco(truth, found, parity="pycocotools")
    np.testing.assert_array_equal(results.stats, evaluate_coco(truth, found).stats)


def test_the_drop_in_warns_of_id_zero():
    truth, found = small_case(first_id=0)
    with pytest.warns(UserWarning, match="annotations with id 0: 1 of 4"):
        stats = stats_of(OURS, truth, found)
    np.testing.assert_array_equal(stats, stats_of(THEIRS, truth, found))


def test_a_subclass_that_goes_image_by_image_warns_too():
    class Own(COCOeval):
        def computeIoU(self, imgId, catId):
            return super().computeIoU(imgId, catId)

    truth, found = small_case(first_id=0)
    with pytest.warns(UserWarning, match="annotations with id 0: 1 of 4"):
        stats_of((COCO, Own), truth, found)


def test_the_drop_in_warns_of_ids_that_are_not_unique():
    truth, found = small_case()
    truth["annotations"][3]["id"] = truth["annotations"][0]["id"]
    with pytest.warns(UserWarning, match="annotations whose id a later one has too: 1 of 4"):
        stats = stats_of(OURS, truth, found)
    np.testing.assert_array_equal(stats, stats_of(THEIRS, truth, found))


def test_the_drop_in_warns_of_crowd_flags_that_are_text():
    truth, found = small_case()
    for annotation in truth["annotations"][:2]:
        annotation["iscrowd"] = "0"
    with pytest.warns(UserWarning, match="`iscrowd` as text, such as '0': 2 of 4"):
        stats = stats_of(OURS, truth, found)
    np.testing.assert_array_equal(stats, stats_of(THEIRS, truth, found))


def test_the_drop_in_warns_of_detections_whose_id_marks_no_match():
    truth, found = small_case()
    found.append({**found[0], "score": 0.95})

    def evaluated(library):
        coco, coco_eval = library
        with contextlib.redirect_stdout(io.StringIO()):
            gt, dt = coco(), coco()
            gt.dataset = copy.deepcopy(truth)
            dt.dataset = {**truth, "annotations": [{**d, "id": i} for i, d in enumerate(rows)]}
            gt.createIndex()
            dt.createIndex()
            evaluation = coco_eval(gt, dt, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats

    rows = [{**d, "area": d["bbox"][2] * d["bbox"][3], "iscrowd": 0} for d in found]
    with pytest.warns(UserWarning, match="detections with an id of 0 or less: 1 of 5"):
        stats = evaluated(OURS)
    np.testing.assert_array_equal(stats, evaluated(THEIRS))
