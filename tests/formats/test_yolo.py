"""YOLO txt: layouts, exact boxes, and the errors."""

from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset
from sightline.formats import objects
from sightline.formats.yolo.shares import pixel_of_share, pixels_of_shares

from ..pictures import save_picture
from .refusals import refusal

NAMES = "names: [cat, dog]\n"


def write_yolo(root: Path, labels: dict[str, str | None], yaml: str | None = NAMES) -> Path:
    """Write images/<name>.png and labels/<name>.txt; None leaves the label file out."""
    for name, text in labels.items():
        save_picture(root / "images" / f"{name}.png", (100, 50))
        if text is not None:
            path = root / "labels" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def test_yolo_boxes_are_centres_and_sides_in_parts_of_the_image(tmp_path):
    write_yolo(tmp_path, {"a": "1 0.5 0.5 0.2 0.4\n0 0.25 0.75 0.5 0.5\n"})
    found = read_dataset(tmp_path)
    assert (found.format, found.class_names) == ("yolo", ("cat", "dog"))
    np.testing.assert_array_equal(found.records[0].labels, [1, 0])
    np.testing.assert_allclose(
        found.records[0].boxes, [[40, 15, 60, 35], [0, 25, 50, 50]], rtol=1e-12
    )


def test_yolo_worked_line_of_a_480_by_640_image(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.479492 0.688771 0.955609 0.5955\n"})
    save_picture(tmp_path / "images" / "a.png", (480, 640))
    box = read_dataset(tmp_path).records[0].boxes[0]
    expected = [0.81, 250.25344, 459.50232, 631.37344]
    np.testing.assert_allclose(box, expected, atol=1e-9)


def test_yolo_image_without_or_with_an_empty_label_file_has_no_objects(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n", "b": "", "c": None})
    found = read_dataset(tmp_path)
    assert [len(record.boxes) for record in found.records] == [1, 0, 0]


@pytest.mark.parametrize("pattern", ["images/{}", "{}/images"])
def test_yolo_folders_tell_the_splits(tmp_path, pattern):
    for split in ("train", "valid", "test"):
        folder = tmp_path / pattern.format(split)
        save_picture(folder / f"{split}.png")
        labels = Path(str(folder).replace("images", "labels"))
        labels.mkdir(parents=True)
        (labels / f"{split}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for split, stem in (("train", "train"), ("val", "valid"), ("test", "test")):
        found = read_dataset(tmp_path, split=split)
        assert [record.image_id for record in found.records] == [stem]
        assert len(found.records[0].boxes) == 1
        assert found.class_names == ("cat", "dog")
    assert len(read_dataset(tmp_path)) == 3


def test_yolo_yaml_gives_names_and_places(tmp_path):
    yaml = "path: .\ntrain: images\nval: val.txt\nnames: {0: cat, 1: dog}\nnc: 2\n"
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n", "b": "1 0.5 0.5 0.2 0.4\n"}, yaml)
    (tmp_path / "val.txt").write_text("images/b.png\n")
    assert len(read_dataset(tmp_path / "data.yaml", split="train")) == 2
    val = read_dataset(tmp_path, split="val")
    assert [record.labels.tolist() for record in val.records] == [[1]]
    (tmp_path / "val.txt").write_text("images/b.png\nimages/zebra.png\n")
    with pytest.raises(DataError, match=r"val\.txt:2: there is no .*zebra\.png; remove the line"):
        read_dataset(tmp_path, split="val")


def test_yolo_without_names_uses_the_numbers(tmp_path):
    write_yolo(tmp_path, {"a": "2 0.5 0.5 0.2 0.4\n"}, yaml=None)
    assert read_dataset(tmp_path).class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 0.5 0.5 0.2", "5 numbers, got 4"),
        ("0 .1 .1 .2 .1 .2", "got 6; or a class and 3 or more points"),
        ("cat 0.5 0.5 0.2 0.4", "an integer and 4 numbers"),
        ("2 0.5 0.5 0.2 0.4", "unknown class 2; the classes are 0 to 1"),
        ("-1 0.5 0.5 0.2 0.4", "unknown class -1"),
        ("0 0.5 nan 0.2 0.4", "coordinates must be finite"),
        ("0 0.5 0.5 0 0.4", "width and height must be positive"),
        ("0 50 25 20 10", "shares of the image's sides, in 0 to 1"),
    ],
)
def test_yolo_bad_line_names_file_line_rule_and_fix(tmp_path, line, rule):
    write_yolo(tmp_path, {"a": f"0 0.5 0.5 0.2 0.4\n\n{line}\n"})
    refusal(tmp_path, "a.txt:3: ", rule)
    kept = read_dataset(tmp_path, on_bad_label="drop-box")
    assert len(kept.records[0].boxes) == 1
    assert [issue.line for issue in kept.issues] == [3]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [cat\n", "not yaml"),
        ("names: []\n", "`names` must list the classes"),
        ("names: [cat, dog]\nnc: 3\n", "`nc` is 3, but `names` lists 2"),
        ("names: {1: cat}\n", "the keys of `names` must be 0, 1, 2"),
        ("names: [cat, dog]\ntrain: nowhere\n", "there is no .*nowhere; correct the path"),
    ],
)
def test_yolo_broken_yaml_is_named(tmp_path, yaml, message):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"}, yaml)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path, split="train")


