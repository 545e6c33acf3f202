"""A check of a data set reads on where a reader would raise."""

import json

import pytest

from sightline.data import DataError, read_dataset
from sightline.data.read import open_labels
from sightline.formats.source import Notes

from ..pictures import save_picture


def voc(root):
    for name in ("a", "b"):
        save_picture(root / f"{name}.png")
        (root / f"{name}.xml").write_text("<annotation></annotation>")
    (root / "c.xml").write_text("<annotation><object>")


def kitti(root):
    (root / "label_2").mkdir(parents=True)
    line = "Car 0 0 0 1 2 30 40" + " 0" * 7
    for name in ("a", "b", "c"):
        (root / "label_2" / f"{name}.txt").write_text(line)
    save_picture(root / "image_2" / "a.png")
    save_picture(root / "image_2" / "b.png")


def csv(root):
    save_picture(root / "a.png")
    save_picture(root / "b.png")
    rows = "a.png,cat,1,2,30,40\nb.png,cat,1,2,30,40\nc.png,cat,1,2,30,40\na.png,1\n"
    (root / "boxes.csv").write_text(f"filename,class,xmin,ymin,xmax,ymax\n{rows}")


def coco(root):
    save_picture(root / "a.png")
    save_picture(root / "b.png")
    names = enumerate(("a.png", "b.png", "c.png"))
    images = [{"id": i, "file_name": n, "width": 64, "height": 48} for i, n in names]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (root / "boxes.json").write_text(json.dumps(content))


def labelme(root):
    for name in ("a", "b"):
        save_picture(root / f"{name}.png")
        (root / f"{name}.json").write_text(json.dumps({"shapes": [], "imagePath": f"{name}.png"}))
    (root / "c.json").write_text("{")


def yolo(root):
    for name in ("a", "b"):
        save_picture(root / "images" / f"{name}.png")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("")
    (root / "train.txt").write_text("images/a.png\nimages/b.png\nimages/c.png\n")
    (root / "data.yaml").write_text("names: [cat]\ntrain: train.txt\n")


def folder(root):
    save_picture(root / "cat" / "a.png")
    save_picture(root / "dog" / "b.png")
    (root / "c").mkdir()


@pytest.mark.parametrize("write", [voc, kitti, csv, coco, labelme, yolo, folder])
def test_what_a_reader_refuses_is_kept_and_the_rest_is_read(write, tmp_path):
    root = tmp_path
    write(root)
    with pytest.raises(DataError) as raised:
        read_dataset(root)
    errors: list[DataError] = []
    source, _ = open_labels(root, notes=Notes(errors))
    read = set()
    for item in source.pool():
        try:
            read |= {record.image.stem for record, _ in source.pairs(item)}
        except DataError:  # of the item that is wrong
            continue
    assert str(raised.value) in map(str, errors)
    assert {"a", "b"} <= read
