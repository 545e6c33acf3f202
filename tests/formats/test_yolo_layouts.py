"""Layouts of YOLO data sets as tools export them: which pictures, splits and classes are found."""

from pathlib import Path

import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture

LINE = "0 0.5 0.5 0.2 0.4\n"
NAMES = "names: [cat, dog]\n"


def labelled(image: Path, label: Path | None = None, line: str = LINE) -> None:
    """Write a picture and its label file, by default beside it."""
    save_picture(image)
    label = label or image.with_suffix(".txt")
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(line)


def parts(root: Path, yaml: str | None = None, name: str = "data.yaml") -> Path:
    """Write images/{a,b,c}/ of 3, 2 and 1 pictures with labels/, and a yaml file."""
    for folder, count in (("a", 3), ("b", 2), ("c", 1)):
        for number in range(count):
            stem = f"{folder}/{folder}{number}"
            labelled(root / f"images/{stem}.png", root / f"labels/{stem}.txt")
    if yaml is not None:
        (root / name).write_text(yaml)
    return root


def size(path: Path, split: str | None) -> tuple[int, int]:
    found = read_dataset(path, split=split)
    return len(found), int(found.class_counts().sum())


def write_cvat(root: Path) -> Path:
    for split, count in (("train", 3), ("valid", 2)):
        names = [f"obj_{split}_data/{split}{number}.png" for number in range(count)]
        for number, name in enumerate(names):
            labelled(root / name, line=f"{number % 2} 0.5 0.5 0.2 0.4\n")
        (root / f"{split}.txt").write_text("".join(f"data/{name}\n" for name in names))
    (root / "obj.names").write_text("cell\nplatelet\n")
    (root / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\n"
        "names = data/obj.names\nbackup = backup/\n"
    )
    return root


def test_obj_data_gives_classes_and_splits(tmp_path):
    write_cvat(tmp_path)
    for path in (tmp_path, tmp_path / "obj.data"):
        train, val = (read_dataset(path, split=split) for split in ("train", "val"))
        assert train.class_names == val.class_names == ("cell", "platelet")
        assert train.class_counts().tolist() == [2, 1]
        assert (len(train), len(val)) == (3, 2)
        assert train.issues == ()


def test_cvat_export_without_images_says_so(tmp_path):
    for image in write_cvat(tmp_path).rglob("*.png"):
        image.unlink()
    with pytest.raises(DataError, match=r"train\.txt:1: there is no .*: export the images too"):
        read_dataset(tmp_path)


def test_cvat_folders_tell_splits_and_names_without_obj_data(tmp_path):
    write_cvat(tmp_path)
    (tmp_path / "obj.data").unlink()
    val = read_dataset(tmp_path, split="val")
    assert (len(val), val.class_names) == (2, ("cell", "platelet"))
    assert size(tmp_path, "train")[0] == 3


def test_classes_without_a_file_of_names_are_numbers_and_that_is_said(tmp_path):
    found = read_dataset(write_cvat(tmp_path) / "obj_train_data")
    assert found.class_names == ("0", "1")
    assert "classes: no file names the classes" in str(found.issues[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("classes = 3\nnames = obj.names\ntrain = train.txt\n", "obj.data:1: `classes` is 3, but"),
        ("names = obj.names\ntrain train.txt\n", r"obj\.data:2: a line is `key = value`"),
        ("names = obj.names\ntrain = gone.txt\n", "obj.data: there is no .*gone.txt; correct"),
    ],
)
def test_obj_data_that_is_wrong_is_named(tmp_path, line, message):
    (write_cvat(tmp_path) / "obj.data").write_text(line)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "obj.data", split="train")


@pytest.mark.parametrize(
    "yaml",
    [
        "path: .\ntrain: [images/a, images/b]\nval:\n  - images/c\n",
        "train: [images\\a, .\\images\\b]\nval: images\\c\n",
        "train: images/[ab]\nval: images/c*\n",
        "train: images/[ab]/*.png\nval: images/c/c0.png\n",
        "train: /content/set/images/[ab]\nval: ../images/c*\n",
        "train: [../images/a, ../images/b]\nvalid: ../images/c\n",
        "path: /content/set\ntrain: [images/a, images/b]\nval: images/c\n",
        "train: [/content/set/images/a, D:\\set\\images\\b]\nval: /content/set/images/c\n",
        "path: C:\\set\ntrain:\n- images/a\n- images/b\nval: images/c\ntest:\n",
        "train: ab.txt\nval: images/c\n",
    ],
)
def test_places_in_yaml_are_folders_lists_or_patterns_of_any_machine(tmp_path, yaml):
    parts(tmp_path, yaml + NAMES)
    lines = [f"images/{name}.png\n" for name in ("a/a0", "a/a1", "a/a2", "b/b0", "b/b1")]
    (tmp_path / "ab.txt").write_text("".join(lines))
    assert size(tmp_path, "train") == (5, 5)
    assert size(tmp_path, "val") == (1, 1)


