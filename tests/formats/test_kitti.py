"""KITTI text files: layouts, boxes, DontCare regions, and the errors."""

from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture
from .refusals import refusal

CAR = "Car 0.00 0 -1.58 1.5 2.25 30 40 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
DONT_CARE = "DontCare -1 -1 -10 5 5 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"


def write(root: Path, labels: dict[str, str], folders=("image_2", "label_2")) -> Path:
    for stem, text in labels.items():
        save_picture(root / folders[0] / f"{stem}.png")
        (root / folders[1]).mkdir(parents=True, exist_ok=True)
        (root / folders[1] / f"{stem}.txt").write_text(text)
    return root


@pytest.mark.parametrize("folders", [("image_2", "label_2"), ("images", "labels")])
def test_kitti_boxes_are_corners_as_written(tmp_path, folders):
    write(tmp_path, {"000000": "", "000001": CAR + CAR.replace("Car", "Van")}, folders)
    found = read_dataset(tmp_path)
    assert (found.format, found.class_names, found.issues) == ("kitti", ("Car", "Van"), ())
    assert [record.image_id for record in found.records] == ["000000", "000001"]
    np.testing.assert_array_equal(found.records[1].boxes, [[1.5, 2.25, 30, 40]] * 2)
    np.testing.assert_array_equal(found.records[1].labels, [0, 1])


def test_kitti_dont_care_regions_are_left_out_and_that_is_said(tmp_path):
    found = read_dataset(write(tmp_path, {"0": CAR + DONT_CARE, "1": DONT_CARE}))
    assert found.class_names == ("Car",)
    assert [len(record.boxes) for record in found.records] == [1, 0]
    (said,) = map(str, found.issues)
    assert "0.txt:2: a DontCare region, and in 1 more file: it has no class (left out)" in said


def test_kitti_training_folder_is_the_train_split_and_val_is_drawn(tmp_path):
    write(tmp_path / "training", {str(number): CAR for number in range(5)})
    save_picture(tmp_path / "testing" / "image_2" / "9.png")
    assert len(read_dataset(tmp_path, split="train")) == 4
    assert "20 % of official train" in read_dataset(tmp_path, split="val").split_rule


def test_kitti_lists_of_image_sets_tell_the_splits(tmp_path):
    write(tmp_path / "training", {stem: CAR for stem in "abc"})
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\nc\n")
    (tmp_path / "ImageSets" / "val.txt").write_text("b\n")
    (tmp_path / "ImageSets" / "test.txt").write_text("9\n")  # without labels, as in the release
    splits = {split: read_dataset(tmp_path, split=split).records for split in ("train", "val")}
    assert [record.image_id for record in splits["train"]] == ["a", "c"]
    assert [record.image_id for record in splits["val"]] == ["b"]
    (tmp_path / "ImageSets" / "val.txt").write_text("b\nzebra\n")
    with pytest.raises(DataError, match=r"val\.txt:2: lists zebra, but there is no such label"):
        read_dataset(tmp_path, split="val")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("Car 0 0 0 1 2 30 40\n", "a line is a type and 14 numbers, got 8 words"),
        (CAR.replace("\n", " 0.9\n"), "a result with a score is no label"),
        (CAR.replace("2.25", "x"), "corners must be numbers, got 'Car 0.00"),
        (CAR.replace("30", "1"), "a box needs xmin < xmax"),
        (CAR.replace("Car", "Cow"), "unknown class 'Cow'; the classes are Car"),
    ],
)
def test_kitti_bad_line_names_file_line_rule_and_fix(tmp_path, line, rule):
    write(tmp_path, {"0": CAR + line})
    refusal(tmp_path, "0.txt:2: object (C", rule, class_names=("Car",))


def test_kitti_label_without_image_and_image_without_label_are_named(tmp_path):
    write(tmp_path, {"0": CAR})
    save_picture(tmp_path / "image_2" / "1.png")
    assert "1.png: an image without a label file" in str(read_dataset(tmp_path).issues[0])
    (tmp_path / "image_2" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.txt: no image named 0 in .*image_2; add the image"):
        read_dataset(tmp_path)


def test_kitti_keeps_what_it_says_of_objects_besides_their_boxes(tmp_path):
    van = "Van 0.25 2 1.5 5 6 20 30 -1 -1 -1 -1000 -1000 -1000 x\n"
    found = read_dataset(write(tmp_path, {"0": CAR + DONT_CARE + van}))
    extra = found.records[0].extra
    np.testing.assert_array_equal(extra["truncated"], [0, 0.25])
    np.testing.assert_array_equal(extra["occluded"], [0, 2])
    np.testing.assert_array_equal(extra["alpha"], [-1.58, 1.5])
    np.testing.assert_array_equal(extra["dimensions"], [[1.65, 1.67, 3.64], [-1, -1, -1]])
    np.testing.assert_array_equal(extra["location"], [[-0.65, 1.71, 46.7], [-1000] * 3])
    np.testing.assert_array_equal(extra["rotation_y"], [-1.59, np.nan])
    assert any("0.txt:3: rotation_y: it must be a number" in str(i) for i in found.issues)
    np.testing.assert_array_equal(found.records[0].ignored, [[5, 5, 9, 9]])


def test_kitti_is_recognised_where_the_first_label_file_is_bad(tmp_path):
    write(tmp_path, {"000000": "Car 0 0 1\n", "000001": CAR})
    with pytest.raises(DataError, match=r"000000\.txt:1: object \(Car\): a line is a type and 14"):
        read_dataset(tmp_path)


def test_kitti_folders_of_training_and_testing_are_not_taken_for_classes(tmp_path):
    write(tmp_path / "training", {"000000": CAR})
    save_picture(tmp_path / "testing" / "image_2" / "000000.png")
    assert read_dataset(tmp_path).issues == ()
