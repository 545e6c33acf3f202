"""LabelMe json: shapes, images, splits, and the errors."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data import DataError, read_dataset
from sightline.formats.shapes import polygon_area, shape_area, shape_to_mask

from ..pictures import save_picture
from .refusals import refusal


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
    refusal(tmp_path, "a.json: shape 2", rule, class_names=("cat",))


def test_labelme_other_json_is_said(tmp_path):
    write(tmp_path, "a.json", [shape([[1, 2], [30, 40]])])
    (tmp_path / "b.json").write_text("{}")
    assert "b.json: a json file: it has no `shapes`" in str(read_dataset(tmp_path).issues[0])


def read_one(root, shapes):
    """The record of a file with the shapes, and what the reader says of it."""
    found = read_dataset(write(root, "a.json", shapes))
    return found.records[0], [str(issue) for issue in found.issues]


def mask_shape(pixels, points, label="cat"):
    file = io.BytesIO()
    Image.fromarray(np.uint8(pixels)).save(file, "png")
    text = base64.b64encode(file.getvalue()).decode()
    return shape(points, "mask", label) | {"mask": text}


def test_labelme_outlines_are_kept_and_a_rectangle_has_none(tmp_path):
    polygon = [[10, 12], [20, 30], [5, 20]]
    shapes = [
        shape(polygon, "polygon"),
        shape([[20, 20], [23, 24]], "circle"),
        shape([[1, 2], [3, 4]]),
    ]
    record, _ = read_one(tmp_path, shapes)
    outline, circle, nothing = record.shapes
    np.testing.assert_array_equal(outline.rings[0], polygon)
    np.testing.assert_allclose(np.hypot(*(circle.rings[0] - 20).T), np.full(32, 5.0))
    np.testing.assert_allclose(polygon_area(circle.rings[0]), 16 * 25 * np.sin(np.pi / 16))
    assert nothing is None


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation"])
def test_labelme_rotated_rectangle_gives_a_rotated_box(tmp_path, kind):
    corners = [[20, 10], [40, 10], [40, 30], [20, 30]]
    turned = [[30, 10], [40, 20], [30, 30], [20, 20]]  # by 45 degrees
    record, _ = read_one(tmp_path, [shape(corners, kind), shape(turned, kind), shape(corners[::2])])
    np.testing.assert_array_equal(record.boxes, [[20, 10, 40, 30]] * 3)
    side = 200**0.5
    np.testing.assert_allclose(
        record.boxes_rotated, [[30, 20, 20, 20, 0], [30, 20, side, side, -45], [np.nan] * 5]
    )


def test_labelme_mask_is_kept_as_run_lengths(tmp_path):
    pixels = np.array([[0, 1, 1], [0, 0, 1]])
    record, _ = read_one(tmp_path, [mask_shape(pixels, [[5, 7], [7, 8]])])
    expected = np.zeros((48, 64), bool)
    expected[7:9, 5:8] = pixels
    np.testing.assert_array_equal(shape_to_mask(record.shapes[0], (48, 64)), expected)
    np.testing.assert_array_equal(record.boxes, [[6, 7, 8, 9]])


def test_labelme_shapes_of_one_label_and_group_are_one_object(tmp_path):
    parts = [
        shape([[1, 2], [5, 2], [5, 8]], "polygon") | {"group_id": 3},
        shape([[9, 9], [12, 14]]) | {"group_id": 3},
    ]
    others = [shape([[9, 9], [12, 14]], label="ant") | {"group_id": 3}, shape([[1, 1], [4, 4]])]
    record, said = read_one(tmp_path, [*parts, *others])
    np.testing.assert_array_equal(record.boxes, [[1, 2, 12, 14], [9, 9, 12, 14], [1, 1, 4, 4]])
    assert (len(record.shapes[0].rings), shape_area(record.shapes[0])) == (2, 12 + 15)
    assert any("shapes of one label and group_id" in line and "(joined)" in line for line in said)


def test_labelme_mask_joined_with_a_rectangle_is_the_union_of_both(tmp_path):
    parts = [mask_shape(np.ones((2, 3)), [[5, 7], [7, 8]]), shape([[6, 8], [10, 9]])]
    record, _ = read_one(tmp_path, [part | {"group_id": 0} for part in parts])
    assert shape_area(record.shapes[0]) == 6 + 4 - 2
    np.testing.assert_array_equal(record.boxes, [[5, 7, 10, 9]])


def test_labelme_points_of_the_group_of_an_object_are_its_keypoints(tmp_path):
    shapes = [
        shape([[1, 2], [30, 40]]) | {"group_id": 1},
        shape([[5, 6]], "point", "nose") | {"group_id": 1},
        shape([[7, 8]], "point", "ear") | {"group_id": 1, "difficult": True},
        shape([[2, 2], [9, 9]]),
        shape([[3, 3]], "point", "ear"),  # of no object
    ]
    root = write(tmp_path, "a.json", shapes)
    found = read_dataset(root)
    assert found.keypoint_names == ("ear", "nose")
    assert found.class_names == ("cat", "ear")
    points = found.records[0].points
    np.testing.assert_array_equal(points, [[[7, 8, 1], [5, 6, 2]], np.zeros((2, 3))])


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (mask_shape(np.ones((2, 3)), [[5, 7], [7, 9]]), "has the size of the pixels between its"),
        (mask_shape(np.ones((2, 3)), [[62, 7], [64, 8]]), "are pixels of the image of 64 x 48"),
        (mask_shape(np.zeros((2, 3)), [[5, 7], [7, 8]]), "must have a pixel of the object"),
        (shape([[5, 7], [7, 8]], "mask") | {"mask": "no"}, "a mask is a PNG in base64, got 'no'"),
        (shape([[5, 7], [7, 8]], "mask"), "a mask is a PNG in base64, got None"),
        (shape([[5, 7], [7, float("nan")], [1, 1]], "polygon"), "coordinates must be finite"),
        (shape([[1e308, 1], [1, -1e308]], "circle"), "coordinates must be finite"),
    ],
)
def test_labelme_bad_mask_names_file_shape_rule_and_fix(tmp_path, bad, rule):
    refusal(write(tmp_path, "a.json", [bad]), "a.json: shape 1 (cat)", rule)


@pytest.mark.parametrize("side", [2**31 - 1, 10**9])
def test_labelme_mask_of_an_image_of_too_many_pixels_is_a_bad_label(tmp_path, side):
    mask = mask_shape(np.ones((2, 3)), [[5, 7], [7, 8]])
    root = write(tmp_path, "a.json", [mask], imageWidth=side, imageHeight=side)
    refusal(root, "a.json: shape 1 (cat)", "must have fewer than 2**32 pixels")


def test_labelme_size_that_no_image_has_is_taken_from_the_image(tmp_path):
    shapes = [shape([[1, 2], [30, 40]])]
    root = write(tmp_path, "a.json", shapes, imageWidth=10**30, imageHeight=48)
    record = read_dataset(root).records[0]
    assert (record.width, record.height) == (64, 48)


def test_labelme_is_recognised_where_the_first_label_file_is_damaged(tmp_path):
    write(tmp_path, "a.json", [])
    write(tmp_path, "b.json", [shape([[1, 2], [30, 40]])])
    (tmp_path / "a.json").write_text('{"version": "5')
    with pytest.raises(DataError, match=r"a\.json:1: not json"):
        read_dataset(tmp_path)
