"""Layouts of VOC data sets as tools export them: which labels, pictures and splits are found."""

from pathlib import Path

import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"
    "</bndbox></object>"
)


def labelled(image: Path, label: Path | None = None, name: str = "cat") -> None:
    """Write a picture and a label file of one object, by default beside it."""
    save_picture(image)
    label = label or image.with_suffix(".xml")
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(
        f"<annotation><filename>{image.name}</filename>{OBJECT.format(name)}</annotation>"
    )


def lists(root: Path, **names: str) -> None:
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    for name, text in names.items():
        (folder / f"{name}.txt").write_text(text)


def ids(path: Path, split: str | None) -> list[str | int]:
    return [record.image_id for record in read_dataset(path, split=split).records]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{split}/{stem}.jpg", "{split}/{stem}.xml"),
        ("{split}/images/{stem}.jpg", "{split}/annotations/{stem}.xml"),
        ("{split}/JPEGImages/{stem}.jpg", "{split}/Annotations/{stem}.xml"),
        ("images/{split}/{stem}.jpg", "annotations/{split}/{stem}.xml"),
        ("JPEGImages/{stem}.jpg", "Annotations/{split}/{stem}.xml"),
    ],
)
def test_voc_folders_tell_the_splits(tmp_path, image, label):
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        for number in range(count):
            words = {"split": split, "stem": f"{split}{number}_jpg.rf.0a1b"}
            labelled(tmp_path / image.format(**words), tmp_path / label.format(**words))
    counts = {split: len(ids(tmp_path, split)) for split in ("train", "val", "test", None)}
    assert counts == {"train": 3, "val": 2, "test": 1, None: 6}
    found = read_dataset(tmp_path, split="val")
    assert (found.format, found.split_rule, found.issues) == ("voc", "official val", ())


def test_voc_pictures_of_one_name_in_two_splits_stay_apart(tmp_path):
    for split in ("train", "valid"):
        labelled(tmp_path / split / "0.jpg", name=split)
    for split, folder in (("train", "train"), ("val", "valid")):
        (record,) = read_dataset(tmp_path, split=split).records
        assert record.image == tmp_path / folder / "0.jpg"


def test_voc_default_list_of_cvat_is_no_split(tmp_path):
    names = [f"day{number % 2}/frame {number}" for number in range(10)]
    for name in names:
        image = tmp_path / "JPEGImages" / f"{name}.png"
        labelled(image, tmp_path / "Annotations" / f"{name}.xml")
    lists(tmp_path, default="".join(f"{name}\n" for name in names))
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:4,5,6::\n"
    )
    found = read_dataset(tmp_path, split="train")
    assert found.class_names == ("dog", "cat")
    assert sorted(ids(tmp_path, "train") + ids(tmp_path, "val")) == sorted(names)
    assert "80 % of all images" in found.split_rule


def test_voc_default_list_beside_others_is_said(tmp_path):
    for stem in "abc":
        labelled(tmp_path / f"JPEGImages/{stem}.png", tmp_path / f"Annotations/{stem}.xml")
    lists(tmp_path, Train="a\n", Validation="b\n", default="c\n")
    assert (ids(tmp_path, "train"), ids(tmp_path, "val")) == (["a"], ["b"])
    (said,) = read_dataset(tmp_path, split="train").issues
    assert "default.txt: a list: what it lists is in none of the splits" in str(said)


def test_voc_list_tells_pictures_of_one_name_apart_by_their_folder(tmp_path):
    for name in ("day0/a", "day1/a"):
        labelled(tmp_path / f"JPEGImages/{name}.png", tmp_path / f"Annotations/{name}.xml")
    lists(tmp_path, train="day1/a.png\n", val="data/day0/a\n")
    assert (ids(tmp_path, "train"), ids(tmp_path, "val")) == (["day1/a"], ["day0/a"])
    (record,) = read_dataset(tmp_path, split="train").records
    assert record.image == tmp_path / "JPEGImages/day1/a.png"


def test_voc_lists_of_single_classes_alone_are_said(tmp_path):
    for number in range(5):
        image = tmp_path / f"JPEGImages/{number}.png"
        labelled(image, tmp_path / f"Annotations/{number}.xml")
    lists(tmp_path, cat_train="0 1\n1 -1\n", cat_val="2 1\n")
    found = read_dataset(tmp_path, split="train")
    assert "80 % of all images" in found.split_rule
    assert "cat_train.txt: a list: a list of one class is no split" in str(found.issues[0])


@pytest.mark.parametrize("labels", ["annots", "xml files", "img"])
def test_voc_labels_may_be_in_a_folder_of_any_name(tmp_path, labels):
    for stem in "ab":
        labelled(tmp_path / "img" / f"{stem}.jpg", tmp_path / labels / f"{stem}.xml")
    found = read_dataset(tmp_path)
    assert (found.format, len(found), found.class_counts().tolist()) == ("voc", 2, [2])


def test_voc_labels_beside_pictures_in_nested_folders_are_found(tmp_path):
    for name in ("north/day 1/a", "north/day 2/a", "south/b"):
        labelled(tmp_path / f"{name}.jpg")
    found = read_dataset(tmp_path)
    assert ids(tmp_path, None) == ["north/day 1/a", "north/day 2/a", "south/b"]
    assert [record.image for record in found.records] == [
        tmp_path / f"{record.image_id}.jpg" for record in found.records
    ]


def test_voc_filename_tells_which_of_two_suffixes_is_meant(tmp_path):
    labelled(tmp_path / "a.png")
    save_picture(tmp_path / "a.jpg")
    (record,) = read_dataset(tmp_path).records
    assert record.image == tmp_path / "a.png"


def test_voc_name_that_two_folders_have_is_no_picture_of_a_third(tmp_path):
    for folder in ("x", "y"):
        save_picture(tmp_path / "images" / folder / "a.jpg")
    labelled(tmp_path / "images" / "b.jpg", tmp_path / "Annotations" / "a.xml")
    (tmp_path / "images" / "b.jpg").unlink()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation></annotation>")
    with pytest.raises(DataError, match=r"a\.xml: no image named a or '' in"):
        read_dataset(tmp_path)


def test_voc_label_file_outside_the_folders_of_splits_is_said(tmp_path):
    labels = tmp_path / "Annotations"
    for stem in ("train/a", "val/b", "c"):
        labelled(tmp_path / "images" / f"{stem}.jpg", labels / f"{stem}.xml")
    assert (ids(tmp_path, "train"), ids(tmp_path, "val")) == (["train/a"], ["val/b"])
    (said,) = read_dataset(tmp_path, split="train").issues
    assert f"{labels / 'c.xml'}: a label file: it is outside the folders" in str(said)


def test_voc_nested_folders_of_labels_match_those_of_pictures(tmp_path):
    for name in ("day1/a", "day2/a", "b"):
        labelled(tmp_path / "photos" / f"{name}.jpg", tmp_path / "marks" / f"{name}.xml")
    found = read_dataset(tmp_path)
    assert [record.image_id for record in found.records] == ["b", "day1/a", "day2/a"]
    for record in found.records:
        assert record.image == tmp_path / "photos" / f"{record.image_id}.jpg"


def test_voc_label_files_that_are_not_read_are_said(tmp_path):
    labelled(tmp_path / "train" / "a.jpg")
    labelled(tmp_path / "more" / "b.jpg")
    (said,) = read_dataset(tmp_path, split="train").issues
    assert f"{tmp_path / 'more' / 'b.xml'}: an xml file: it is outside" in str(said)