def test_yolo_set_without_any_label_file_is_refused(tmp_path):
    write_yolo(tmp_path, {"a": None, "b": None})
    with pytest.raises(DataError, match="none of its images has a label file"):
        read_dataset(tmp_path)


def test_yolo_class_names_reorder_labels(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"})
    found = read_dataset(tmp_path, class_names=("dog", "cat"))
    np.testing.assert_array_equal(found.records[0].labels, [1])
    with pytest.raises(DataError, match="unknown class 'cat', not one of the requested classes"):
        read_dataset(tmp_path, class_names=("dog",))


def test_yolo_labels_of_windows_and_of_numpy_are_read(tmp_path):
    write_yolo(tmp_path, {"a": None, "b": None}, yaml=None)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xef\xbb\xbf1\t0.5\t0.5\t0.2\t0.4 \r\n\r\n")
    np.savetxt(tmp_path / "labels" / "b.txt", [[1, 0.5, 0.5, 0.2, 0.4]])
    (tmp_path / "classes.txt").write_bytes("cat\r\nZüge\r\n".encode("utf-16"))
    found = read_dataset(tmp_path)
    assert found.class_names == ("cat", "Züge")
    assert [record.labels.tolist() for record in found.records] == [[1], [1]]
    assert found.issues == ()


@pytest.mark.parametrize(
    "points",
    [
        "0.1 0.2 0.3 0.2 0.3 0.6",
        "0.1 0.4 0.2 0.2 0.3 0.4 0.2 0.6",  # the corners of a rotated box
        "0.1 0.2 0.3 0.2 0.3 0.6 0.2 0.6 0.1 0.6",
    ],
)
def test_yolo_points_are_read_as_the_box_around_them_and_that_is_said_once(tmp_path, points):
    write_yolo(tmp_path, {"a": f"1 {points}\n1 {points}\n", "b": f"0 {points}\n"})
    found = read_dataset(tmp_path)
    boxes = np.concatenate([record.boxes for record in found.records])
    np.testing.assert_allclose(boxes, [[10, 10, 30, 30]] * 3, rtol=1e-12)
    (said,) = map(str, found.issues)
    assert "a.txt:1: polygons, and in 1 more file" in said
    assert "read as the boxes around them" in said


def test_yolo_polygons_are_kept_in_pixels(tmp_path):
    triangle = "0.1 0.2 0.3 0.2 0.3 0.6"
    write_yolo(tmp_path, {"a": f"1 {triangle}\n0 0.5 0.5 0.2 0.4\n"})
    record = read_dataset(tmp_path).records[0]
    outline, nothing = record.shapes
    np.testing.assert_allclose(outline.rings[0], [[10, 10], [30, 10], [30, 30]])
    assert (nothing, record.boxes_rotated) == (None, None)


SQUARE = "0 0.2 0.2 0.3 0.4 0.2 0.6 0.1 0.4\n"  # turned by 45 degrees in 100 x 50 pixels
LONE = "0 0.5 0.5 0.2 0.4\n"


@pytest.mark.parametrize(
    ("yaml", "other", "rotated"),
    [
        (NAMES, LONE, True),
        (NAMES, "0 0.1 0.2 0.3 0.2 0.3 0.6\n", False),  # a polygon of 3 points somewhere
        (NAMES + "task: segment\n", LONE, False),
        (NAMES + "task: obb\n", "0 0.1 0.2 0.3 0.2 0.3 0.6\n", True),
    ],
)
def test_yolo_four_points_are_a_rotated_box_where_the_set_says_so(tmp_path, yaml, other, rotated):
    write_yolo(tmp_path, {"a": LONE + SQUARE, "b": other}, yaml)
    record = read_dataset(tmp_path).records[0]
    np.testing.assert_allclose(record.boxes, [[40, 15, 60, 35], [10, 10, 30, 30]])
    np.testing.assert_allclose(record.shapes[1].rings[0], [[20, 10], [30, 20], [20, 30], [10, 20]])
    if not rotated:
        assert record.boxes_rotated is None
    else:
        expected = [[np.nan] * 5, [20, 20, 200**0.5, 200**0.5, -45]]
        np.testing.assert_allclose(record.boxes_rotated, expected)


def test_yolo_other_split_decides_whether_four_points_are_a_rotated_box(tmp_path):
    yaml = f"{NAMES}train: train.txt\nval: val.txt\ntest: test.txt\n"
    write_yolo(tmp_path, {"a": SQUARE, "b": "0 .1 .2 .3 .2 .3 .6\n"}, yaml)
    for split, line in (("train", "images/a.png"), ("val", "images/b.png"), ("test", "no.png")):
        (tmp_path / f"{split}.txt").write_text(line)
    assert read_dataset(tmp_path, split="train").records[0].boxes_rotated is None
    (tmp_path / "labels" / "b.txt").write_text(SQUARE)
    assert read_dataset(tmp_path, split="train").records[0].boxes_rotated is not None


POSE = f"{NAMES}kpt_shape: [2, 3]\nflip_idx: [1, 0]\nkpt_names: {{0: [left, right]}}\n"


def test_yolo_keypoints_are_kept_in_pixels_with_their_visibility(tmp_path):
    posed = "0 0.5 0.5 0.2 0.4 0.25 0.5 2 0 0 0\n"
    write_yolo(tmp_path, {"a": posed + "1 0.5 0.5 0.2 0.4\n"}, POSE)
    found = read_dataset(tmp_path)
    assert (found.keypoint_names, found.keypoint_mirror) == (("left", "right"), (1, 0))
    np.testing.assert_allclose(found.records[0].boxes, [[40, 15, 60, 35]] * 2)
    points = [[[25, 25, 2], [0, 0, 0]], np.zeros((2, 3))]
    np.testing.assert_allclose(found.records[0].points, points)


def test_yolo_keypoints_without_visibility_are_visible_but_at_zero(tmp_path):
    yaml = POSE.replace("3", "2")
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4 0.25 0.5 0 0\n"}, yaml)
    points = read_dataset(tmp_path).records[0].points
    np.testing.assert_allclose(points, [[[25, 25, 2], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 .1 .2 .3 .2 .3 .6", "or these and 2 keypoints, 11 numbers"),
        ("0 .5 .5 .2 .4 .2 .5 3 0 0 0", "the visibility of a keypoint is 0, 1 or 2, got"),
        ("0 .5 .5 .2 .4 .2 1.5 2 0 0 0", "x and y of keypoints are shares of the image's sides"),
    ],
)
def test_yolo_bad_keypoints_name_file_line_rule_and_fix(tmp_path, line, rule):
    write_yolo(tmp_path, {"a": f"{LONE}{line}\n"}, POSE)
    refusal(tmp_path, "a.txt:2: ", rule)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("kpt_shape: 17\n", "`kpt_shape` must be"),
        ("kpt_shape: [17, 4]\n", "`kpt_shape` must be"),
        ("kpt_shape: [2, 3]\nflip_idx: [0, 0]\n", "`flip_idx` must have each of 0 ... 1 once"),
        ("kpt_shape: [300000000, 3]\nflip_idx: [0]\n", "`flip_idx` must have each of"),
    ],
)
def test_yolo_bad_description_of_keypoints_is_named(tmp_path, yaml, message):
    write_yolo(tmp_path, {"a": LONE}, NAMES + yaml)
    with pytest.raises(DataError, match=rf"data\.yaml: {message}"):
        read_dataset(tmp_path)


