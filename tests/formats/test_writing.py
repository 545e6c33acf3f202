"""What writers do beside labels: folders, images, splits, and what they refuse."""

import doctest
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sightline.data import Annotations, DataError, Record, read_dataset, read_image, write_dataset
from sightline.data.read import read_splits
from sightline.data.write import WRITERS
from sightline.formats import losses, new_folder, writing
from sightline.formats.shapes import Polygons, mask_to_runs, polygons_to_runs, rotated_of_corners
from sightline.formats.voc import read as voc_reader
from sightline.formats.xml_file import parse_xml
from sightline.formats.yolo import shares, write

from ..pictures import save_picture

ALL_BUT_FOLDERS = [format for format in WRITERS if format != "folder"]


def one(image, *, split=None, names=("cat", "dog"), **columns):
    """A set of one image of 64 x 48 with a box."""
    columns = {"labels": [0], "boxes": [[8, 6, 40, 30.5]]} | columns
    record = Record(image, getattr(image, "stem", "7"), 64, 48, **columns)
    return Annotations("boxes", names, (record,), split=split)


def joined(*sets, **options):
    return replace(sets[0], records=tuple(r for data in sets for r in data.records), **options)


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("module", [losses, writing, shares, write])
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (
            "voc",
            ["Annotations/a.xml", "ImageSets/Main/val.txt", "JPEGImages/a.png", "classes.txt"],
        ),
        ("coco", ["annotations/instances_val.json", "val/a.png"]),
        ("yolo", ["data.yaml", "images/val/a.png", "labels/val/a.txt"]),
        ("kitti", ["ImageSets/val.txt", "training/image_2/a.png", "training/label_2/a.txt"]),
        ("csv", ["val/_annotations.csv", "val/a.png"]),
        ("labelme", ["val/a.json", "val/a.png"]),
        ("folder", ["val/cat/a.png"]),
    ],
)
def test_the_layout_is_that_of_the_format(format, expected, tmp_path):
    image = save_picture(tmp_path / "a.png")
    write_dataset(one(image, split="val"), tmp_path / "out", format=format)
    assert files_in(tmp_path / "out") == expected
    assert (tmp_path / "out" / expected[-1]).parent.stat().st_mode & 0o777 != 0o700


@pytest.mark.parametrize("format", WRITERS)
def test_nothing_is_overwritten_and_an_empty_folder_is_used(format, tmp_path):
    image = save_picture(tmp_path / "a.png")
    used, empty, file = tmp_path / "used", tmp_path / "empty", tmp_path / "file"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    empty.mkdir()
    file.write_text("a file")
    for target in (used, file):
        with pytest.raises(DataError, match="nothing is overwritten, so give a new folder"):
            write_dataset(one(image), target, format=format)
    assert files_in(used) == ["mine.txt"] and file.read_text() == "a file"
    write_dataset(one(image), empty, format=format)
    assert files_in(empty)


@pytest.mark.parametrize("format", WRITERS)
def test_an_error_midway_leaves_nothing_behind(format, tmp_path):
    image = save_picture(tmp_path / "a.png")
    sets = joined(one(image), one(tmp_path / "missing.png"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"missing\.png: no such image"):
        write_dataset(sets, tmp_path / "out", format=format)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("format", WRITERS)
def test_names_that_clash_are_made_unique_and_said(format, tmp_path):
    names = ("a/1.png", "b/1.png", "c/1.bmp", "c/2.PNG", "d/2.png", "d/.hid.png", "d/x\ny.png")
    images = [save_picture(tmp_path / name, (64, 48)) for name in names]
    sets = joined(*map(one, images))
    said = write_dataset(sets, tmp_path / "out", format=format)
    assert any(
        "file names of 5 images" in line and "b/1.png is written as" in line for line in said
    )
    found = [path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".bmp")]
    assert {"1.png", "b_1.png", "c_1.bmp", "d_2.png", "_hid.png", "x_y.png"} == {*found}
    if format != "folder":  # which needs two classes
        assert len(read_dataset(tmp_path / "out", format=format)) == len(images)


