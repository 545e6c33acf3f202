"""YOLO txt: layouts, exact boxes, and the errors."""

from pathlib import Path

import numpy as np
import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture

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
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "a polygon is not a box"),
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
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert "a.txt:3: " in str(caught.value)
    assert rule in str(caught.value)
    assert "drop-box" in str(caught.value)
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
