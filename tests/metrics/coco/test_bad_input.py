"""Bad and unusual input: an error that names the record, or COCO's result."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator, evaluate_coco
from tests.metrics.coco.test_evaluate import change, run_pycocotools, small_case


def write(folder, truth, found):
    """Both as files; text is written as it is."""
    paths = folder / "gt.json", folder / "dt.json"
    for path, value in zip(paths, (truth, found)):
        text = value if isinstance(value, str) else json.dumps(value)
        path.write_text(text, encoding="utf-8")
    return paths


def run_eval(*words):
    """`sightline eval` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sightline", "eval", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "SIGHTLINE_DEBUG": ""},
    )


@pytest.mark.parametrize("as_files", [True, False])
@pytest.mark.parametrize(
    ("edit_truth", "edit_found", "message"),
    [
        ({}, {"score": float("nan")}, r"results\[1\] has score nan, need finite numbers"),
        ({}, {"score": float("inf")}, r"results\[1\] has score inf, need finite numbers"),
        ({}, {"score": -float("inf")}, r"results\[1\] has score -inf"),
        ({}, {"image_id": 99}, r"results\[1\] is of image 99, which .*gt.* lacks"),
        ({"id": 1}, {}, r"annotations\[1\] has annotation id 1, which annotations\[0\] has"),
        ({}, {"bbox": [5, 5, -1, 2]}, r"results\[1\] has a negative side, bbox \[5.*, 5.*, -1"),
        ({"bbox": [5, 5, 1, -2]}, {}, r"annotations\[1\] has a negative side"),
        ({"bbox": [0, float("inf"), 1, 1]}, {}, r"annotations\[1\] has bbox .*inf"),
        ({"area": float("nan")}, {}, r"annotations\[1\] has area nan"),
        ({}, {"bbox": [1, 2, 3]}, r"results\[1\].*bbox"),
        ({}, {"bbox": "1, 2, 3, 4"}, r"results\[1\].*bbox"),
        ({}, {"score": "high"}, r"results\[1\].*score"),
        ({}, {"category_id": [1]}, r"results\[1\].*category_id"),
        ({"iscrowd": "no"}, {}, r"annotations\[1\].*iscrowd"),
    ],
)
def test_a_bad_record_is_named(tmp_path, as_files, edit_truth, edit_found, message):
    truth, found = small_case()
    truth["annotations"] = change(truth["annotations"], 1, **edit_truth)
    found = change(found, 1, **edit_found)
    given = write(tmp_path, truth, found) if as_files else (truth, found)
    with pytest.raises(ValueError, match=message) as error:
        evaluate_coco(*given)
    side = ("gt.json", "`gt`") if edit_truth else ("dt.json", "`dt`")
    assert side[0 if as_files else 1] in str(error.value)


