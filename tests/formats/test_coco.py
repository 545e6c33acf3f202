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
    with pytest.raises(DataError, match="category id 7 is 'wolf' here and 'dog' elsewhere"):
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
        (lambda c: c["images"].append(c["images"][0]), "image id 10 occurs twice"),
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


def write_content(root, made):
    for image in made["images"]:
        save_picture(root / "images" / image["file_name"].replace("\\", "/").rpartition("/")[2])
    (root / "instances.json").write_text(json.dumps(made))
    return root


def test_coco_numbers_and_truth_values_as_text_are_read(tmp_path):
    made = content([annotation(1, image_id="10", category_id="7", iscrowd="0", area="9")])
    made["annotations"].append(annotation(2, bbox=("1", "2", "3.5", "4"), iscrowd="1"))
    made["annotations"].append(annotation(3, image_id=10.0, category_id=7.0, iscrowd=None))
    made["categories"] = [{"id": "7", "name": "dog"}, {"id": 3.0, "name": "cat"}]
    for image in made["images"]:
        image.update(width="64", height=48.0)
    found = read_dataset(write_content(tmp_path, made))
    assert found.category_ids == (3, 7)
    record = found.records[0]
    assert (record.width, record.height, record.image_id) == (64, 48, 10)
    assert record.iscrowd.tolist() == [False, True, False]
    np.testing.assert_allclose(record.area, [9, 14, 10.3 * 5.5])
    assert record.boxes_xywh[1].tolist() == [1, 2, 3.5, 4]
    assert found.issues == ()


def test_coco_ids_of_images_may_be_text(tmp_path):
    made = content([annotation(1, image_id="1"), annotation(2, image_id="01")])
    made["images"][0]["id"], made["images"][1]["id"] = "01", "1"
    found = read_dataset(write_content(tmp_path, made))
    assert [(record.image_id, len(record.boxes)) for record in found.records] == [
        ("01", 1),
        ("1", 1),
    ]
    made["annotations"][0]["image_id"] = 1  # may be either
    with pytest.raises(DataError, match=r"annotations\[0\] has image_id 1, which is not among"):
        read_dataset(write_content(tmp_path, made))


@pytest.mark.parametrize("area", [None, "", "wide", float("nan"), -5])
def test_coco_area_that_is_no_area_is_width_times_height(tmp_path, area):
    found = read_dataset(write_coco(tmp_path, [annotation(area=area)]))
    np.testing.assert_allclose(found.records[0].area, [10.3 * 5.5])
    said = [str(issue) for issue in found.issues]
    assert len(said) == (0 if area is None else 1)
    assert all("instances.json: an annotation: area must be a number" in text for text in said)


@pytest.mark.parametrize("side", [None, 0, -1, "", "wide"])
def test_coco_size_that_is_none_is_asked_of_the_picture(tmp_path, side):
    made = content([annotation()])
    for image in made["images"]:
        image["width"] = side
    record = read_dataset(write_content(tmp_path, made)).records[0]
    assert (record.width, record.height) == (64, 48)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"iscrowd": "perhaps"}, "iscrowd must be 0 or 1, got 'perhaps'"),
        ({"bbox": [1, 2, None, 4]}, r"bbox must be \[x, y, width, height\]"),
        ({"category_id": [7]}, r"category_id \[7\] is not among the categories"),
        ({"category_id": True}, "category_id True is not among the categories"),
    ],
)
def test_coco_value_of_another_type_is_a_bad_label(tmp_path, bad, rule):
    write_coco(tmp_path, [annotation(42, **bad)])
    with pytest.raises(DataError, match=rf"annotation 42 of image a\.png: .*{rule}"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].update(id=[1]), r"images\[0\] must hold id and file_name"),
        (lambda c: c["images"][0].update(file_name=5), r"images\[0\] must hold id and file_name"),
        (lambda c: c["annotations"][0].update(image_id={}), r"annotations\[0\] has image_id {}"),
        (lambda c: c["categories"].append(5), r"categories\[2\] must hold an integer id"),
        (lambda c: c["categories"][0].update(name=None), r"categories\[0\] must hold"),
    ],
)
def test_coco_entry_of_another_type_is_named(tmp_path, change, message):
    made = json.loads(json.dumps(content([annotation()])))
    write_content(tmp_path, made)
    change(made)
    (tmp_path / "instances.json").write_text(json.dumps(made))
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_coco_categories_are_those_of_the_file_not_of_its_entries(tmp_path, key):
    made = content([annotation()])
    made = {name: made[name] for name in ("categories", "images", "annotations")}
    made[key][0]["categories"] = [{"id": 1, "name": "sunny"}]
    assert read_dataset(write_content(tmp_path, made)).class_names == ("cat", "dog")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_coco_file_with_a_byte_order_mark_is_read(tmp_path, encoding):
    write_coco(tmp_path, [annotation()])
    path = tmp_path / "instances.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert read_dataset(tmp_path).format == "coco"
    path.rename(tmp_path / "x.JSON")
    assert len(read_dataset(tmp_path / "x.JSON")) == 2


