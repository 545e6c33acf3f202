"""COCO json: ids with gaps, crowd, exact numbers, and the errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def content(annotations, images=("a.png", "b.png"), categories=CATEGORIES):
    listed = [
        {"id": 10 + number, "file_name": name, "width": 64, "height": 48}
        for number, name in enumerate(images)
    ]
    return {"images": listed, "annotations": annotations, "categories": categories}


def write_coco(root: Path, annotations, *, name="instances.json", **options) -> Path:
    made = content(annotations, **options)
    for image in made["images"]:
        save_picture(root / "images" / image["file_name"])
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(made))
    return root


def annotation(number=1, image_id=10, category_id=7, bbox=(1.1, 2.2, 10.3, 5.5), **more):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(bbox),
        **more,
    }


def test_coco_category_ids_with_gaps_become_contiguous_labels(tmp_path):
    write_coco(tmp_path, [annotation(1, category_id=7), annotation(2, category_id=3)])
    found = read_dataset(tmp_path)
    assert found.format == "coco"
    assert found.class_names == ("cat", "dog")
    assert found.category_ids == (3, 7)
    np.testing.assert_array_equal(found.records[0].labels, [1, 0])
    assert [record.image_id for record in found.records] == [10, 11]
    assert found.records[1].boxes.shape == (0, 4)


def test_coco_keeps_xywh_bits_crowd_and_area(tmp_path):
    bbox = (0.1 + 0.2, 1 / 3, 10.1, 7.7)
    write_coco(tmp_path, [annotation(bbox=bbox, iscrowd=1, area=5.25), annotation(2)])
    record = read_dataset(tmp_path).records[0]
    assert record.boxes_xywh[0].tolist() == list(bbox)
    assert record.boxes[0].tolist() == [bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]]
    assert record.iscrowd.tolist() == [True, False]
    assert record.area.tolist() == [5.25, 10.3 * 5.5]


def test_coco_splits_are_told_by_file_and_folder_names(tmp_path):
    write_coco(tmp_path, [annotation()], name="annotations/instances_train2017.json")
    write_coco(tmp_path, [], name="annotations/instances_val2017.json", images=("c.png",))
    assert len(read_dataset(tmp_path, split="train")) == 2
    assert len(read_dataset(tmp_path, split="val")) == 1
    assert len(read_dataset(tmp_path, split="trainval")) == 3
    beside = tmp_path / "beside"
    for split in ("train", "valid"):
        save_picture(beside / split / "a.png")
        text = json.dumps(content([annotation()], images=("a.png",)))
        (beside / split / "_annotations.coco.json").write_text(text)
    assert read_dataset(beside, split="val").records[0].image == beside / "valid" / "a.png"


def test_coco_file_can_be_given_itself(tmp_path):
    write_coco(tmp_path, [annotation()])
    assert len(read_dataset(tmp_path / "instances.json")) == 2


def test_coco_classes_are_those_of_all_files_so_that_splits_agree(tmp_path):
    write_coco(tmp_path, [annotation()], name="train.json")
    write_coco(tmp_path, [annotation()], name="val.json", categories=[{"id": 7, "name": "dog"}])
    assert read_dataset(tmp_path, split="val").class_names == ("cat", "dog")
    write_coco(tmp_path, [], name="val.json", categories=[{"id": 7, "name": "wolf"}])
    with pytest.raises(DataError, match="category id 7 is 'wolf' here and 'dog' in another place"):
        read_dataset(tmp_path, split="val")


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"bbox": (1, 2, -3, 4)}, "width and height of bbox must be positive"),
        ({"bbox": (1, 2, 3)}, r"bbox must be \[x, y, width, height\]"),
        ({"bbox": (1, float("nan"), 3, 4)}, "coordinates must be finite"),
        ({"bbox": (100, 2, 3, 4)}, "lies outside its image of 64 x 48"),
        ({"category_id": 5}, "unknown class: category_id 5"),
    ],
)
def test_coco_bad_annotation_is_named_and_can_be_dropped(tmp_path, bad, rule):
    write_coco(tmp_path, [annotation(1), annotation(42, **bad)])
    expected = rf"instances\.json: annotation 42 of image a\.png: .*{rule}.*drop-box"
    with pytest.raises(DataError, match=expected):
        read_dataset(tmp_path)
    kept = read_dataset(tmp_path, on_bad_label="drop-box")
    assert [len(record.boxes) for record in kept.records] == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"].append(annotation(2, image_id=99)), "has image_id 99"),
        (lambda c: c["images"].append(c["images"][0]), "image id 10 is there twice"),
        (lambda c: c.update(images={}), "must hold a list `images`"),
        (lambda c: c["images"][0].pop("file_name"), r"images\[0\] must hold id and file_name"),
        (lambda c: c["categories"][0].pop("name"), r"categories\[0\] must hold an integer id"),
        (lambda c: c["categories"].append({"id": 9, "name": "cat"}), "have several ids"),
        (lambda c: c["images"][0].update(file_name="no.png"), r"no image no\.png in"),
    ],
)
def test_coco_broken_structure_is_named(tmp_path, change, message):
    made = json.loads(json.dumps(content([annotation()])))
    for image in made["images"]:
        save_picture(tmp_path / image["file_name"])
    change(made)
    (tmp_path / "instances.json").write_text(json.dumps(made))
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path)


def test_coco_json_error_names_its_line(tmp_path):
    text = json.dumps(content([annotation()]), indent=1)
    (tmp_path / "instances.json").write_text(text.replace('"images": [', '"images": [,', 1))
    with pytest.raises(DataError, match=r"instances\.json:2: not json"):
        read_dataset(tmp_path)


def test_coco_100_images_are_read_whole(shared_data, tmp_path):
    source = shared_data / "coco100" / "instances_val2014_100.json"
    made = json.loads(source.read_text())
    for image in made["images"]:
        (tmp_path / image["file_name"]).write_bytes(b"not decoded here")
    (tmp_path / source.name).write_text(source.read_text())
    found = read_dataset(tmp_path)
    assert len(found) == 100
    assert found.num_classes == 80
    assert found.category_ids[-1] == 90
    assert sum(len(record.boxes) for record in found.records) == 839
    assert sum(int(record.iscrowd.sum()) for record in found.records) == 9
    stated = {entry["id"]: entry for entry in made["annotations"]}
    assert sorted(float(v) for record in found.records for v in record.boxes_xywh[:, 2]) == sorted(
        float(entry["bbox"][2]) for entry in stated.values()
    )