@pytest.mark.parametrize(
    ("side", "key"),
    [
        ("results", "image_id"),
        ("results", "category_id"),
        ("results", "bbox"),
        ("results", "score"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
        ("annotations", "bbox"),
    ],
)
def test_a_missing_key_is_named_with_its_record(tmp_path, side, key):
    truth, found = small_case()
    del (found if side == "results" else truth["annotations"])[2][key]
    with pytest.raises(ValueError, match=rf"{side}\[2\] lacks `{key}`"):
        evaluate_coco(*write(tmp_path, truth, found))


def test_missing_iscrowd_and_area_are_no_crowd_and_the_area_of_the_box():
    truth, found = small_case()
    expected = evaluate_coco(truth, found)
    for annotation in truth["annotations"]:
        del annotation["iscrowd"], annotation["area"]
    results = evaluate_coco(truth, found)
    np.testing.assert_array_equal(results.precision, expected.precision)
    np.testing.assert_array_equal(results.recall, expected.recall)


def test_an_unknown_class_is_left_out_with_a_warning_and_pycocotools_numbers():
    truth, found = small_case()
    stray = {"image_id": 5, "category_id": 99, "bbox": [0, 0, 9, 9], "score": 0.95}
    with pytest.warns(UserWarning, match=r"results\[4\].* category_id 99"):
        results = evaluate_coco(truth, [*found, stray])
    expected = run_pycocotools(truth, [*found, stray])
    np.testing.assert_array_equal(results.precision, expected.eval["precision"])


@pytest.mark.parametrize("empty", ["annotations", "images", "categories", "all"])
def test_an_empty_ground_truth_has_no_numbers(tmp_path, empty):
    truth, found = small_case()
    for key in truth if empty == "all" else [empty]:
        truth[key] = []
    if empty in ("images", "all"):
        found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of unknown images and classes
        results = evaluate_coco(*write(tmp_path, truth, found))
    assert results.stats.tolist() == [-1.0] * 12 and np.isnan(results.ap)
    assert json.loads(json.dumps(results.to_dict()))["ap"] is None
    assert "= -1.000" in results.summary()


def test_empty_results_find_nothing(tmp_path):
    truth, _ = small_case()
    results = evaluate_coco(*write(tmp_path, truth, []))
    assert results.stats[0] == 0 and results.stats[8] == 0
    assert results.recall.max() == 0


def test_results_of_another_data_set_are_called_so(tmp_path):
    truth, found = small_case()
    found = [{**d, "image_id": d["image_id"] + 1000} for d in found]
    with pytest.raises(ValueError, match=r"results\[0\] is of image 1005.*another data set"):
        evaluate_coco(*write(tmp_path, truth, found))


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("side", [0, 1])
def test_a_truncated_file_is_named_with_its_last_byte(tmp_path, part, side):
    texts = [json.dumps(value) for value in small_case()]
    texts[side] = texts[side][: int(part * (len(texts[side]) - 1))]
    paths = write(tmp_path, *texts)
    with pytest.raises(ValueError) as error:
        evaluate_coco(*paths)
    assert str(paths[side]) in str(error.value)
    assert f"byte {len(texts[side])} " in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"score": 0.9', '"score": 0.9.1'),
        ('"score": 0.9', '"score": .9'),
        ('"score": 0.9', '"score": 09'),
        ('"score": 0.9', '"score" 0.9'),
        ('"score": 0.9', '"score": 0.9,'),
        ('"score": 0.9', '"score": 0.9, score: 1'),
        ('"score": 0.9', '"score": nul'),
        ('"score": 0.9', '"s\\xore": 0.9'),
        ("}, {", "} {"),
        ("}]", "}]]"),
        ("}]", "},]"),
    ],
)
def test_a_malformed_file_is_named_with_the_byte_and_the_line(tmp_path, before, after):
    truth, found = small_case()
    text = json.dumps(found).replace(before, after, 1)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    gt, dt = write(tmp_path, truth, "\n\n" + text)
    with pytest.raises(ValueError, match=r"byte \d+ \(line 3\)") as error:
        evaluate_coco(gt, dt)
    assert str(dt) in str(error.value)
    at = int(str(error.value).split("byte ")[1].split()[0]) - 2
    same = [a == b for a, b in zip(text, json.dumps(found))]
    begin = same.index(False) if False in same else len(same)
    assert begin - 8 <= at <= begin + len(after) + 2, (at, begin, str(error.value))


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        ("[]", "[]", "must be an object with images, annotations and categories"),
        ('{"images": []}', "[]", "`annotations`"),
        (None, "{}", "must be a list"),
        (None, '{"annotations": []}', "must be a list"),
        (None, "3", "must be a list"),
        (None, "[1, 2]", r"byte|results\[0\]"),
        (None, "", "byte 0"),
        (None, b"\xff\xfe[\x00]\x00", "UTF-8|byte 0"),
    ],
)
def test_json_of_another_shape_is_refused(tmp_path, truth, found, message):
    gt, dt = write(tmp_path, small_case()[0] if truth is None else truth, "")
    dt.write_bytes(found if isinstance(found, bytes) else found.encode())
    with pytest.raises(ValueError, match=message):
        evaluate_coco(gt, dt)


def test_ids_of_64_bits_are_kept_apart(tmp_path):
    big = 2**63 - 8
    truth, found = small_case()
    expected = evaluate_coco(truth, found)
    for image in truth["images"]:
        image["id"] += big - 7
    for entry in (*truth["annotations"], *found):
        entry["image_id"] += big - 7
    for annotation in truth["annotations"]:
        annotation["id"] += 2**62
    results = evaluate_coco(*write(tmp_path, truth, found))
    np.testing.assert_array_equal(results.precision, expected.precision)
    np.testing.assert_array_equal(results.recall, expected.recall)
    found[0]["image_id"] = big + 7
    with pytest.raises(ValueError, match=rf"results\[0\] is of image {big + 7}"):
        evaluate_coco(*write(tmp_path, truth, found))


def test_ids_beyond_64_bits_are_refused(tmp_path):
    truth, found = small_case()
    found[1]["image_id"] = 2**63
    with pytest.raises(ValueError, match=r"results\[1\].*image_id"):
        evaluate_coco(*write(tmp_path, truth, found))