def test_yolo_names_of_keypoints_that_differ_by_class_are_left_out_and_that_is_said(tmp_path):
    yaml = POSE.replace("{0: [left, right]}", "{0: [left, right], 1: [up, down]}")
    found = read_dataset(write_yolo(tmp_path, {"a": LONE}, yaml))
    assert found.keypoint_names == ()
    assert "names of keypoints: `kpt_names` has 4 names for 2" in str(found.issues[0])


def test_yolo_polygon_outside_the_image_or_without_area_is_a_bad_label(tmp_path):
    write_yolo(tmp_path, {"a": "0 .1 .1 .2 .1 .2 1.2\n0 .1 .1 .2 .1 .3 .1\n"})
    with pytest.raises(DataError, match=r"a\.txt:1: .*points are shares.*a\.txt:2: .*ymin < ymax"):
        read_dataset(tmp_path)


def test_yolo_class_number_of_millions_without_names_is_a_bad_label(tmp_path):
    write_yolo(tmp_path, {"a": "1 .5 .5 .2 .4\n300000000 .5 .5 .2 .4\n"}, yaml=None)
    with pytest.raises(DataError, match=r"a\.txt:2: .*unknown class 300000000; .* 0 to 1"):
        read_dataset(tmp_path)


def test_yolo_names_in_yaml_stay_as_written(tmp_path):
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .4\n"}, "nc: '3'\nval: ~\nnames: [no, 1.0, 007]\n")
    assert read_dataset(tmp_path).class_names == ("no", "1.0", "007")
    (tmp_path / "data.yaml").write_text("names: {'1': dog, '0': cat}\n", encoding="utf-16")
    assert read_dataset(tmp_path).class_names == ("cat", "dog")


