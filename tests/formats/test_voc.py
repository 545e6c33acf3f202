"""VOC xml: what is read, what is refused, and how it is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data import DataError, read_dataset

from .refusals import refusal


def write_voc(
    root: Path, images: dict[str, list[tuple[str, object, object, object, object]]]
) -> Path:
    """Write 64 x 48 pictures and their labels; an object is (name, xmin, ymin, xmax, ymax)."""
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    for stem, objects in images.items():
        Image.new("RGB", (64, 48), (90, 120, 30)).save(root / "JPEGImages" / f"{stem}.jpg")
        parts = [
            f"  <object>\n    <name>{name}</name>\n    <bndbox>"
            f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n"
            "  </object>\n"
            for name, x1, y1, x2, y2 in objects
        ]
        size = "  <size><width>64</width><height>48</height><depth>3</depth></size>\n"
        text = (
            f"<annotation>\n  <filename>{stem}.jpg</filename>\n{size}{''.join(parts)}</annotation>"
        )
        (root / "Annotations" / f"{stem}.xml").write_text(text)
    return root


def write_lists(root: Path, **lists: list[str]) -> None:
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    for name, stems in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(stems) + "\n")


def test_voc_boxes_are_read_as_written(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30.5, 40), ("ant", 5, 5, 9, 9)]})
    found = read_dataset(tmp_path)
    assert found.class_names == ("ant", "cat")
    np.testing.assert_array_equal(found.records[0].boxes, [[1, 2, 30.5, 40], [5, 5, 9, 9]])
    np.testing.assert_array_equal(found.records[0].labels, [1, 0])
    assert (found.records[0].width, found.records[0].height) == (64, 48)


def test_voc_image_without_objects_is_kept(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)], "b": []})
    found = read_dataset(tmp_path)
    assert [len(record.boxes) for record in found.records] == [1, 0]
    assert found.records[1].boxes.shape == (0, 4)


def test_voc_official_splits_are_used_and_trainval_is_their_union(tmp_path):
    write_voc(tmp_path, {name: [("cat", 1, 2, 30, 40)] for name in "abcd"})
    write_lists(tmp_path, train=["a", "b"], val=["c"], test=["d"])
    ids = {
        split: [record.image_id for record in read_dataset(tmp_path, split=split).records]
        for split in ("train", "val", "test", "trainval")
    }
    assert ids == {"train": ["a", "b"], "val": ["c"], "test": ["d"], "trainval": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (("cat", 30, 2, 10, 40), "a box needs xmin < xmax, got xmin=30"),
        (("cat", 3, 20, 10, 20), "a box needs ymin < ymax"),
        (("cat", "nan", 2, 10, 40), "coordinates must be finite"),
        (("cat", "many", 2, 10, 40), "<xmin> must be a number, got 'many'"),
        (("cat", 70, 2, 80, 40), "lies outside its image of 64 x 48"),
    ],
)
def test_voc_bad_box_names_file_line_object_rule_and_fix(tmp_path, bad, rule):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40), bad], "b": [("cat", 1, 2, 30, 40)]})
    refusal(tmp_path, "a.xml:8: object 2 (cat)", rule)


def test_voc_bad_label_policies_drop_the_box_or_the_image(tmp_path):
    good = ("cat", 1, 2, 30, 40)
    write_voc(tmp_path, {"a": [good, ("cat", 30, 2, 10, 40)], "b": [good]})
    boxes = read_dataset(tmp_path, on_bad_label="drop-box")
    assert [len(record.boxes) for record in boxes.records] == [1, 1]
    assert [issue.action for issue in boxes.issues] == ["box dropped"]
    images = read_dataset(tmp_path, on_bad_label="drop-image")
    assert [record.image_id for record in images.records] == ["b"]
    with pytest.raises(ValueError, match="`on_bad_label` must be one of"):
        read_dataset(tmp_path, on_bad_label="ignore")


def test_voc_unknown_class_is_a_bad_label_when_classes_are_given(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40), ("cow", 1, 2, 30, 40)]})
    with pytest.raises(DataError, match="unknown class 'cow'; the classes are cat, dog"):
        read_dataset(tmp_path, class_names=("cat", "dog"))
    kept = read_dataset(tmp_path, class_names=("dog", "cat"), on_bad_label="drop-box")
    np.testing.assert_array_equal(kept.records[0].labels, [1])


def test_voc_list_that_names_a_missing_image_is_refused_with_its_line(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    write_lists(tmp_path, train=["a", "zebra"], val=["a"])
    with pytest.raises(DataError, match=r"train\.txt:2: lists zebra, but there is no"):
        read_dataset(tmp_path, split="train")


def test_voc_missing_and_empty_image_files_are_named(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    image = tmp_path / "JPEGImages" / "a.jpg"
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg: the image file is empty"):
        read_dataset(tmp_path)
    image.unlink()
    with pytest.raises(DataError, match=r"a\.xml: no image named a"):
        read_dataset(tmp_path)


def test_voc_broken_xml_is_named_with_its_line(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>\n<object>\n</annotation>")
    with pytest.raises(DataError, match=r"a\.xml:3: not well-formed xml"):
        read_dataset(tmp_path)


def test_voc_empty_split_list_is_refused(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    write_lists(tmp_path, train=["a"], val=[])
    with pytest.raises(DataError, match="split 'val' holds no image"):
        read_dataset(tmp_path, split="val")


def test_labelimg_folder_with_xml_beside_images_is_read(tmp_path):
    write_voc(tmp_path / "set", {"a": [("cat", 1, 2, 30, 40)]})
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in [*tmp_path.glob("set/*/*.xml"), *tmp_path.glob("set/*/*.jpg")]:
        path.rename(flat / path.name)
    found = read_dataset(flat)
    assert found.format == "voc"
    assert found.records[0].image == flat / "a.jpg"


POLYGONS = {
    "numbered": "<x1>10</x1><y1>12</y1><x2>20</x2><y2>30</y2><x3>5</x3><y3>20</y3>",
    "points": "<username>ann</username>"
    + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((10, 12), (20, 30), (5, 20))),
    "text": "10,12, 20,30, 5,20",
}
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
TURNED = "<robndbox><cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>{}</angle></robndbox>"


def write_objects(root, *objects):
    """A set of one image whose objects have the children given as text."""
    write_voc(root, {"a": []})
    parts = [f"<object>\n<name>cat</name>{text}</object>\n" for text in objects]
    text = "<annotation>\n<size><width>64</width><height>48</height></size>\n"
    (root / "Annotations" / "a.xml").write_text(f"{text}{''.join(parts)}</annotation>")
    return root


@pytest.mark.parametrize("text", POLYGONS.values(), ids=POLYGONS)
def test_voc_polygon_is_kept_and_gives_the_box_where_there_is_none(tmp_path, text):
    polygon = f"<polygon>{text}</polygon>"
    record = read_dataset(write_objects(tmp_path, polygon, polygon + BOX, BOX)).records[0]
    np.testing.assert_array_equal(record.boxes, [[5, 12, 20, 30], *[[1, 2, 30, 40]] * 2])
    for shape in record.shapes[:2]:
        np.testing.assert_array_equal(shape.rings[0], [[10, 12], [20, 30], [5, 20]])
    assert record.shapes[2] is None


def test_voc_rotated_box_turns_with_the_clock_in_radians(tmp_path):
    quarter, eighth = TURNED.format(np.pi / 2), TURNED.format(np.pi / 4)
    record = read_dataset(write_objects(tmp_path, quarter, eighth, BOX)).records[0]
    expected = [[30, 20, 20, 10, -90], [30, 20, 20, 10, -45], [np.nan] * 5]
    np.testing.assert_allclose(record.boxes_rotated, expected)
    half = 15 / 2**0.5  # half of the diagonal's projection
    around = [30 - half, 20 - half, 30 + half, 20 + half]
    np.testing.assert_allclose(record.boxes, [[25, 10, 35, 30], around, [1, 2, 30, 40]])


def test_voc_pose_truncation_and_occlusion_are_kept(tmp_path):
    first = BOX + "<pose>Left</pose><truncated>1</truncated><occluded>true</occluded>"
    second = BOX + "<pose>Unspecified</pose><truncated>0.25</truncated>"
    extra = read_dataset(write_objects(tmp_path, first, second)).records[0].extra
    assert extra["pose"].tolist() == ["Left", ""]
    np.testing.assert_array_equal(extra["truncated"], [1, 0.25])
    np.testing.assert_array_equal(extra["occluded"], [1, np.nan])


def test_voc_parts_and_nested_and_deleted_objects_are_no_objects(tmp_path):
    part = f"<part><name>head</name>{BOX.replace('30', '9')}</part>"
    nested = f"<object><name>flea</name>{BOX.replace('30', '8')}</object>"
    root = write_objects(tmp_path, part + nested + BOX, BOX + "<deleted>1</deleted>")
    found = read_dataset(root)
    assert found.class_names == ("cat",)
    np.testing.assert_array_equal(found.records[0].boxes, [[1, 2, 30, 40]])
    assert "a.xml:5: an object: <deleted> is 1 (left out)" in str(found.issues[0])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<polygon>1,2, 3,4</polygon>", "<polygon> must hold x and y of 3 or more points"),
        ("<polygon>1,2, 3,4, 5,x</polygon>", "<polygon> must hold x and y of 3 or more points"),
        ("<polygon>1,2, 3,4, 5,nan</polygon>", "<polygon> must hold x and y of 3 or more points"),
        ("<polygon><pt><x>1</x></pt></polygon>", "<polygon> must hold x and y of 3 or more points"),
        (TURNED.format("x"), "<angle> must be a number, got 'x'"),
        (TURNED.format("0").replace("20", "0"), "<w> and <h> must be positive, got 0 and 10"),
        (TURNED.format("nan"), "coordinates must be finite"),
        (TURNED.format("1e300"), "coordinates must be finite, and at most 1e+08"),
        ("<polygon>1,2, 3,4, 5,1e300</polygon>", "<polygon> must hold x and y of 3 or more"),
        ("<robndbox/>", "<robndbox> must hold <cx>"),
        ("", "<bndbox> must hold <xmin>"),
    ],
)
def test_voc_bad_outline_is_a_bad_label_where_there_is_no_box(tmp_path, text, rule):
    refusal(write_objects(tmp_path, BOX, text), "a.xml:5: object 2 (cat)", rule)


def test_voc_bad_outline_beside_a_box_is_left_out_and_that_is_said(tmp_path):
    found = read_dataset(write_objects(tmp_path, f"<polygon>1,2</polygon>{BOX}"))
    np.testing.assert_array_equal(found.records[0].boxes, [[1, 2, 30, 40]])
    assert found.records[0].shapes is None
    (said,) = map(str, found.issues)
    assert "a.xml:3: object 1 (cat): <polygon> must hold" in said
    assert "(only its box is read)" in said


def test_bccd_has_its_official_splits_and_two_degenerate_boxes(shared_data):
    root = shared_data / "bccd"
    sizes = {
        split: len(read_dataset(root, split=split, on_bad_label="drop-box"))
        for split in ("train", "val", "test", "trainval")
    }
    assert sizes == {"train": 205, "val": 87, "test": 72, "trainval": 292}
    everything = read_dataset(root, on_bad_label="drop-box")
    counts = dict(zip(everything.class_names, everything.class_counts().tolist(), strict=True))
    dropped = [issue.file.stem for issue in everything.issues]
    assert dropped == ["BloodImage_00338", "BloodImage_00343"]
    assert counts == {"Platelets": 361, "RBC": 4155 - len(dropped), "WBC": 372}
    with pytest.raises(DataError, match=r"BloodImage_00343\.xml:50: object 4 \(RBC\)"):
        read_dataset(root, split="trainval")


def test_voc_image_without_label_file_is_left_out_with_a_note(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    Image.new("RGB", (64, 48)).save(tmp_path / "JPEGImages" / "new.jpg")
    found = read_dataset(tmp_path)
    assert len(found) == 1
    assert "1 image without a label file, such as new.jpg" in str(found.issues[0])
    assert found.issues[0].action == "left out"


def rewrite(root, old, new, encoding="utf-8"):
    for path in (root / "Annotations").glob("*.xml"):
        path.write_bytes(path.read_text().replace(old, new).encode(encoding))


def test_voc_xml_in_the_encoding_that_it_declares_is_read(tmp_path):
    write_voc(tmp_path, {"a": [("车", 1, 2, 30, 40), ("车", 30, 2, 10, 40)]})
    rewrite(tmp_path, "<annotation>", "<?xml version='1.0' encoding='GBK'?>\n<annotation>", "gbk")
    found = read_dataset(tmp_path, on_bad_label="drop-box")
    assert found.class_names == ("车",)
    assert [len(record.boxes) for record in found.records] == [1]
    assert [issue.line for issue in found.issues] == [9]


def test_voc_xml_that_is_not_what_it_declares_is_read_as_utf_8_with_a_note(tmp_path):
    write_voc(tmp_path, {"a": [("Züge", 1, 2, 30, 40)], "b": [("Züge", 1, 2, 30, 40)]})
    rewrite(tmp_path, "<annotation>", "<?xml version='1.0' encoding='ascii'?><annotation>")
    found = read_dataset(tmp_path)
    assert found.class_names == ("Züge",)
    (said,) = map(str, found.issues)
    assert "a.xml:1: xml, and in 1 more file: declares the encoding ascii" in said


def test_voc_xml_with_a_namespace_has_its_objects(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    rewrite(tmp_path, "<annotation>", '<annotation xmlns="http://example.org/voc">')
    assert [len(record.boxes) for record in read_dataset(tmp_path).records] == [1]


@pytest.mark.parametrize("width", ["-1", "0", "null", "", "64.0"])
def test_voc_size_that_is_none_is_asked_of_the_picture(tmp_path, width):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    rewrite(tmp_path, "<width>64</width>", f"<width>{width}</width>")
    record = read_dataset(tmp_path).records[0]
    assert (record.width, record.height) == (64, 48)


@pytest.mark.parametrize(
    ("flag", "expected"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_voc_difficult_is_a_truth_value(tmp_path, flag, expected):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    rewrite(tmp_path, "<bndbox>", f"<difficult>{flag}</difficult><bndbox>")
    assert read_dataset(tmp_path).records[0].difficult.tolist() == [expected]


def test_voc_difficult_that_is_no_truth_value_is_a_bad_label(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    rewrite(tmp_path, "<bndbox>", "<difficult>rather</difficult><bndbox>")
    with pytest.raises(DataError, match=r"a\.xml:4: .*<difficult> must be 0 or 1, got 'rather'"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "leaf scan (1)",
        "leaf scan (1).jpg",
        "leaf scan (1).xml\t",
        "JPEGImages/leaf scan (1).jpg",
        r"C:\set\JPEGImages\leaf scan (1).JPG",
        "leaf scan (1)  -1",
        "leaf scan (1)\t1",
    ],
)
def test_voc_list_names_a_picture_in_any_spelling(tmp_path, line):
    write_voc(tmp_path, {"leaf scan (1)": [("cat", 1, 2, 30, 40)]})
    write_lists(tmp_path, train=[line], val=["\r"])
    found = read_dataset(tmp_path, split="train")
    assert [record.image_id for record in found.records] == ["leaf scan (1)"]


def test_voc_name_that_ends_in_a_number_is_not_cut(tmp_path):
    write_voc(tmp_path, {"leaf 1": [("cat", 1, 2, 30, 40)], "leaf": [], "v1.2": []})
    write_lists(tmp_path, train=["leaf 1", "v1.2"], val=["leaf 1"])
    found = read_dataset(tmp_path, split="train")
    assert [record.image_id for record in found.records] == ["leaf 1", "v1.2"]


def test_voc_picture_that_a_list_names_twice_counts_once_and_that_is_said(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    write_lists(tmp_path, train=["a", "a.jpg", "a"], val=["a"])
    found = read_dataset(tmp_path, split="train")
    assert len(found) == 1
    assert "train.txt:2: a line, and 1 more in 1 file: an earlier line" in str(found.issues[0])


def test_voc_folder_with_the_clutter_of_systems_is_read(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    for name in ("Annotations/._a.xml", "JPEGImages/._a.jpg", "JPEGImages/Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\26\7 not a label")
    (tmp_path / "Annotations" / "a.xml").rename(tmp_path / "Annotations" / "a.XML")
    found = read_dataset(tmp_path)
    assert [len(record.boxes) for record in found.records] == [1]
    assert found.issues == ()


def test_voc_split_folders_are_official_with_xml_beside_or_below(tmp_path):
    write_voc(tmp_path / "made", {"a": [("cat", 1, 2, 30, 40)]})
    write_voc(tmp_path / "set" / "test", {"a": [("dog", 1, 2, 30, 40)]})
    for split in ("train", "valid"):
        folder = tmp_path / "set" / split
        folder.mkdir()
        for path in [*tmp_path.glob("made/*/*.xml"), *tmp_path.glob("made/*/*.jpg")]:
            (folder / path.name).write_bytes(path.read_bytes())
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test/JPEGImages")):
        found = read_dataset(tmp_path / "set", split=split)
        assert [record.image for record in found.records] == [tmp_path / "set" / folder / "a.jpg"]
        assert found.class_names == ("cat", "dog")
        assert found.split_rule == f"official {split}"
    assert len(read_dataset(tmp_path / "set")) == 3
    (tmp_path / "set" / "train" / "images").mkdir()
    (tmp_path / "set" / "train" / "a.jpg").rename(tmp_path / "set" / "train" / "images" / "a.jpg")
    assert len(read_dataset(tmp_path / "set", split="train")) == 1


def test_voc_labels_and_images_may_lie_in_sibling_folders_of_any_name(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    (tmp_path / "Annotations").rename(tmp_path / "annots")
    (tmp_path / "JPEGImages").rename(tmp_path / "photos")
    found = read_dataset(tmp_path)
    assert [record.image for record in found.records] == [tmp_path / "photos" / "a.jpg"]


def test_voc_default_list_alone_is_no_split(tmp_path):
    write_voc(tmp_path, {name: [("cat", 1, 2, 30, 40)] for name in "abcde"})
    write_lists(tmp_path, default=["a", "b", "c", "d", "e"])
    assert len(read_dataset(tmp_path, split="train")) == 4


def test_voc_image_is_found_by_the_path_of_another_machine(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    (tmp_path / "Annotations" / "a.xml").rename(tmp_path / "Annotations" / "label.xml")
    rewrite(tmp_path, "<filename>a.jpg", r"<filename>C:\set\a.jpg")
    assert [record.image.name for record in read_dataset(tmp_path).records] == ["a.jpg"]


def test_voc_xml_in_an_encoding_that_it_does_not_declare_is_named_with_its_line(tmp_path):
    write_voc(tmp_path, {"a": [("Züge", 1, 2, 30, 40)]})
    rewrite(tmp_path, "", "", "latin-1")
    with pytest.raises(DataError, match=r"a\.xml:5: not UTF-8 text; .*declare its encoding"):
        read_dataset(tmp_path)


def test_voc_xml_that_is_no_annotation_is_refused(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)], "b": []})
    (tmp_path / "Annotations" / "b.xml").write_text("<html><body>404</body></html>")
    with pytest.raises(DataError, match=r"b\.xml:1: an XML file of <html>, no annotation; correct"):
        read_dataset(tmp_path)


def test_voc_image_that_is_a_link_to_nothing_is_refused(tmp_path):
    write_voc(tmp_path, {"a": [("cat", 1, 2, 30, 40)]})
    image = tmp_path / "JPEGImages" / "a.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: not a file, or a link that leads to none"):
        read_dataset(tmp_path)


def test_voc_object_without_a_name_is_told_so(tmp_path):
    write_voc(tmp_path, {"a": [(" ", 1, 2, 30, 40), ("cat", 1, 2, 30, 40)]})
    with pytest.raises(DataError, match=r"object 1 \(\): it must have a class in <name>"):
        read_dataset(tmp_path)