def test_unicode_and_escapes_are_read_as_json_reads_them(tmp_path):
    truth, found = small_case()
    names = ['Katze \u732b "\\/\b\f\n\r\t', "\U0001f436 dog"]
    for category, name in zip(truth["categories"], names):
        category["name"] = name
    truth["images"][0]["file_name"] = "\u00fcber/\u5b57.jpg"
    texts = [json.dumps(truth), json.dumps(truth, ensure_ascii=False)]
    texts.append(texts[0].replace('"bbox"', '"\\u0062box"').replace('"images"', '"im\\u0061ges"'))
    for text in texts:
        gt, dt = write(tmp_path, text, json.dumps(found).replace('"score"', '"sc\\u006fre"'))
        results = evaluate_coco(gt, dt)
        assert sorted(results.class_names) == sorted(names)
        np.testing.assert_array_equal(results.stats, evaluate_coco(truth, found).stats)


NUMBERS = ["0", "-0", "-0.0", "7", "1e2", "1E+2", "1.5e-1", "12E-1", "100e-2", "0.1", "0e5"]
NUMBERS += ["123456789.123456789", "0.30000000000000004", "1e-400", "4.9e-324", "5E-05"]
NUMBERS += ["0.1000000000000000055511151231257827021181583404541015625", "0.50"]


def test_numbers_in_every_form_of_json_are_pythons_doubles(tmp_path):
    truth, _ = small_case()
    text = ", ".join(
        f'{{"image_id": 5, "category_id": 3, "bbox": [{x}, 0e0, 1E1, 10.0], "score": {x}}}'
        for x in NUMBERS
    )
    gt, dt = write(tmp_path, truth, f"\r\n\t [ {text} ]\n ")
    results = evaluate_coco(gt, dt)
    expected = run_pycocotools(truth, json.loads(dt.read_text()))
    np.testing.assert_array_equal(results.precision, expected.eval["precision"])
    np.testing.assert_array_equal(results.scores, expected.eval["scores"])


def test_a_nan_score_is_sorted_last_where_pycocotools_is_repeated():
    truth, found = small_case()
    found = change(found, 1, score=float("nan"))
    with pytest.warns(UserWarning, match=r"results\[1\].* score nan"):
        results = evaluate_coco(truth, found, parity="pycocotools")
    expected = run_pycocotools(truth, found)
    np.testing.assert_array_equal(results.precision, expected.eval["precision"])
    np.testing.assert_array_equal(results.recall, expected.eval["recall"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"scores": [0.9, float("nan")]}, "scores.* must be finite.* row 1"),
        ({"scores": [0.9, float("inf")]}, "scores.* must be finite.* row 1"),
        ({"scores": [0.9]}, r"scores.*\[2\]"),
        ({"labels": [0, 2]}, r"labels.* in 0 \.\.\. 1, got 2 in row 1"),
        ({"labels": [0, -1]}, "labels.*got -1 in row 1"),
        ({"boxes": [[0, 0, 9, 9], [5, 5, 4, 9]]}, "x1 <= x2 and y1 <= y2.* row 1"),
        ({"boxes": [[0, 0, 9, 9], [5, 5, float("nan"), 9]]}, "must be finite.* row 1"),
        ({"boxes": [[0, 0, 9]]}, r"\[N, 4\]"),
    ],
)
def test_bad_arrays_are_named_with_image_and_row_and_change_nothing(edit, message):
    detections = {"boxes": [[0, 0, 9, 9], [0, 0, 5, 5]], "scores": [0.9, 0.8], "labels": [0, 1]}
    targets = {"boxes": [[0, 0, 9, 9]], "labels": [0]}
    evaluator = DetectionEvaluator(class_names=["cat", "dog"])
    evaluator.update("first", detections, targets)
    before = evaluator.compute().stats
    with pytest.raises(ValueError, match=message) as error:
        evaluator.update("second", {**detections, **edit}, targets)
    assert "image 'second'" in str(error.value)
    assert len(evaluator) == 1
    np.testing.assert_array_equal(evaluator.compute().stats, before)
    with pytest.raises(ValueError, match="'first' was added before"):
        evaluator.update("first", detections, targets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"image_id": 5, "category_id": 3, "bbox": [0, 0, 1', ("dt.json: byte 51 (line 1)",)),
        (
            '[{"image_id": 5, "category_id": 3, "bbox": [0, 0, -4, 1], "score": 1}]',
            ("dt.json", "results[0]", "negative side"),
        ),
    ],
)
def test_the_command_says_it_in_one_line(tmp_path, text, words):
    gt, dt = write(tmp_path, small_case()[0], text)
    done = run_eval("--gt", gt, "--dt", dt)
    if "negative side" in words:  # the command repeats pycocotools without --corrected
        assert done.returncode == 0 and all(word in done.stderr for word in words)
        done = run_eval("--gt", gt, "--dt", dt, "--corrected")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
