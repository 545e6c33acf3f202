"""COCO outlines and keypoints, which stay in their file until they are read."""

import importlib.util
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset
from sightline.data.read import open_labels
from sightline.formats.shapes import Polygons, RunLengths
from sightline.formats.source import Notes

from ..pictures import save_picture
from .test_coco import annotation, content, write_coco, write_content

TRIANGLE = [2, 3, 12, 3, 12, 9.5]
RUNS = {"size": [48, 64], "counts": [48, 10, 48 * 64 - 58]}
LENIENT = {"iscrowd": "0"}  # a spelling that makes the whole file be read as Python objects
BOTH_READERS = pytest.mark.parametrize("more", [{}, LENIENT], ids=["compiled", "lenient"])


def only_record(root, annotations, **options):
    (record, _) = read_dataset(write_coco(root, annotations), **options).records
    return record


@BOTH_READERS
def test_outlines_are_polygons_run_lengths_or_none(tmp_path, more):
    record = only_record(
        tmp_path,
        [
            annotation(1, segmentation=[TRIANGLE, [1, 1, 2, 1, 2, 2]], **more),
            annotation(2),
            annotation(3, segmentation=RUNS, iscrowd=1),
            annotation(4, segmentation={"size": [48, 64], "counts": "`1:Vn2"}),
            annotation(5, segmentation=[]),
        ],
    )
    polygons, none, runs, text, empty = pickle.loads(pickle.dumps(record.shapes))
    assert [ring.tolist() for ring in polygons.rings] == [
        [[2, 3], [12, 3], [12, 9.5]],
        [[1, 1], [2, 1], [2, 2]],
    ]
    assert none is None and empty is None
    assert runs == text == RunLengths((48, 64), b"`1:Vn2")
    taken = record.take([3, 0])
    assert isinstance(taken.shapes[1], Polygons) and taken.shapes[0] == text
    assert read_dataset(tmp_path).records[1].shapes is None


@BOTH_READERS
def test_an_annotation_without_bbox_has_the_hull_of_its_outline(tmp_path, more):
    without = annotation(1, segmentation=[TRIANGLE], **more)
    del without["bbox"]
    record = only_record(tmp_path, [without, annotation(2, bbox=[], segmentation=RUNS)])
    assert record.boxes.tolist() == [[2, 3, 12, 9.5], [1, 0, 2, 10]]
    assert record.boxes_xywh.tolist() == [[2, 3, 10, 6.5], [1, 0, 1, 10]]
    assert [type(shape) for shape in record.shapes] == [Polygons, RunLengths]


@BOTH_READERS
@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "segmentation must be polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "segmentation must be polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "segmentation must be polygons"),
        ({"segmentation": "mask.png"}, "segmentation must be polygons .* got 'mask.png'"),
        ({"segmentation": {"counts": [1]}}, "got size None"),
        ({"segmentation": {"size": [48, 64]}}, "got counts None"),
        ({"segmentation": {"size": [48, 64], "counts": [7]}}, "broken run lengths"),
        ({"segmentation": {"size": [48, 64], "counts": "~"}}, "broken run lengths"),
        ({"segmentation": {"size": [2**40, 2**40], "counts": "0"}}, "got size"),
        ({"keypoints": [1, 2]}, r"keypoints must be finite numbers \[x, y, visibility"),
        ({"keypoints": [1, 2, None]}, "keypoints must be finite numbers"),
    ],
)
def test_a_broken_outline_is_a_bad_label_that_names_the_annotation(tmp_path, bad, rule, more):
    write_coco(tmp_path, [annotation(42, **bad), annotation(2, **more)])
    with pytest.raises(DataError, match=rf"annotation 42 of image a\.png: .*{rule}"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, on_bad_label="drop-box").records[0].boxes) == 1


@BOTH_READERS
def test_spellings_of_polygons_that_tools_write_are_read(tmp_path, more):
    spelt = [str(number) for number in TRIANGLE]
    record = only_record(
        tmp_path,
        [annotation(1, segmentation=TRIANGLE, **more), annotation(2, segmentation=[spelt])],
    )
    assert [shape.rings[0].tolist() for shape in record.shapes] == [
        [[2, 3], [12, 3], [12, 9.5]]
    ] * 2


@BOTH_READERS
def test_a_polygon_of_two_points_is_left_out_and_that_is_said(tmp_path, more):
    write_coco(tmp_path, [annotation(1, segmentation=[[1, 1, 2, 2], TRIANGLE], **more)])
    found = read_dataset(tmp_path)
    assert len(found.records[0].shapes[0].rings) == 1
    assert "needs three points or more" in str(found.issues[0])


def test_outlines_of_a_file_that_has_changed_are_refused(tmp_path):
    write_coco(tmp_path, [annotation(1, segmentation=[TRIANGLE])])
    record = read_dataset(tmp_path).records[0]
    path = tmp_path / "instances.json"
    text = path.read_text()
    for change in (lambda: path.write_text(text.replace("12", "99")), path.unlink):
        change()
        os.utime(tmp_path)
        with pytest.raises(DataError, match=r"instances\.json: the annotation at byte .* again"):
            record.shapes[0]


