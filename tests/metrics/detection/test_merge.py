"""Merging, saving, loading, pickling and copying evaluators."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator
from sightline.metrics.detection._state import to_arrays
from tests.metrics.detection.test_state import assert_same, case_of, fill

GOOD = (
    {"boxes": [[0, 0, 9, 9], [1, 1, 5, 5]], "scores": [0.5, 1], "labels": [0, 1]},
    {"boxes": [[0, 0, 9, 9]], "labels": [0]},
)
OTHER_DETECTIONS = ({**GOOD[0], "scores": [0.5, 0.25]}, GOOD[1])
OTHER_TARGETS = (GOOD[0], {**GOOD[1], "iscrowd": [1]})
FEWER = ({"boxes": [], "scores": [], "labels": []}, GOOD[1])


def columns(evaluator):
    evaluator._store.sort()
    return {name: array.tolist() for name, array in to_arrays(evaluator._store).items()}


def shards(case, owners):
    parts = [{} for _ in range(max(owners) + 1)]
    for image_id, owner in zip(case, owners):
        parts[owner][image_id] = case[image_id]
    return [fill(part) for part in parts]


@pytest.mark.parametrize("text", [False, True])
def test_parts_merged_in_any_order_are_the_whole(text):
    case = case_of(seed=8, images=7)
    if text:
        case = {f"image {i}": image for i, image in case.items()}
    wanted = fill(case)
    for order in itertools.permutations(range(4)):
        parts = shards(case, [0, 2, 2, 0, 0, 3, 2])  # part 1 has no image
        merged = DetectionEvaluator()
        for i in order:
            assert merged.merge(parts[i]) is merged
        assert len(parts[1]) == 0 and len(merged) == 7
        assert columns(merged) == columns(wanted)
        assert_same(merged.compute(), wanted.compute())


def test_an_image_in_both_counts_once():
    case = case_of(seed=9, images=5)
    ids = list(case)
    a, b = fill({i: case[i] for i in ids[:4]}), fill({i: case[i] for i in ids[2:]})
    assert columns(a.merge(b)) == columns(fill(case))
    assert columns(a.merge(a)) == columns(fill(case))


@pytest.mark.parametrize("other", [OTHER_DETECTIONS, OTHER_TARGETS, FEWER])
def test_an_image_whose_rows_differ_is_refused_and_nothing_is_added(other):
    a, b = fill({3: GOOD}), fill({7: GOOD, 3: other, 8: GOOD})
    before = columns(a)
    with pytest.raises(ValueError, match="image 3 is in both with other rows"):
        a.merge(b)
    assert columns(a) == before


def test_the_first_detections_stand_where_asked_but_targets_must_agree():
    a = fill({3: GOOD}).merge(fill({3: OTHER_DETECTIONS, 4: GOOD}), duplicates="first")
    assert columns(a) == columns(fill({3: GOOD, 4: GOOD}))
    with pytest.raises(ValueError, match="image 3 is in both with other targets"):
        a.merge(fill({3: OTHER_TARGETS}), duplicates="first")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"iou_thresholds": [0.5]}, "`iou_thresholds` is .* here and"),
        ({"class_names": "ab"}, r"`class_names` is None here and \['a', 'b'\] there"),
        ({"protocol": "voc2007"}, "`protocol` is 'coco' here and 'voc2007' there"),
        ({"parity": "pycocotools"}, "`parity`"),
        ({"max_detections": [300]}, "`max_detections`"),
        ({"area_ranges": {"all": (0, 1)}}, "`area_ranges`"),
        ({"use_classes": False}, "`use_classes` is True here and False there"),
    ],
)
def test_other_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=f"same settings to merge: .*{message}"):
        DetectionEvaluator().merge(DetectionEvaluator(**kwargs))


def test_what_cannot_be_merged_is_refused():
    evaluator = fill({3: GOOD})
    with pytest.raises(TypeError, match="must be a DetectionEvaluator, got dict"):
        evaluator.merge({})
    with pytest.raises(TypeError, match="must be all int or all str, got 'x' after others"):
        evaluator.merge(fill({"x": GOOD}))
    with pytest.raises(ValueError, match="must be 'same' or 'first', got 'last'"):
        evaluator.merge(evaluator, duplicates="last")
    assert len(evaluator) == 1


SETTINGS = [
    {},
    {"protocol": "voc2007", "iou_thresholds": [0.1, 0.3], "inclusive_pixels": False},
    {"protocol": "voc2010", "class_names": "abc"},
    {"class_names": ["a", "é", "c"], "max_detections": [5, 300], "use_classes": False},
    {"area_ranges": {"all": (0, 1e10), "tiny": (0, 50)}, "parity": "pycocotools"},
]


def by_file(evaluator, tmp_path):
    evaluator.save(tmp_path / "state")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    return DetectionEvaluator.load(tmp_path / "state")


WAYS = {
    "save": by_file,
    "pickle": lambda evaluator, _: pickle.loads(pickle.dumps(evaluator)),
    "deepcopy": lambda evaluator, _: copy.deepcopy(evaluator),
    "copy": lambda evaluator, _: copy.copy(evaluator),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kwargs", SETTINGS)
@pytest.mark.parametrize("ids", ["numbers", "text", "none"])
def test_copies_hold_the_same_and_go_their_own_way(way, kwargs, ids, tmp_path):
    case = case_of(seed=10, images=5)
    if ids == "text":
        case = {f"{i} é": image for i, image in case.items()}
    if ids == "none":
        case = {}
    evaluator = fill(case, **kwargs)
    made = WAYS[way](evaluator, tmp_path)
    assert made._settings == evaluator._settings
    assert columns(made) == columns(evaluator)
    if ids == "numbers":
        assert_same(made.compute(), evaluator.compute())
    made.update("new" if ids == "text" else 5000, *GOOD)
    assert len(made) == len(evaluator) + 1
    made.merge(evaluator)


def test_ignored_objects_and_crowds_are_saved(tmp_path):
    targets = {"boxes": [[0, 0, 9, 9]] * 4, "labels": [0] * 4}
    targets |= {"iscrowd": [0, 1, 0, 1], "difficult": [0, 0, 1, 1]}
    evaluator = fill({1: (GOOD[0], targets)})
    assert columns(evaluator)["objects.flags"] == [0, 1, 2, 3]
    assert columns(by_file(evaluator, tmp_path)) == columns(evaluator)


def test_saving_over_a_file_keeps_it_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    fill({1: GOOD}).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fill({1: GOOD, 2: GOOD}).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "state"
    fill({1: GOOD, 2: GOOD}).save(path)
    good = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))

    def refused(match):
        with pytest.raises(ValueError, match=match):
            DetectionEvaluator.load(path)

    for content in (b"", b"text", good[:100], good[: len(good) // 2], pickle.dumps([1])):
        path.write_bytes(content)
        refused("is no saved DetectionEvaluator, or damaged")
    for name in arrays:  # each array missing, or a row short
        for others in ({}, {name: arrays[name][:-1]} if arrays[name].ndim else {}):
            with open(path, "wb") as file:
                np.savez(file, **({k: v for k, v in arrays.items() if k != name} | others))
            refused("is no saved DetectionEvaluator, or damaged")
    for change, match in (
        ({"version": 2}, "of version 2 of the format, and this Sightline reads up to 1"),
        ({"format": "x"}, "its format is 'x'"),
        ({"settings": {}}, "damaged"),
        ({"settings": header["settings"] | {"protocol": "x"}}, "damaged: `protocol` must be"),
    ):
        with open(path, "wb") as file:
            np.savez(file, **(arrays | {"header": np.array(json.dumps(header | change))}))
        refused(match)
    for name, row, value in (
        ("detections.scores", 0, np.nan),
        ("objects.labels", 1, -1),
        ("image_ids", 1, 1),
        ("detections.image_ends", 0, -1),
        ("detections.image_ends", 0, 2**40),
        ("objects.image_ends", 1, 3),
    ):
        broken = arrays[name].copy()
        broken[row] = value
        with open(path, "wb") as file:
            np.savez(file, **(arrays | {name: broken}))
        refused("damaged")
    with pytest.raises(FileNotFoundError):
        DetectionEvaluator.load(tmp_path / "none")


def test_without_a_process_group_nothing_is_synchronised():
    evaluator = fill({1: GOOD})
    assert evaluator.synchronize() is evaluator and len(evaluator) == 1
    with pytest.raises(ValueError, match="must be 'same' or 'first', got 'last'"):
        evaluator.synchronize(duplicates="last")
