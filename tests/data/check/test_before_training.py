"""What `sightline train` says of splits before it trains on them."""

import io
import shutil

import pytest

from sightline.data import read_dataset
from sightline.data.check.before_training import before_training

from ...tiny import write_colours, write_squares


def sentences(root, **options):
    options = {"on_bad_label": "drop-box", **options}
    train = read_dataset(root, split="train", **options)
    val = read_dataset(root, split="val", class_names=train.class_names, **options)
    return before_training(train, {"val": val})


@pytest.fixture
def squares(tmp_path):
    return write_squares(tmp_path / "squares", train=4, val=2, test=1)


def test_nothing_is_said_of_a_clean_set(squares, tmp_path):
    assert sentences(squares) == []
    assert sentences(write_colours(tmp_path / "colours")) == []


def test_image_of_both_splits_is_named(squares):
    shutil.copy(squares / "images/train/train1.png", squares / "images/val/val0.png")
    said = "1 image of val is in train too, val0.png: the score will be too good"
    assert sentences(squares) == [said]
    # One list of both splits has the same files.
    (squares / "data.yaml").write_text(
        "train: images/train\nval: [images/train, images/val]\nnames: [red, green]\n"
    )
    (said,) = sentences(squares)
    assert said.startswith("5 images of val are in train too, such as train0.png")


def test_files_of_one_size_are_not_the_same(squares):
    path = squares / "images" / "val" / "val0.png"
    data = bytearray((squares / "images" / "train" / "train1.png").read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert sentences(squares) == []


def test_images_that_are_too_many_to_compare_are_counted(squares, monkeypatch):
    shutil.copy(squares / "images/train/train1.png", squares / "images/val/val0.png")
    data = (squares / "images/train/train0.png").read_bytes()
    for number, sent in enumerate([data, data + b"1", data + b"2"]):
        (squares / f"images/train/train{number + 1}.png").write_bytes(sent)
        (squares / f"images/val/val{number}.png").write_bytes(sent)
        for split in ("train", "val"):
            label = squares / "labels" / split / f"{split}{number}.txt"
            label.write_text("0 .5 .5 .2 .2\n")
    assert sentences(squares)[0].startswith("3 images of val are in train too, such as ")
    monkeypatch.setattr("sightline.data.check.before_training._MOST_OPENED", 4)
    shared, left = sentences(squares)
    rule = "too many files have the same size"
    assert left == f"2 images of val were not compared with those of train: {rule}"
    assert shared == "1 image of val is in train too, val0.png: the score will be too good"
    monkeypatch.setattr("sightline.data.check.before_training._MOST_BYTES", len(data))
    assert sentences(squares) == [left.replace("2", "3")]


def test_class_of_val_alone_and_suspicious_boxes_are_counted(squares):
    (squares / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [red, green, blue]\n"
    )
    label = squares / "labels" / "val" / "val0.txt"
    label.write_text("2 .5 .5 .2 .2\n" * 3 + "0 .95 .5 .3 .2\n")
    assert sentences(squares) == [
        "train has no label of class 'blue', but val has",
        "2 duplicate boxes and 1 box partly outside its image",
    ]


def test_several_classes_of_val_alone_are_one_sentence_and_none_where_train_has_no_label(squares):
    (squares / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [red, green, blue, pink]\n"
    )
    (squares / "labels" / "val" / "val0.txt").write_text("2 .5 .5 .2 .2\n3 .5 .5 .4 .2\n")
    assert sentences(squares) == ["train has no label of 2 classes, 'blue', 'pink', but val has"]
    for label in (squares / "labels" / "train").iterdir():
        label.write_text("")
    assert sentences(squares) == []


def test_training_warns_and_names_the_check(squares):
    pytest.importorskip("torch")
    from sightline.settings.read import override_layer
    from sightline.train.log import Log
    from sightline.train.prepare import prepare

    shutil.copy(squares / "images/train/train1.png", squares / "images/val/val0.png")
    out = io.StringIO()
    prepare([override_layer({"data": str(squares)})], log=Log(out))
    (warning,) = [line for line in out.getvalue().splitlines() if line.startswith("warning")]
    assert "1 image of val is in train too" in warning
    assert f"sightline data check {squares} says more" in warning
