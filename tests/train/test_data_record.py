import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline._files import read_json, write_json
from sightline.data import read_dataset
from sightline.train import data_record as module
from sightline.train.data_record import (
    data_changes,
    data_digest,
    data_record,
    files_not_compared,
)

from ..tiny import write_squares


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    root = write_squares(tmp_path_factory.mktemp("squares") / "data", train=5, val=1, test=1)
    return root, read_dataset(root, split="train")


def changed(annotations, index, **values):
    """The same set, with other fields in one record."""
    records = list(annotations.records)
    records[index] = replace(records[index], **values)
    return replace(annotations, records=tuple(records))


def test_nothing_changes_through_json_or_a_copy(squares, tmp_path):
    root, annotations = squares
    write_json(tmp_path / "data.json", data_record(annotations))
    before = read_json(tmp_path / "data.json")
    assert data_changes(before, annotations) == []
    copy = read_dataset(shutil.copytree(root, tmp_path / "copy"), split="train")
    for record in copy.records:
        os.utime(record.image, (1, 1))
    assert data_changes(before, copy) == []
    assert data_digest(data_record(copy)) == data_digest(before)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"labels": [1]}, "other labels of images/train/train0.png"),
        ({"boxes": np.array([[2, 3, 20, 30.5]])}, "other labels of"),
        ({"iscrowd": [True]}, "other labels of"),
        ({"difficult": [True]}, "other labels of"),
        ({"area": [3.0]}, "other labels of"),
        ({"width": 65}, "other labels of"),
        ({"image_id": "else"}, "other labels of"),
        ({"image": Path("other/name.png")}, "images/train/train0.png is missing"),
    ],
)
def test_every_field_that_training_sees_counts(squares, values, said):
    _, annotations = squares
    one = changed(annotations, 0, labels=[0], boxes=[[2, 3, 20, 30]], iscrowd=[False],
                  difficult=[False], area=[4.0])  # fmt: skip
    before = data_record(one)
    other = changed(one, 0, **values)
    assert data_changes(before, one) == []
    assert data_changes(before, other)[0].startswith(said)
    assert data_digest(before) != data_digest(data_record(other))


def test_order_classes_and_missing_pictures_are_named(squares):
    _, annotations = squares
    before = data_record(annotations)
    assert data_changes(before, annotations.subset([0, 2, 1, 3, 4])) == [
        "another order of the pictures, from number 2 (images/train/train2.png) on"
    ]
    assert data_changes(before, annotations.subset([0])) == [
        "images/train/train1.png, images/train/train2.png, images/train/train3.png and 1 more "
        "are missing"
    ]
    assert data_changes(before, annotations.subset([0, 1, 2, 3, 4, 4])) == [
        "another number of pictures: 6, not 5"
    ]
    assert "classes" in data_changes(before, replace(annotations, class_names=("a", "b")))[0]


def test_pixels_of_the_same_size_are_told_apart_by_content(squares, tmp_path):
    root, _ = squares
    annotations = read_dataset(shutil.copytree(root, tmp_path / "data"), split="train")
    before = data_record(annotations)
    path = annotations.records[3].image
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert data_changes(before, annotations) == ["another picture in images/train/train3.png"]
    path.unlink()
    assert data_changes(before, annotations) == ["another picture in images/train/train3.png"]


def test_large_sets_are_compared_by_size_and_other_dates_are_counted(
    squares, tmp_path, monkeypatch
):
    root, _ = squares
    annotations = read_dataset(shutil.copytree(root, tmp_path / "data"), split="train")
    monkeypatch.setattr(module, "_MOST_HASHED_BYTES", 10)
    before = data_record(annotations)
    os.utime(annotations.records[1].image, (1, 1))
    assert data_changes(before, annotations) == []
    assert files_not_compared(before, annotations) == 1
    annotations.records[2].image.write_bytes(b"another size")
    assert data_changes(before, annotations) == ["another picture in images/train/train2.png"]


def test_pictures_in_memory_are_told_apart_by_their_pixels(squares):
    _, annotations = squares
    pixels = np.zeros((64, 64, 3), np.uint8)
    held = changed(annotations, 1, image=pixels)
    before = data_record(held)
    assert data_changes(before, held) == []
    assert data_changes(before, changed(held, 1, image=pixels + 1))[0].startswith("another picture")
