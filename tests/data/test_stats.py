import json

import numpy as np
from PIL import Image

from sightline.cli import main
from sightline.data import Annotations, Record
from sightline.data.stats import dataset_stats

from ..tiny import write_colours


def two_images():
    image = np.zeros((100, 200, 3), np.uint8)
    boxes = np.array([[0, 0, 10, 20], [100, 50, 200, 100], [0, 0, 100, 100]], float)
    records = (
        Record(image, "a", 200, 100, labels=np.array([0, 1, 1]), boxes=boxes),
        Record(image[:, :100], "b", 100, 100, labels=np.zeros(0, int)),
    )
    return Annotations("boxes", ("cat", "dog", "cow"), records, split="train")


def test_stats_count_images_objects_and_sides():
    stats = dataset_stats(two_images())
    assert stats.objects.tolist() == [3, 0]
    assert stats.sizes.tolist() == [[200, 100], [100, 100]]
    assert stats.shares[1].tolist() == [0.5, 0.5, 1, 1]
    cat, dog, cow = stats.classes
    assert (cat.objects, cat.images, round(cat.side, 3)) == (1, 1, 14.142)
    assert (dog.objects, dog.images, cow.objects) == (2, 1, 0)
    found = stats.to_dict()
    assert found["images_without_objects"] == 1
    assert found["classes"][2] == {"name": "cow", "objects": 0, "images": 0, "median_side": None}


def test_lines_say_what_the_numbers_are():
    text = "\n".join(dataset_stats(two_images()).lines())
    assert "train: 2 images, 200 x 100 (1), 100 x 100 (1)" in text
    assert "3 objects, 0 to 3 (median 2) per image; 1 image without objects" in text
    assert "small (under 32 x 32) 33.3 %, medium 33.3 %, large (96 x 96 and more) 33.3 %" in text


def test_an_empty_set_and_one_without_boxes_have_stats():
    empty = dataset_stats(two_images().subset([1]))
    assert empty.to_dict()["box_width"] is None
    assert any("0 objects" in line for line in empty.lines())


def test_the_command_prints_tables_json_and_a_picture(tmp_path, capsys):
    write_colours(tmp_path / "set", count=4)
    out = tmp_path / "stats.png"
    assert main(["data", "stats", str(tmp_path / "set"), f"out={out}"]) == 0
    assert "8 images, 32 x 32 (8)" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width > picture.height
    assert main(["data", "stats", str(tmp_path / "set"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["images"] == 8


def test_the_command_refuses_a_picture_that_is_no_png(tmp_path, capsys):
    write_colours(tmp_path / "set", count=1)
    for verb in ("stats", "view"):
        assert main(["data", verb, str(tmp_path / "set"), "out=picture"]) == 2
        assert "a name that ends with .png" in capsys.readouterr().err
