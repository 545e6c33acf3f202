"""Errors of readers quote short, escaped text from a data set's files, and nothing from others."""

import json

import pytest

from sightline.data import DataError, read_dataset

from ..tiny import write_colours, write_squares

SECRET = "root:$6$salt$hash:19000:0:99999:7:::"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "elsewhere" / "shadow"
    path.parent.mkdir()
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture
def squares(tmp_path):
    return write_squares(tmp_path / "data", train=2, val=1, test=1)


def said_by(root, **options):
    with pytest.raises(DataError) as error:
        read_dataset(root, **options)
    return str(error.value)


@pytest.mark.parametrize("by", ["absolute path", "path key", "link", "parents"])
def test_a_split_list_outside_the_data_set_is_not_quoted(squares, secret, by):
    (squares / "link.txt").symlink_to(secret)
    lines = {
        "absolute path": f"train: {secret}",
        "path key": f"path: {secret.parent}\ntrain: {secret.name}",
        "link": "train: link.txt",
        "parents": f"train: ../elsewhere/{secret.name}",
    }
    (squares / "data.yaml").write_text(f"{lines[by]}\nnames: [a]\n")
    said = said_by(squares, split="train")
    assert "$6$" not in said and "hash" not in said
    assert ":1: there is no image of that name (not shown" in said


def test_a_split_list_of_the_data_set_is_quoted_shortly(squares):
    (squares / "list.txt").write_text("no\x1b[31m" + "x" * 10_000 + "\n")
    (squares / "data.yaml").write_text("train: list.txt\nnames: [a]\n")
    said = said_by(squares, split="train")
    assert r"data/no\x1b[31mxxx" in said and len(said) < 400


def test_a_label_file_that_links_elsewhere_is_not_quoted(squares, secret):
    label = next((squares / "labels" / "train").iterdir())
    secret.write_text("0 .5 .5 .5 secret\n0 9 9 9 9\n")
    label.unlink()
    label.symlink_to(secret)
    said = said_by(squares, split="train")
    assert "2 bad labels:" in said and "secret" not in said and "9 9 9" not in said


def test_a_label_line_is_quoted(squares):
    label = next((squares / "labels" / "train").iterdir())
    label.write_text("0 .5 .5 .5 wide\n")
    assert "an integer and 4 numbers, got '0 .5 .5 .5 wide'" in said_by(squares, split="train")


def test_yaml_that_cannot_be_read_is_named_by_its_place(squares):
    (squares / "data.yaml").write_text(f"names: [a]\n{SECRET}\n: : [\n")
    said = said_by(squares)
    assert "not yaml (line" in said and "hash" not in said
    (squares / "data.yaml").write_text(json.dumps([SECRET * 100] * 100))
    assert len(said_by(squares)) < 400


def test_values_of_a_coco_file_are_quoted_shortly(tmp_path):
    big = {"id": "x" * 10_000, "name": ["y" * 10_000] * 100}
    for content in (
        {"images": [], "annotations": [], "categories": [big]},
        {"images": [big], "annotations": [], "categories": []},
        {"images": [], "annotations": [{"image_id": "x" * 10_000}], "categories": []},
        {
            "images": [{"id": 1, "file_name": "z" * 10_000}],
            "annotations": [],
            "categories": [],
        },
    ):
        (tmp_path / "coco.json").write_text(json.dumps(content))
        assert len(said_by(tmp_path / "coco.json", format="coco")) < 700


def test_of_many_classes_some_are_listed(tmp_path):
    root = write_colours(tmp_path / "data", count=1)
    said = said_by(root, class_names=[f"class {i}" for i in range(1000)])
    assert "class 19 and 980 more" in said and len(said) < 500