def test_yolo_yaml_of_aliases_without_end_is_refused(tmp_path):
    rows = "".join(
        f"  - &a{i} [" + ", ".join([f"*a{i - 1}" if i else "x"] * 10) + "]\n" for i in range(9)
    )
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .4\n"}, f"names:\n{rows}")
    with pytest.raises(DataError, match=r"data\.yaml: not yaml .*aliases"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "images/Leaf scan (1).png",
        "images/Leaf scan (1)",
        "./images/Leaf scan (1).png ",
        "images\\Leaf scan (1).png",
        ".\\images\\Leaf scan (1).png",
    ],
)
def test_yolo_list_names_a_picture_in_any_spelling(tmp_path, line):
    write_yolo(tmp_path, {"Leaf scan (1)": "0 .5 .5 .2 .4\n"}, f"{NAMES}train: a.txt\nval: a.txt")
    (tmp_path / "a.txt").write_bytes(f"\ufeff{line}\r\n".encode())
    found = read_dataset(tmp_path, split="train")
    assert [record.image_id for record in found.records] == ["images/Leaf scan (1)"]
    assert found.issues == ()


@pytest.mark.parametrize(
    "line", ["/home/ann/set/images/a.png", r"D:\set\images\a", "data/images/a.png"]
)
def test_yolo_list_of_another_machine_is_read_and_that_is_said(tmp_path, line):
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .4\n"}, f"{NAMES}train: list.txt\nval: list.txt\n")
    (tmp_path / "list.txt").write_text(f"{line}\n")
    found = read_dataset(tmp_path, split="train")
    assert [record.image_id for record in found.records] == ["images/a"]
    assert "list.txt:1: a line: no such path" in str(found.issues[0])