@BOTH_READERS
def test_keypoints_have_as_many_points_as_the_longest_list(tmp_path, more):
    made = content(
        [
            annotation(1, keypoints=[1, 2, 2, 3, 4, 1], **more),
            annotation(2),
            annotation(3, keypoints=[5, 6, 2]),
            annotation(4, image_id=11),
        ]
    )
    names = ["nose", "left_eye", "right_eye"]
    made["categories"][0] = dict(
        made["categories"][0], keypoints=names, skeleton=[[1, 2], [1, 3], [0, 9]]
    )
    found = read_dataset(write_content(tmp_path, made))
    assert found.records[0].points.tolist() == [
        [[1, 2, 2], [3, 4, 1]],
        [[0, 0, 0], [0, 0, 0]],
        [[5, 6, 2], [0, 0, 0]],
    ]
    assert found.records[1].points is None
    assert found.keypoint_names == tuple(names)
    assert found.keypoint_mirror == (0, 2, 1)
    assert found.skeleton == ((0, 1), (0, 2))
    assert found.subset([1]).skeleton == found.skeleton


def test_only_categories_whose_keypoints_differ_are_said_to(tmp_path):
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    made = content([annotation(1, keypoints=[1, 2, 2, 3, 4, 1])], categories=categories)
    first, second = made["categories"]
    first |= {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    second |= {"keypoints": ["nose", "tail"], "skeleton": []}
    assert read_dataset(write_content(tmp_path, made)).issues == ()
    second["keypoints"] = ["nose", "paw"]
    (said,) = map(str, read_dataset(write_content(tmp_path, made)).issues)
    assert "categories with different keypoints" in said


def test_images_that_are_not_there_are_counted(tmp_path):
    made = content([], images=("a.png", "b.png", "c.png", "d.png"))
    write_content(tmp_path, made)
    for name in ("b", "d"):
        (tmp_path / "images" / f"{name}.png").unlink()
    said = r"2 of 4 images are not there, first image b\.png in .*; add them, or remove them from"
    with pytest.raises(DataError, match=said):
        read_dataset(tmp_path)


def test_a_check_reads_on_past_every_broken_entry(tmp_path):
    made = content(
        [annotation(1), annotation(2, image_id=99)],
        images=("a.png", "\ud800.png", "c.png", "d.png"),
    )
    made["images"] += [{"id": 10, "file_name": "e.png"}, {"id": 8, "file_name": None}]
    made["images"][2]["width"] = made["images"][1]["width"] = 0
    for name, data in (("c.png", b"no picture"), ("d.png", b"")):
        (tmp_path / name).write_bytes(data)
    save_picture(tmp_path / "a.png")
    (tmp_path / "instances.json").write_text(json.dumps(made))
    errors = []
    source, _ = open_labels(tmp_path, notes=Notes(errors))
    (item,) = source.pool()
    assert [record.image.name for record, _ in source.pairs(item)] == ["a.png", "d.png"]
    rules = ["image id 10 occurs twice", r"images[5] must hold", "annotations[1] has image_id 99"]
    rules += [r"no image \ud800.png", "d.png: the image file is empty", "c.png: not a readable"]
    for rule in rules:
        assert sum(rule in str(error) for error in errors) == 1, rule
    assert len(errors) == len(rules)


@pytest.mark.parametrize("key", ["images", "categories"])
def test_an_id_of_more_than_64_bits_is_refused(tmp_path, key):
    made = json.loads(json.dumps(content([])))
    made[key][0]["id"] = 2**63
    with pytest.raises(DataError, match=rf"{key}\[0\] has id 9223372036854775808, which has more"):
        read_dataset(write_content(tmp_path, made))


def test_a_number_of_thousands_of_digits_is_an_error(tmp_path):
    write_coco(tmp_path, [annotation(area="AREA")])
    path = tmp_path / "instances.json"
    path.write_text(path.read_text().replace('"AREA"', "9" * 5000))
    with pytest.raises(DataError, match=r"instances\.json: not json .*Exceeds the limit"):
        read_dataset(tmp_path)


def test_deep_nesting_is_no_crash(tmp_path):
    write_coco(tmp_path, [annotation(1, segmentation=[TRIANGLE], other="DEEP")])
    path = tmp_path / "instances.json"
    path.write_text(path.read_text().replace('"DEEP"', "[" * 100_000 + "]" * 100_000))
    found = read_dataset(tmp_path)
    assert len(found.records[0].boxes) == 1
    with pytest.raises(DataError, match="cannot be read"):
        found.records[0].shapes[0]
    path.write_text(path.read_text().replace('"iscrowd"', '"x"').replace("[2, 3", "[null, 3"))
    with pytest.raises(DataError, match="nested too deeply"):
        read_dataset(tmp_path)


def test_categories_are_found_across_the_pieces_that_a_file_is_read_in(tmp_path, monkeypatch):
    made = content([annotation(1, category_id=3)])
    write_content(tmp_path, made)
    (tmp_path / "instances.json").rename(tmp_path / "train.json")
    (tmp_path / "val.json").write_text(json.dumps(made))
    whole = read_dataset(tmp_path).class_names
    for size in (5, 13, 64):
        monkeypatch.setattr("sightline.formats.coco.categories._CHUNK", size)
        assert read_dataset(tmp_path).class_names == whole == ("cat", "dog")
        text = json.dumps({**made, "info": {"categories": 1}})
        (tmp_path / "val.json").write_text(text)
        assert read_dataset(tmp_path).class_names == whole


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured on Linux")
def test_opening_a_large_file_takes_no_more_memory_than_its_columns(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "open_coco.py"
    spec = importlib.util.spec_from_file_location("open_coco", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.measure(module.write_coco(tmp_path / "set", 300, 20_000))
    assert (found["images"], found["boxes"]) == (300, 20_000)
    assert found["peak_mb"] < 60  # the text is 8 MB, and 100 MB as Python objects
    assert np.isfinite(found["outline_us"])