def test_coco_picture_with_two_entries_is_one_and_that_is_said(tmp_path):
    other = (20, 20, 5, 5)
    made = content(
        [annotation(1), annotation(2, image_id=11), annotation(3, image_id=11, bbox=other)],
        images=("a.png", "./a.png"),
    )
    found = read_dataset(write_content(tmp_path, made))
    assert [len(record.boxes) for record in found.records] == [2]
    assert "two entries of `images` have the same file" in str(found.issues[0])


@pytest.mark.parametrize(
    "name", [r"images\a b.png", "./a b.png", r"C:\set\a b.png", "/set/a b.png"]
)
def test_coco_picture_is_found_by_the_path_of_another_machine(tmp_path, name):
    found = read_dataset(write_content(tmp_path, content([], images=(name,))))
    assert [record.image.name for record in found.records] == ["a b.png"]


@pytest.mark.parametrize("root_name", ["blood", "cell"])
def test_coco_root_category_without_annotations_is_no_class(tmp_path, root_name):
    categories = [
        {"id": 0, "name": root_name, "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": root_name},
    ]
    write_coco(tmp_path, [annotation(category_id=1)], categories=categories)
    found = read_dataset(tmp_path)
    assert (found.class_names, found.category_ids) == (("cell",), (1,))
    assert f"category '{root_name}' of id 0: it has no annotation" in str(found.issues[0])


def test_coco_category_that_groups_others_and_is_used_is_a_class(tmp_path):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "lynx", "supercategory": "cat"}]
    write_coco(tmp_path, [annotation(category_id=1)], categories=categories)
    found = read_dataset(tmp_path)
    assert (found.class_names, found.issues) == (("cat", "lynx"), ())


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("annotations/instances_default.json", "images/a.png"),
        ("annotations/instances_default.json", "images/Train/a.png"),
        ("result.json", "images/a.png"),
        ("labels.json", "data/a.png"),
        ("annots/all.json", "photos/a.png"),
    ],
)
def test_coco_layouts_of_tools_are_found(tmp_path, file, image):
    save_picture(tmp_path / image)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    name = image.split("/", 1)[1]
    (tmp_path / file).write_text(json.dumps(content([annotation()], images=(name,))))
    found = read_dataset(tmp_path)
    assert (found.format, [record.image for record in found.records]) == (
        "coco",
        [tmp_path / image],
    )


def test_coco_picture_is_never_taken_from_the_folder_of_another_split(tmp_path):
    save_picture(tmp_path / "train" / "a.png")
    (tmp_path / "val.json").write_text(json.dumps(content([annotation()], images=("a.png",))))
    with pytest.raises(DataError, match=r"no image a\.png in"):
        read_dataset(tmp_path, split="val")


def test_coco_default_file_of_cvat_beside_splits_is_said(tmp_path):
    for name in ("Train", "Validation", "default"):
        file = f"annotations/instances_{name}.json"
        write_coco(tmp_path, [annotation()], name=file, images=(f"{name}.png",))
    assert [r.image.name for r in read_dataset(tmp_path, split="val").records] == ["Validation.png"]
    (said,) = read_dataset(tmp_path, split="train").issues
    assert "instances_default.json: a file: the images that CVAT lists there" in str(said)
    assert len(read_dataset(tmp_path)) == 3


@pytest.mark.parametrize("text", ["", "[1, 2]", "{"])
def test_coco_file_of_a_split_that_is_damaged_is_refused(tmp_path, text):
    write_coco(tmp_path, [annotation()], name="valid/_annotations.coco.json")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "_annotations.coco.json").write_text(text)
    with pytest.raises(DataError, match=r"train/_anno.*: not a COCO file, though .*valid/_anno"):
        read_dataset(tmp_path)
