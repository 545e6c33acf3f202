"""LabelMe json: shapes, images, splits, and the errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture


def shape(points, kind="rectangle", label="cat"):
    return {"label": label, "points": points, "shape_type": kind, "flags": {}}


def write(root: Path, name: str, shapes, image=None, **more) -> Path:
    image = image or f"{Path(name).stem}.png"
    save_picture(root / Path(name).parent / image)
    content = {
        "version": "5.4.1",
        "shapes": shapes,
        "imagePath": image,
        "imageData": "aGk=",
        **more,
    }
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return root


def test_labelme_rectangle_is_used_as_written_in_any_order_of_corners(tmp_path):
    write(
        tmp_path, "a.json", [shape([[30.5, 40], [1, 2.25]]), shape([[5, 5], [9, 9]], label="ant")]
    )
    write(tmp_path, "b.json", [], imageWidth=0, imageHeight=None)
    found = read_dataset(tmp_path)
    assert (found.format, found.class_names, found.issues) == ("labelme", ("ant", "cat"), ())
    np.testing.assert_array_equal(found.records[0].boxes, [[1, 2.25, 30.5, 40], [5, 5, 9, 9]])
    np.testing.assert_array_equal(found.records[0].labels, [1, 0])
    assert (found.records[1].width, found.records[1].height, len(found.records[1].boxes)) == (
        64,
        48,
        0,
    )


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("polygon", [[10, 12], [20, 30], [5, 20]], [5, 12, 20, 30]),
        ("circle", [[20, 20], [23, 24]], [15, 15, 25, 25]),
    ],
)
def test_labelme_shape_is_read_as_the_box_around_it_and_that_is_said(tmp_path, kind, points, box):
    found = read_dataset(write(tmp_path, "a.json", [shape(points, kind)]))
    np.testing.assert_allclose(found.records[0].boxes, [box])
    assert f"a.json: a {kind}: a box is a rectangle" in str(found.issues[0])


def test_labelme_points_and_lines_are_left_out_and_that_is_said(tmp_path):
    write(tmp_path, "a.json", [shape([[1, 1]], "point"), shape([[1, 1], [9, 9]], "line")])
    said = [str(issue) for issue in read_dataset(tmp_path).issues]
    assert ["of type point: it has no box" in said[0], "of type line" in said[1]] == [True, True]


@pytest.mark.parametrize("split_first", [True, False])
def test_labelme_folders_tell_the_splits(tmp_path, split_first):
    for split in ("train", "val"):
        folder = f"{split}/x" if split_first else f"x/{split}"
        write(tmp_path, f"{folder}/{split}.json", [shape([[1, 2], [30, 40]])])
    for split in ("train", "val"):
        (record,) = read_dataset(tmp_path, split=split).records
        assert record.image.stem == split


@pytest.mark.parametrize("path", ["../images/a.png", "..\\images\\a.png", "/home/ann/images/a.png"])
def test_labelme_image_is_found_beside_the_folder_of_labels(tmp_path, path):
    image = save_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    text = json.dumps({"shapes": [shape([[1, 2], [30, 40]])], "imagePath": path})
    (tmp_path / "labels" / "a.json").write_text(text)
    assert read_dataset(tmp_path).records[0].image.resolve() == image
    image.unlink()
    with pytest.raises(DataError, match=r"a\.json: no image .*a\.png; add it"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (shape([[1, 2]]), "a rectangle needs 2 points"),
        (shape([[1, 2], [3]]), "a rectangle needs 2 points"),
        (shape([[1, 2], [3, 4]], "polygon"), "a polygon needs 3 points"),
        (shape([[1, 2], [1, 4]]), "a box needs xmin < xmax"),
        (shape([[1, 2], [3, 4]], label="cow"), "unknown class 'cow'; the classes are cat"),
        ("cat", "must be an object, got 'cat'"),
    ],
)
def test_labelme_bad_shape_names_file_shape_rule_and_fix(tmp_path, bad, rule):
    write(tmp_path, "a.json", [shape([[1, 2], [30, 40]]), bad])
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path, class_names=("cat",))
    assert "a.json: shape 2" in str(caught.value)
    assert rule in str(caught.value)
    assert "data.on_bad_label=drop-box" in str(caught.value)


def test_labelme_other_json_is_said(tmp_path):
    write(tmp_path, "a.json", [shape([[1, 2], [30, 40]])])
    (tmp_path / "b.json").write_text("{}")
    assert "b.json: a json file: it has no `shapes`" in str(read_dataset(tmp_path).issues[0])
