"""CSV of boxes: columns, splits, images without objects, and the errors."""

import numpy as np
import pytest

from sightline.data import DataError, read_dataset
from sightline.formats import csv_table, via

from ..pictures import save_picture
from .refusals import refusal

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def write(root, text, name="_annotations.csv", images=("a.jpg", "b.jpg")):
    for image in images:
        save_picture(root / image)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "a.jpg,64,48,cat,1,2,30.5,40\na.jpg,64,48,ant,5,5,9,9\nb.jpg,64,48,ant,1,1,9,9\n",
        '"image","xmin","ymin","xmax","ymax","label"\n"a.jpg",1,2,30.5,40,"cat"\n'
        '"a.jpg",5,5,9,9,"ant"\n"b.jpg",1,1,9,9,"ant"\n',
        "a.jpg,1,2,30.5,40,cat\na.jpg,5,5,9,9,ant\nb.jpg,1,1,9,9,ant\n",
        "\ufeffImage_Path; Class; x1; y1; x2; y2\r\n\r\na.jpg; cat; 1; 2; 30.5; 40\r\n"
        "a.jpg; ant; 5; 5; 9; 9\r\n./b.jpg; ant; 1; 1; 9; 9\r\n",
    ],
)
def test_csv_columns_are_told_by_their_names_or_without_header(tmp_path, text):
    found = read_dataset(write(tmp_path, text))
    assert (found.format, found.class_names, found.issues) == ("csv", ("ant", "cat"), ())
    np.testing.assert_array_equal(found.records[0].boxes, [[1, 2, 30.5, 40], [5, 5, 9, 9]])
    assert [record.labels.tolist() for record in found.records] == [[1, 0], [0]]
    assert (found.records[0].width, found.records[0].height) == (64, 48)
    assert len(read_dataset(tmp_path / "_annotations.csv")) == 2


def test_csv_row_without_class_and_corners_is_an_image_without_objects(tmp_path):
    write(tmp_path, HEADER + "a.jpg,0,,cat,1,2,30,40\nb.jpg,64,48,,,,,\n")
    found = read_dataset(tmp_path)
    assert [len(record.boxes) for record in found.records] == [1, 0]
    assert (found.records[0].width, found.records[0].height) == (64, 48)


def test_csv_image_without_a_row_is_left_out_and_that_is_said(tmp_path):
    write(tmp_path, HEADER + "a.jpg,64,48,cat,1,2,30,40\n")
    found = read_dataset(tmp_path)
    assert len(found) == 1
    assert "1 image without a row, such as b.jpg" in str(found.issues[0])


@pytest.mark.parametrize(
    ("name", "folder"),
    [("{split}/_annotations.csv", "{split}"), ("data/{split}_labels.csv", "images/{split}")],
)
def test_csv_splits_are_told_by_file_and_folder_names(tmp_path, name, folder):
    for split in ("train", "test"):
        image = f"{folder.format(split=split)}/{split}.jpg"
        text = f"{HEADER}{split}.jpg,64,48,cat,1,2,30,40\n"
        write(tmp_path, text, name.format(split=split), [image])
    for split in ("train", "test"):
        found = read_dataset(tmp_path, split=split if split == "test" else "trainval")
        assert [record.image.stem for record in found.records] == [split]
    (tmp_path / "more.csv").write_text(HEADER)
    with pytest.raises(DataError, match=r"cannot tell the splits of .*more\.csv"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("a.jpg,64,48,cat,30,2,10,40", "a box needs xmin < xmax, got xmin=30"),
        ("a.jpg,64,48,cat,,2,10,40", "xmin must be a number, got ''"),
        ("a.jpg,64,48,cow,1,2,10,40", "unknown class 'cow'; the classes are cat"),
    ],
)
def test_csv_bad_row_names_file_line_rule_and_fix(tmp_path, row, rule):
    write(tmp_path, f"{HEADER}a.jpg,64,48,cat,1,2,30,40\n{row}\nb.jpg,64,48,,,,,\n")
    refusal(tmp_path, "_annotations.csv:3: box (", rule, class_names=("cat",))
    kept = read_dataset(tmp_path, class_names=("cat",), on_bad_label="drop-box")
    assert [len(record.boxes) for record in kept.records] == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a.jpg,64,48,cat,1,2,30\n", r"csv:2: a row must have 8 columns, got 7"),
        (HEADER + "c.jpg,64,48,cat,1,2,30,40\n", r"csv:2: no image c\.jpg in .*or remove its rows"),
        (HEADER + "a.jpg,64,48,cat,.1,.2,.3,.4\n", "no corner exceeds 1.* must be in pixels"),
    ],
)
def test_csv_that_cannot_be_used_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_dataset(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "epoch,loss\n1,2.5\n",
        "",
        "image,class,score,xmin,ymin,xmax,ymax\na.jpg,cat,0.9,1,2,30,40\n",
    ],
)
def test_other_csv_is_no_data_set(tmp_path, text):
    with pytest.raises(DataError, match="not a data set"):
        read_dataset(write(tmp_path, text))


def test_csv_beside_label_files_gives_way_and_that_is_said(tmp_path):
    write(tmp_path, HEADER + "a.jpg,64,48,cat,1,2,30,40\nb.jpg,64,48,cat,1,2,30,40\n")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    found = read_dataset(tmp_path)
    assert found.format == "yolo"
    assert "csv files of boxes" in str(found.issues[0])
    assert read_dataset(tmp_path, format="csv").class_names == ("cat",)


def test_csv_columns_of_other_names_are_kept_as_numbers_or_text(tmp_path):
    header = HEADER.replace("\n", ",depth,note,\n")
    rows = "a.jpg,64,48,cat,1,2,30,40,2.5,3,x\na.jpg,64,48,cat,1,2,30,40,,,x\n"
    found = read_dataset(write(tmp_path, header + rows + "b.jpg,64,48,cat,1,2,30,40,7,old,x\n"))
    first, second = (record.extra for record in found.records)
    assert sorted(first) == sorted(second) == ["depth", "note"]
    np.testing.assert_array_equal(first["depth"], [2.5, np.nan])
    # Text in one row makes text of the column in all.
    assert (first["note"].tolist(), second["note"].tolist()) == (["3", ""], ["old"])


def test_csv_larger_than_its_bound_is_refused_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "MOST_BYTES_OF_ALL", 64)
    write(tmp_path, HEADER + "a.jpg,64,48,cat,1,2,30,40\n")
    with pytest.raises(DataError, match=r"csv: 74 bytes are too many .*at most 64"):
        read_dataset(tmp_path)


def test_csv_of_via_has_the_same_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(via, "MOST_BYTES_OF_ALL", 64)
    header = "filename,region_shape_attributes,region_attributes"
    write(tmp_path, f"{header}\na.jpg,{{}},{{}}\n" + " " * 64, name="via.csv")
    with pytest.raises(DataError, match=r"csv: [0-9]+ bytes are too many .*at most 64"):
        read_dataset(tmp_path)