def test_yolo_picture_that_a_list_names_twice_counts_once_and_that_is_said(tmp_path):
    write_yolo(tmp_path, {"a": "", "b": "0 .5 .5 .2 .4\n"}, f"{NAMES}train: t.txt\nval: t.txt\n")
    (tmp_path / "t.txt").write_text("images/a.png\nimages/b.png\n./images/a.png\n")
    found = read_dataset(tmp_path, split="train")
    assert [record.image_id for record in found.records] == ["images/a", "images/b"]
    (said,) = map(str, found.issues)
    assert "t.txt:3: a line: an earlier line of the list names the same picture" in said


def test_yolo_list_may_name_a_picture_outside_the_data_set(tmp_path):
    other = save_picture(tmp_path / "other" / "x.png")
    yaml = f"{NAMES}train: t.txt\nval: images\n"
    root = write_yolo(tmp_path / "set", {"a": "0 .5 .5 .2 .4\n"}, yaml)
    (root / "t.txt").write_text(f"images/a.png\n{other}\n")
    ids = [record.image_id for record in read_dataset(root, split="train").records]
    assert ids == ["images/a", other.with_suffix("").as_posix()]


def test_yolo_names_with_brackets_and_upper_case_are_found(tmp_path):
    save_picture(tmp_path / "a [1]*.PNG")
    (tmp_path / "a [1]*.TXT").write_text("0 .5 .5 .2 .4\n")
    found = read_dataset(tmp_path)
    assert found.format == "yolo"
    assert [len(record.boxes) for record in found.records] == [1]
    save_picture(tmp_path / "set" / "Images" / "b.PNG")
    (tmp_path / "set" / "Labels").mkdir()
    (tmp_path / "set" / "Labels" / "b.txt").write_text("0 .5 .5 .2 .4\n")
    found = read_dataset(tmp_path / "set", format="yolo")
    assert [len(record.boxes) for record in found.records] == [1]


def test_yolo_list_never_takes_a_picture_of_another_split(tmp_path):
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .4\n"}, f"{NAMES}train: list.txt\nval: images\n")
    (tmp_path / "list.txt").write_text("/set/train/images/a.png\n")
    with pytest.raises(DataError, match=r"list\.txt:1: there is no .*train/images/a\.png"):
        read_dataset(tmp_path, split="train")


def test_yolo_images_of_a_kind_that_is_not_read_are_said(tmp_path):
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .4\n"})
    for name in ("b.HEIC", "c.heic"):
        (tmp_path / "images" / name).write_bytes(b"an image of another kind")
    (said,) = map(str, read_dataset(tmp_path).issues)
    assert "b.HEIC: an image, and in 1 more file: not of a kind that is read" in said


def test_yolo_pixel_of_one_share_has_the_bits_of_that_of_many():
    shares = np.random.default_rng(0).random((200, 2))
    shares[:100] = np.round(shares[:100], 6)
    single = [[pixel_of_share(x, 640), pixel_of_share(y, 481)] for x, y in shares.tolist()]
    np.testing.assert_array_equal(single, pixels_of_shares(shares, 640, 481))


@pytest.mark.parametrize("policy", ["error", "drop-box"])
def test_more_bad_labels_of_one_image_than_can_be_kept_are_refused(tmp_path, monkeypatch, policy):
    monkeypatch.setattr(objects, "_MOST_BAD", 10)
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n" + "x\n" * 10})
    if policy == "drop-box":
        assert len(read_dataset(tmp_path, on_bad_label=policy).issues) == 10
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n" + "x\n" * 11})
    with pytest.raises(
        DataError, match=r"a\.txt:2: object: .* more than 10 bad labels of one image"
    ):
        read_dataset(tmp_path, on_bad_label=policy)