def test_place_of_another_machine_is_said_with_its_line(tmp_path):
    parts(tmp_path, f"{NAMES}path: /content/set\ntrain: /content/set/images/a\nval: images/b\n")
    said = [str(issue) for issue in read_dataset(tmp_path, split="train").issues]
    assert "data.yaml:2: `path`: there is no such folder" in said[0]
    assert "data.yaml:3: split train: there is no /content/set/images/a" in said[1]
    assert "images/a used" in said[1]


def test_places_of_another_machine_that_would_be_one_folder_here_are_refused(tmp_path):
    parts(tmp_path, f"{NAMES}train: /one/images\nval: /two/images\n")
    with pytest.raises(DataError, match=r"of train and .* of val would both be .*images"):
        read_dataset(tmp_path, split="train")


def test_end_of_a_place_never_leaves_out_the_name_of_a_split(tmp_path):
    parts(tmp_path, f"{NAMES}train: images\nval: ../valid/images\n")
    with pytest.raises(DataError, match=r"there is no .*valid/images; correct the path"):
        read_dataset(tmp_path, split="val")


def test_split_that_is_not_there_is_an_error_only_where_it_is_asked_for(tmp_path):
    parts(tmp_path, f"{NAMES}train: images/a\nval: images/b\ntest: ../test/images\n")
    assert size(tmp_path, "train") == (3, 3)
    assert size(tmp_path, None) == (5, 5)
    (said,) = read_dataset(tmp_path, split="train").issues
    assert (said.line, said.what) == (4, "split test")
    with pytest.raises(DataError, match=r"there is no .*test/images; correct the path"):
        read_dataset(tmp_path, split="test")
    drawn = read_dataset(tmp_path, split="test", test_share=0.34)
    assert (len(drawn), len(read_dataset(tmp_path, split="train", test_share=0.34))) == (1, 2)


def test_yaml_of_any_name_is_found_by_what_it_says(tmp_path):
    parts(tmp_path, f"{NAMES}train: images/a\nval: images/b\n", "coco8.yaml")
    (tmp_path / "settings.yaml").write_text("train: {epochs: 3}\n")
    assert read_dataset(tmp_path, split="train").class_names == ("cat", "dog")
    assert size(tmp_path, "val") == (2, 2)
    (tmp_path / "other.yml").write_text(f"{NAMES}train: images/c\n")
    with pytest.raises(DataError, match=r"coco8\.yaml and other\.yml each describe a data set"):
        read_dataset(tmp_path)
    assert size(tmp_path / "other.yml", None) == (1, 1)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("names:\n  0: cat\n  1: dog\n", ("cat", "dog")),
        ("names: ['cat', \"dog\"]\nnc: '2'\n", ("cat", "dog")),
        ("names: lists/set.names\n", ("cat", "dog")),
        ("nc: 2\n", ("0", "1")),
        ("names: [cat, N/A, dog, N/A]\nnc: 4\n", ("cat", "N/A", "dog")),
    ],
)
def test_classes_in_yaml_are_listed_numbered_counted_or_in_a_file(tmp_path, names, classes):
    parts(tmp_path, f"train: images/a\nval: images/b\n{names}")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "set.names").write_text("cat\ndog\n")
    assert read_dataset(tmp_path, split="train").class_names == classes


def test_name_of_several_numbers_is_one_class_and_that_is_said(tmp_path):
    parts(tmp_path, "names: [cat, dog, cat]\ntrain: images/a\nval: images/b\n")
    (tmp_path / "labels/a/a0.txt").write_text("2 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n")
    found = read_dataset(tmp_path, split="train")
    assert found.class_counts().tolist() == [3, 1]
    assert "'cat' is the name of several numbers" in str(found.issues[0])


def test_key_that_gives_a_split_again_is_said(tmp_path):
    parts(tmp_path, f"{NAMES}train: images/a\nval: images/b\nvalid: images/c\n")
    found = read_dataset(tmp_path, split="val")
    assert len(found) == 2
    assert "data.yaml:4: a split: an earlier key" in str(found.issues[0])


def test_roboflow_darknet_names_are_read(tmp_path):
    for split in ("train", "valid"):
        labelled(tmp_path / split / f"{split}_jpg.rf.0a1b.jpg")
        (tmp_path / split / "_darknet.labels").write_text("cat\ndog\n")
    found = read_dataset(tmp_path, split="val")
    assert (len(found), found.class_names) == (1, ("cat", "dog"))
    (tmp_path / "valid" / "_darknet.labels").write_text("dog\ncat\n")
    with pytest.raises(DataError, match=r"valid.*names other classes than .*train"):
        read_dataset(tmp_path, split="val")