def test_names_that_are_equal_in_two_splits_change_only_where_these_share_a_folder(tmp_path):
    sets = {
        split: one(save_picture(tmp_path / split / "1.png"), split=split)
        for split in ("train", "val")
    }
    assert write_dataset(sets, tmp_path / "yolo", format="yolo") == []
    (said,) = write_dataset(sets, tmp_path / "voc", format="voc")
    assert "val/1.png is written as val_1.png" in said
    assert (tmp_path / "voc/ImageSets/Main/val.txt").read_text() == "val_1\n"


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 3), (48, 64, 4)])
def test_images_in_memory_become_png_files_with_the_same_pixels(shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    write_dataset(one(pixels), tmp_path / "out", format="coco")
    again = np.asarray(Image.open(tmp_path / "out" / "images" / "7.png"))
    np.testing.assert_array_equal(again.reshape(shape), pixels)


def test_images_are_copied_linked_or_left_out(tmp_path, monkeypatch):
    image = save_picture(tmp_path / "a.png")
    target = {how: tmp_path / how / "JPEGImages" / "a.png" for how in ("copy", "link", "none")}
    for how in target:
        write_dataset(one(image), tmp_path / how, format="voc", images=how)
        assert (tmp_path / how / "Annotations" / "a.xml").is_file()
    assert target["copy"].read_bytes() == image.read_bytes()
    assert not target["copy"].samefile(image) and target["link"].samefile(image)
    assert not target["link"].is_symlink() and not target["none"].exists()

    def fail(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    write_dataset(one(image), tmp_path / "symbolic", format="voc", images="link")
    assert (tmp_path / "symbolic" / "JPEGImages" / "a.png").is_symlink()
    with pytest.raises(ValueError, match="`images` must be one of copy, link, none, got 'move'"):
        write_dataset(one(image), tmp_path / "moved", format="voc", images="move")
    with pytest.raises(ValueError, match="class folders consist of images"):
        write_dataset(one(image), tmp_path / "folder", format="folder", images="none")


def rotated_picture(path, turn):
    """A picture stored as 64 x 48 with a red rectangle at the box of `one`, and an EXIF tag."""
    pixels = np.full((48, 64, 3), 255, np.uint8)
    pixels[6:30, 8:40] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
@pytest.mark.parametrize("format", ["yolo", "kitti"])
def test_boxes_of_an_image_as_stored_are_turned_with_it(turn, format, tmp_path):
    image = rotated_picture(tmp_path / "a.png", turn)
    shapes = [mask_to_runs(np.ones((48, 64)))]
    sets = one(image, boxes=[[8, 6, 40, 30]], shapes=shapes if format == "kitti" else None)
    said = write_dataset(sets, tmp_path / "out", format=format)
    assert any("so they are turned with it" in sentence for sentence in said)
    assert any("the EXIF orientation of 1 image" in sentence for sentence in said)
    (record,) = read_dataset(tmp_path / "out", format=format).records
    x1, y1, x2, y2 = record.boxes[0].astype(int)
    red = (read_image(record.image) == (255, 0, 0)).all(axis=2)
    assert red[y1:y2, x1:x2].all() and red.sum() == (x2 - x1) * (y2 - y1)


def test_voc_keeps_the_stated_size_of_an_image_as_stored(tmp_path):
    image = rotated_picture(tmp_path / "a.png", 6)
    write_dataset(one(image), tmp_path / "out", format="voc")
    (record,) = read_dataset(tmp_path / "out").records
    assert (record.width, record.height) == (64, 48)
    assert record.boxes.tolist() == [[8, 6, 40, 30.5]]


@pytest.mark.parametrize("format", ["yolo", "kitti"])
def test_an_image_of_another_size_than_stated_is_refused_where_the_format_states_none(
    format, tmp_path
):
    image = save_picture(tmp_path / "a.png", (30, 20))
    with pytest.raises(DataError, match=r"a\.png: the image is 30 x 20, but .* says 64 x 48"):
        write_dataset(one(image), tmp_path / "out", format=format)


def test_voc_files_are_as_tools_read_them(tmp_path):
    image = save_picture(tmp_path / "a.png")
    write_dataset(one(image, difficult=[True]), tmp_path / "out", format="voc")
    root = ElementTree.parse(tmp_path / "out" / "Annotations" / "a.xml").getroot()
    size = [int(root.findtext(f"size/{name}")) for name in ("width", "height", "depth")]
    assert root.findtext("filename") == "a.png" and size == [64, 48, 3]
    (thing,) = root.findall("object")
    assert thing.findtext("name") == "cat" and thing.findtext("difficult") == "1"
    box = [thing.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    assert box == ["8", "6", "40", "30.5"]
    assert (thing.findtext("pose"), thing.findtext("truncated")) == ("Unspecified", "0")


def test_coco_keeps_ids_and_the_numbers_of_its_boxes(tmp_path):
    save_picture(tmp_path / "in" / "val" / "a.png")
    box, area = [0.1, 0.7, 0.30000000000000004, 1e-3], 0.123
    given = {
        "images": [{"id": 42, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 42, "category_id": 90, "bbox": box, "area": area, "iscrowd": 1}
        ],
    }
    path = tmp_path / "in" / "annotations" / "instances_val.json"
    path.parent.mkdir()
    path.write_text(json.dumps(given))
    assert write_dataset(read_splits(tmp_path / "in"), tmp_path / "out", format="coco") == []
    written = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    assert written["images"] == given["images"]
    assert [(c["id"], c["name"]) for c in written["categories"]] == [(7, "cat"), (90, "dog")]
    assert given["annotations"][0].items() <= written["annotations"][0].items()


def test_coco_from_corners_gives_back_exactly_these_corners(tmp_path):
    image = save_picture(tmp_path / "a.png")
    near = np.random.default_rng(0).uniform(0, 20, (500, 2))
    boxes = np.concatenate([near, near + np.random.default_rng(1).uniform(1, 20, (500, 2))], axis=1)
    sets = one(image, labels=np.zeros(500, int), boxes=boxes)
    write_dataset(sets, tmp_path / "out", format="coco")
    (record,) = read_dataset(tmp_path / "out").records
    np.testing.assert_array_equal(record.boxes, boxes)


def test_yolo_of_boxes_names_no_task_and_takes_pixels_of_nine_decimals_exactly(tmp_path):
    image = save_picture(tmp_path / "a.png", (641, 427))
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 300, (500, 2)).round(9)
    boxes = np.concatenate([near, near + rng.uniform(1, 100, (500, 2)).round(9)], axis=1).round(9)
    sets = one(image, labels=np.ones(500, int), boxes=boxes)
    sets = replace(sets, records=tuple(replace(r, width=641, height=427) for r in sets.records))
    assert write_dataset(sets, tmp_path / "out", format="yolo") == []
    assert "task" not in (tmp_path / "out" / "data.yaml").read_text()
    (record,) = read_dataset(tmp_path / "out").records
    np.testing.assert_array_equal(record.boxes, boxes)


def test_yolo_says_how_much_it_rounds(tmp_path):
    image = save_picture(tmp_path / "a.png")
    (said,) = write_dataset(one(image, boxes=[[np.pi, 1, 9, 9]]), tmp_path / "out", format="yolo")
    assert said.startswith("the last digits of 1 object") and said.endswith(
        "(at most 4e-10 pixels)"
    )


def test_coco_says_where_a_width_cannot_give_back_a_corner(tmp_path):
    image = save_picture(tmp_path / "a.png")
    boxes = [[-17.25, 1, 3.355, 9], [1, 1, 3.355, 9]]
    data = one(image, labels=[0, 0], boxes=boxes)
    (said,) = write_dataset(data, tmp_path / "out", format="coco")
    assert said.startswith(
        "the last digits of 1 object: COCO has their widths and heights (at most"
    )
    (record,) = read_dataset(tmp_path / "out").records
    np.testing.assert_allclose(record.boxes, boxes, rtol=0, atol=1e-15)


@pytest.mark.parametrize("format", ["yolo", "labelme"])
@pytest.mark.parametrize("rotated", [False, True])
def test_an_outline_outside_its_image_is_replaced_by_the_box(format, rotated, tmp_path):
    ring = np.array([[70, 50], [80, 50], [80, 60], [70, 60.0]])
    columns = {"shapes": [Polygons((ring,))]}
    if rotated:
        columns |= {"boxes_rotated": np.array([[75, 55, 10, 10, 0.0]])}
    data = one(save_picture(tmp_path / "a.png"), **columns)
    said = write_dataset(data, tmp_path / "out", format=format)
    assert "the outlines of 1 object: they lie outside their image" in said
    (record,) = read_dataset(tmp_path / "out").records
    assert record.boxes.tolist() == [[8, 6, 40, 30.5]]


def test_corners_of_a_rotated_box_are_written_as_a_file_had_them(tmp_path):
    ring = np.array([[10.1, 10.2], [30.3, 12.4], [29.5, 22.6], [9.1, 20.7]])  # no rectangle
    shape = Polygons((ring,))
    turned = rotated_of_corners(ring)
    columns = {"shapes": [shape], "boxes_rotated": turned, "boxes": [shape.hull()]}
    data = one(save_picture(tmp_path / "a.png"), names=("cat",), **columns)
    for format in ("yolo", "labelme"):
        assert write_dataset(data, tmp_path / format, format=format) == []
        (record,) = read_dataset(tmp_path / format).records
        np.testing.assert_array_equal(record.boxes_rotated, turned)
        np.testing.assert_array_equal(record.shapes[0].rings[0], ring)


@pytest.mark.parametrize("format", ["yolo", "voc"])
def test_a_mask_is_written_as_polygons_that_draw_it_again(format, tmp_path):
    mask = np.zeros((48, 64), bool)
    mask[5:20, 10:30] = True
    mask[10:14, 15:20] = False  # a hole
    mask[30:40, 40:60] = True  # and a second part
    sets = one(save_picture(tmp_path / "a.png"), shapes=[mask_to_runs(mask)])
    sets = replace(sets, records=(replace(sets.records[0], boxes=[[10, 5, 60, 40]], area=None),))
    said = write_dataset(sets, tmp_path / "out", format=format)
    assert sum("the run lengths of 1 mask" in sentence for sentence in said) == 1
    assert len(said) == (2 if format == "yolo" else 1)  # two parts become one polygon
    (record,) = read_dataset(tmp_path / "out").records
    assert polygons_to_runs(record.shapes[0], (48, 64)) == mask_to_runs(mask)


def test_kitti_types_and_class_folders_have_names_that_they_can_have(tmp_path):
    names = ("traffic light", "7", "dontcare", "../up", ".hidden", "train", "a_b", "a b")
    sets = [
        one(save_picture(tmp_path / f"{n}.png"), names=names, labels=[n]) for n in range(len(names))
    ]
    write_dataset(joined(*sets), tmp_path / "kitti", format="kitti")
    types = read_dataset(tmp_path / "kitti").class_names
    assert {"traffic_light", "class_7", "class_dontcare", "../up", "train"} < {*types}
    assert len(types) == len(names) and {"a_b", "a_b_2"} < {*types}
    said = write_dataset(joined(*sets), tmp_path / "folder", format="folder")
    assert any("('../up' is written as" in sentence for sentence in said)
    folders = read_dataset(tmp_path / "folder").class_names
    assert len(folders) == len(names) and {"traffic light", "class_train", "a b"} < {*folders}
    assert all(path.is_relative_to(tmp_path) for path in (tmp_path / "folder").rglob("*"))


def test_images_of_several_classes_are_no_class_folder(tmp_path):
    image = save_picture(tmp_path / "a.png")
    both = one(image, labels=[0, 1], boxes=[[1, 1, 9, 9], [5, 5, 9, 9]])
    with pytest.raises(DataError, match=r"1 image has .*a\.png \(cat, dog\), but a class folder"):
        write_dataset(both, tmp_path / "out", format="folder")


def test_class_folders_leave_out_images_without_objects_and_say_so(tmp_path):
    cat, none = (save_picture(tmp_path / f"{name}.png") for name in ("cat", "none"))
    sets = joined(one(cat), one(none, labels=[], boxes=[]))
    said = write_dataset(sets, tmp_path / "out", format="folder")
    assert files_in(tmp_path / "out") == ["cat/cat.png"]
    assert [line.split(":")[0] for line in said] == [
        "the names of 1 class without objects",
        "the boxes of 1 object",
        "the files of 1 image without objects",
    ]


def test_a_class_without_training_images_is_no_class_folder(tmp_path):
    cat, dog = (save_picture(tmp_path / f"{name}.png") for name in ("cat", "dog"))
    sets = {"train": one(cat), "val": one(dog, labels=[1])}
    with pytest.raises(DataError, match="dog: there are images of it in val, but none in train"):
        write_dataset(sets, tmp_path / "out", format="folder")


@pytest.mark.parametrize("format", ALL_BUT_FOLDERS)
def test_a_split_within_others_is_a_list_of_voc_and_left_out_elsewhere(format, tmp_path):
    images = [save_picture(tmp_path / f"{n}.png") for n in range(3)]
    train, val = joined(one(images[0]), one(images[1])), one(images[2])
    sets = {"train": train, "val": val, "trainval": joined(train, val), "mini": one(images[1])}
    said = write_dataset(sets, tmp_path / "out", format=format)
    found = read_splits(tmp_path / "out", format=format)
    sizes = {split: len(data) for split, data in found.items()}
    if format == "voc":
        assert said == [] and sizes == {"train": 2, "val": 1, "trainval": 3, "mini": 1}
        assert len(files_in(tmp_path / "out" / "Annotations")) == 3
        return
    assert any(sentence.startswith("the split mini of 1 image: ") for sentence in said)
    assert sizes == {"train": 2, "val": 1}
    other = one(save_picture(tmp_path / "other.png"))
    with pytest.raises(DataError, match=r"split 'mini': .* choose .* splits=train,val"):
        write_dataset(sets | {"mini": other}, tmp_path / "more", format=format)


@pytest.mark.parametrize("format", ALL_BUT_FOLDERS)
def test_images_of_no_split_are_kept_where_the_format_has_a_place(format, tmp_path):
    images = [save_picture(tmp_path / f"{n}.png") for n in range(2)]
    sets = {"train": one(images[0]), None: one(images[1])}
    said = write_dataset(sets, tmp_path / "out", format=format)
    found = read_splits(tmp_path / "out", format=format)
    if any("1 image in no split" in sentence for sentence in said):
        assert format in ("yolo", "csv") and [*found] == ["train"]
    else:
        assert {split: len(data) for split, data in found.items()} == {"train": 1, None: 1}


def test_sets_that_do_not_go_together_are_refused(tmp_path):
    image = save_picture(tmp_path / "a.png")
    boxes, other = one(image), one(image, names=("cow",))
    classes = replace(boxes, label_type="class")
    for sets, message in (
        ({}, "no set to write"),
        ({"train": boxes, "val": other}, "all splits must have the same classes"),
        ({"train": boxes, "val": classes}, "all splits must have the same kind of labels"),
        ({"../x": boxes}, r"'../x' is no name of a split"),
    ):
        with pytest.raises(ValueError, match=message):
            write_dataset(sets, tmp_path / "out", format="voc")
    with pytest.raises(ValueError, match="`format` must be one of voc, coco, yolo"):
        write_dataset(boxes, tmp_path / "out", format="pascal")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def bccd(shared_data):
    """Eight images of each split."""
    whole = read_splits(shared_data / "bccd", on_bad_label="drop-box")
    return {split: whole[split].subset(range(8)) for split in ("train", "val", "test")}


@pytest.mark.parametrize("format", ALL_BUT_FOLDERS)
def test_bccd_comes_back_with_its_splits_and_boxes(format, bccd, tmp_path):
    sets = bccd
    said = write_dataset(sets, tmp_path / "there", format=format, images="link")
    assert all(re.match("`truncated`|the names of .* without objects", line) for line in said)
    there = read_splits(tmp_path / "there")
    assert next(iter(there.values())).format == format
    write_dataset(there, tmp_path / "back", format="voc", images="link")
    back = read_splits(tmp_path / "back")
    assert [*back] == [*sets]
    for split, data in sets.items():
        assert data.class_names == back[split].class_names
        for mine, theirs in zip(data.records, back[split].records, strict=True):
            assert Path(mine.image).samefile(theirs.image) and mine.image_id == theirs.image_id
            np.testing.assert_array_equal(mine.boxes, theirs.boxes)
            np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_a_folder_that_fills_up_meanwhile_is_left_alone(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(OSError), new_folder.new_folder(target) as new:
        (new / "ours").write_text("ours")
        target.mkdir()
        (target / "theirs").write_text("theirs")
    assert files_in(tmp_path) == ["out/theirs"]


def test_an_image_that_several_splits_list_is_read_once(tmp_path, monkeypatch):
    images = [save_picture(tmp_path / f"{n}.png") for n in range(3)]
    train, val = joined(one(images[0]), one(images[1])), one(images[2])
    sets = {"train": train, "val": val, "trainval": joined(train, val), "mini": one(images[1])}
    write_dataset(sets, tmp_path / "out", format="voc")
    read = []
    monkeypatch.setattr(
        voc_reader, "parse_xml", lambda path, *notes: read.append(path) or parse_xml(path, *notes)
    )
    assert [*read_splits(tmp_path / "out")] == ["train", "val", "mini", "trainval"]
    assert len(read) == len({*read}) == 3


def test_an_image_that_is_dropped_from_its_split_is_not_in_no_split(tmp_path):
    images = [save_picture(tmp_path / f"{n}.png") for n in range(2)]
    write_dataset(one(images[0], split="val"), tmp_path / "out", format="kitti")
    label = tmp_path / "out" / "training" / "label_2" / "0.txt"
    label.write_text(f"{label.read_text()}cat 0 0 0 9 9 9 9 1 1 1 1 1 1 1\n")
    write_dataset(one(images[1], split="val"), tmp_path / "more", format="kitti")
    for kind, suffix in (("image_2", "png"), ("label_2", "txt")):
        place = Path("training", kind, f"1.{suffix}")
        (tmp_path / "more" / place).rename(tmp_path / "out" / place)
    (tmp_path / "out" / "ImageSets" / "val.txt").write_text("0\n1\n")
    found = read_splits(tmp_path / "out", on_bad_label="drop-image")
    assert {split: len(data) for split, data in found.items()} == {"val": 1}
