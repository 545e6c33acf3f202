"""Faults in the other formats: found with the file, and with the line where there are lines."""

import json

import numpy as np
import pytest
from PIL import Image

from sightline.data import DataError
from sightline.data.check import check_dataset, clean_dataset

SIZE = (64, 48)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def places(root, **options):
    report = check_dataset(root, **options)
    return {(it.kind, it.file.name, it.line) for it in report.findings if it.severity != "note"}


def test_yolo(tmp_path):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", number)
    text(tmp_path / "data.yaml", "names: [cat, dog]\ntrain: images\n")
    lines = [
        "0 .5 .5 .2 .2",
        "1 .2 .2 .2 .2",
        "1 .2 .2 .2 .2",  # a duplicate
        "7 .5 .5 .2 .2",
        "0 .5 .5 -.2 .2",
        "0 .5 .5 0 .2",
        "0 1.5 .5 .2 .2",
        "0 .5 .5 .2",
        "0 .95 .5 .2 .2",  # beyond the right side
    ]
    text(tmp_path / "labels" / "0.txt", "\n".join(lines))
    text(tmp_path / "labels" / "1.txt", "")
    text(tmp_path / "labels" / "9.txt", "0 .5 .5 .2 .2\n")
    assert places(tmp_path) == {
        ("duplicate box", "0.txt", 3),
        ("class number out of range", "0.txt", 4),
        ("inverted box", "0.txt", 5),
        ("empty box", "0.txt", 6),
        ("box outside its image", "0.txt", 7),
        ("unreadable label", "0.txt", 8),
        ("box partly outside its image", "0.txt", 9),
        ("label without image", "9.txt", None),
    }
    assert [it.file.name for it in check_dataset(tmp_path).of_kind("image without label file")] == [
        "2.png"
    ]


def test_coco(tmp_path):
    images = [
        {"id": n, "file_name": f"{n}.png", "width": 64, "height": 48 if n else 99} for n in range(3)
    ]
    boxes = [(1, [1, 2, 9, 9]), (1, [1, 2, 9, 9]), (8, [1, 2, 9, 9]), (1, [1, 2, -9, 9])]
    annotations = [
        {"id": n, "image_id": 1, "category_id": c, "bbox": box} for n, (c, box) in enumerate(boxes)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    text(tmp_path / "boxes.json", json.dumps(content))
    picture(tmp_path / "0.png", 0)
    picture(tmp_path / "1.png", 1)
    picture(tmp_path / "extra.png", 2)
    assert places(tmp_path) == {
        ("image of another size", "boxes.json", None),
        ("missing image", "boxes.json", None),
        ("duplicate box", "boxes.json", None),
        ("class number out of range", "boxes.json", None),
        ("inverted box", "boxes.json", None),
        ("image without label", "extra.png", None),
    }
    assert len(check_dataset(tmp_path).of_kind("class without labels")) == 1


def test_kitti(tmp_path):
    for number in range(2):
        picture(tmp_path / "image_2" / f"{number}.png", number)
    lines = [f"Car 0 0 0 {box} 0 0 0 0 0 0 0" for box in ("1 2 30 40", "9 9 5 20", "1 2 30 40")]
    text(tmp_path / "label_2" / "0.txt", "\n".join(lines))
    text(tmp_path / "label_2" / "8.txt", lines[0])
    assert places(tmp_path) == {
        ("inverted box", "0.txt", 2),
        ("duplicate box", "0.txt", 3),
        ("label without image", "8.txt", None),
        ("image without label", "1.png", None),
    }


def test_csv(tmp_path):
    picture(tmp_path / "0.png")
    rows = [
        "0.png,cat,1,2,30,40",
        "0.png,cat,30,2,30,40",
        "9.png,cat,1,2,30,40",
        "0.png,1",
        "0.png,cat,1,2,30,40",
    ]
    header = "filename,class,xmin,ymin,xmax,ymax\n"
    text(tmp_path / "boxes.csv", header + "\n".join(rows))
    assert places(tmp_path) == {
        ("empty box", "boxes.csv", 3),
        ("missing image", "boxes.csv", 4),
        ("unreadable label file", "boxes.csv", 5),
        ("duplicate box", "boxes.csv", 6),
    }


def test_labelme(tmp_path):
    picture(tmp_path / "0.png")
    shape = {"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    flat = shape | {"points": [[1, 2], [1, 40]]}
    content = {"shapes": [shape, flat, shape], "imagePath": "0.png", "imageWidth": 64}
    text(tmp_path / "0.json", json.dumps(content | {"imageHeight": 48}))
    text(tmp_path / "1.json", json.dumps(content | {"imagePath": "1.png"}))
    text(tmp_path / "2.json", "{")
    assert places(tmp_path) == {
        ("empty box", "0.json", None),
        ("duplicate box", "0.json", None),
        ("label without image", "1.json", None),
        ("unreadable label file", "2.json", 1),
    }


def test_via(tmp_path):
    for number in range(2):
        picture(tmp_path / f"{number}.png", number)

    def region(width):
        shape = {"name": "rect", "x": 1, "y": 2, "width": width, "height": 9}
        return {"shape_attributes": shape, "region_attributes": {"class": "cat"}}

    regions = [region(9), region(0), region(9)]
    images = [("0.png", regions), ("9.png", [region(9)])]
    content = {
        name: {"filename": name, "size": 1, "regions": found, "file_attributes": {}}
        for name, found in images
    }
    text(tmp_path / "via.json", json.dumps(content))
    assert places(tmp_path) == {
        ("empty box", "via.json", None),
        ("duplicate box", "via.json", None),
        ("missing image", "via.json", None),
        ("image without label", "1.png", None),
    }
    assert not check_dataset(tmp_path).of_kind("assumption")
    with pytest.raises(DataError, match="not as via; convert it first"):
        clean_dataset(tmp_path, tmp_path / "clean")


def test_folders(tmp_path):
    for number, name in enumerate(("train/cat", "train/dog", "val/cat", "val/dog", "val/cow")):
        picture(tmp_path / name / f"{number}.png", number)
    picture(tmp_path / "train" / "cat" / "same.png", 1)
    picture(tmp_path / "val" / "cat" / "leak.png", 0)
    text(tmp_path / "val" / "dog" / "text.png", "no image")
    assert places(tmp_path) == {
        ("same image with two classes", "1.png", None),
        ("same image in two splits", "leak.png", None),
        ("unknown class", "cow", None),
        ("unreadable image", "text.png", None),
    }


@pytest.mark.parametrize(("size", "count"), [(None, 0), ((24, 32), 1)])
def test_tiny_is_meant_at_the_size_of_the_network(tmp_path, size, count):
    picture(tmp_path / "a.png")
    text(tmp_path / "a.txt", "0 .5 .5 .04 .3\n")  # 2.6 pixels wide
    assert len(check_dataset(tmp_path, size=size).of_kind("tiny box")) == count


def test_names_that_differ_only_in_case_are_named(tmp_path):
    for number, name in enumerate(("Red_Cell", "red cell", "white")):
        picture(tmp_path / name / f"{number}.png", number)
    (finding,) = check_dataset(tmp_path).of_kind("similar class names")
    assert "'Red_Cell', 'red cell'" in finding.what