def test_labels_may_be_in_a_folder_of_any_name_beside_images(tmp_path):
    for stem in ("x/0", "y/1"):
        labelled(tmp_path / f"images/{stem}.png", tmp_path / f"annots/{stem}.txt")
    (tmp_path / "classes.txt").write_text("cat\n")
    found = read_dataset(tmp_path)
    assert (found.format, len(found), found.class_counts().tolist()) == ("yolo", 2, [2])
    assert "annots: a folder: no folder is called labels" in str(found.issues[0])
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0.txt").write_text(LINE)
    with pytest.raises(DataError, match="annots and more each hold label files"):
        read_dataset(tmp_path)


def test_blank_line_between_class_names_is_said(tmp_path):
    labelled(tmp_path / "images/0.png", tmp_path / "labels/0.txt")
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    found = read_dataset(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert "classes.txt:3: a class name: a blank line before it" in str(found.issues[0])


def test_file_of_class_names_outside_the_data_set_is_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("password\n")
    root = parts(tmp_path / "set", "names: ../secret.txt\ntrain: images/a\nval: images/b\n")
    with pytest.raises(DataError, match=r"`names` must list the classes, got '\.\./secret\.txt'"):
        read_dataset(root, split="train")


def test_lists_at_the_root_tell_the_splits(tmp_path):
    for number in range(4):
        labelled(tmp_path / "pics" / f"{number}.png")
    (tmp_path / "train.txt").write_text("pics/0.png\n./pics/1.png\n")
    (tmp_path / "val.txt").write_text("pics/2.png\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert (size(tmp_path, "train"), size(tmp_path, "val")) == ((2, 2), (1, 1))
    assert read_dataset(tmp_path, split="val").class_names == ("cat",)


def test_labels_beside_pictures_in_nested_folders_win_over_class_folders(tmp_path):
    for name in ("north/day 1/a", "north/day 2/a", "south/b", "south/c"):
        labelled(tmp_path / f"{name}.png")
    found = read_dataset(tmp_path)
    assert (found.format, [record.image_id for record in found.records]) == (
        "yolo",
        ["north/day 1/a", "north/day 2/a", "south/b", "south/c"],
    )
    for path in tmp_path.rglob("*.txt"):
        path.write_text("a photo of five cats\n")  # a caption is no label
    assert read_dataset(tmp_path).format == "folder"


def test_labels_may_be_flat_while_pictures_are_in_folders_of_splits(tmp_path):
    for split in ("train", "val"):
        labelled(tmp_path / f"images/{split}/{split}.png", tmp_path / f"labels/{split}.txt")
    assert (size(tmp_path, "train"), size(tmp_path, "val")) == ((1, 1), (1, 1))
    (tmp_path / "labels" / "val").mkdir()  # then it is there that they would be
    assert size(tmp_path, "val") == (1, 0)


@pytest.mark.parametrize("pattern", ["/**", "../**/*.png", "../../*"])
def test_pattern_finds_nothing_above_the_data_set(tmp_path, pattern):
    save_picture(tmp_path / "other" / "x.png")
    root = parts(tmp_path / "set", f"{NAMES}train: '{pattern}'\n")
    found = read_dataset(root, split=None)
    assert len(found) == 6
    assert all(record.image.is_relative_to(root) for record in found.records)


@pytest.mark.parametrize("line", [".", "..", "/", "a\x00b", "x" * 5000, "*.png"])
def test_line_of_a_list_that_is_no_picture_is_named(tmp_path, line):
    parts(tmp_path, f"{NAMES}train: list.txt\n")
    (tmp_path / "list.txt").write_text(f"images/a/a0.png\n{line}\n")
    with pytest.raises(DataError, match=r"list\.txt:2: there is no .*; remove the line"):
        read_dataset(tmp_path)


def test_yolo_key_that_occurs_twice_and_split_without_images_are_said(tmp_path):
    parts(tmp_path, f"train: images/a\n{NAMES}val: images/none\ntrain: images/b\n")
    (tmp_path / "images" / "none").mkdir()
    found = read_dataset(tmp_path)
    assert len(found) == 2
    first, second = map(str, found.issues)
    assert "data.yaml:4: `train`: the key occurs twice (the last one read)" in first
    assert "split val: there is no image in its folder or list (empty)" in second


def test_yolo_labels_beside_a_folder_of_images_of_any_name_are_found(tmp_path):
    for number in range(3):
        name = f"{number}.png"
        labelled(tmp_path / "pictures" / name, tmp_path / f"my labels/{number}.txt")
    (tmp_path / "my labels" / "classes.txt").write_text("cat\n")
    found = read_dataset(tmp_path)
    assert (found.format, found.class_names, len(found)) == ("yolo", ("cat",), 3)
    assert int(found.class_counts().sum()) == 3
    assert "this one holds label files of pictures/" in "".join(map(str, found.issues))


def test_captions_beside_a_folder_of_images_are_no_yolo_labels(tmp_path):
    save_picture(tmp_path / "ants" / "a.png")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("an ant on a leaf\n")
    with pytest.raises(DataError, match="notes: class folder without images"):
        read_dataset(tmp_path)
