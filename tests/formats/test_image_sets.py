"""Label files of many images: VGG Image Annotator, VoTT, Label Studio and CVAT's own XML."""

import json

import numpy as np
import pytest

from sightline.data import DataError, read_dataset
from sightline.formats import Polygons, RunLengths

from ..pictures import save_picture
from .refusals import refusal


def write(root, name, content, images=("a.jpg", "b.jpg")):
    for image in images:
        save_picture(root / image)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def via_image(name, *regions, **attributes):
    found = [{"shape_attributes": s, "region_attributes": a} for s, a in regions]
    return {"filename": name, "size": 1, "regions": found, "file_attributes": attributes}


RECT = {"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20}
ELLIPSE = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 10, "ry": 5, "theta": 0}
POLYGON = {"name": "polygon", "all_points_x": [1, 9, 1], "all_points_y": [2, 2, 8]}


@pytest.mark.parametrize("form", ["annotations", "project", "version 1", "csv"])
def test_via_regions_become_objects_of_their_only_attribute(tmp_path, form):
    point = {"name": "point", "cx": 3, "cy": 3}
    image = via_image(
        "a.jpg",
        (RECT, {"kind": "cat"}),
        (ELLIPSE, {"kind": {"dog": True, "cat": False}}),
        (POLYGON, {"kind": "cat"}),
        (point, {"kind": "cat"}),
    )
    content = {"a.jpg1": image, "b.jpg1": via_image("b.jpg")}
    if form == "version 1":
        content["a.jpg1"] = image | {"regions": {str(i): r for i, r in enumerate(image["regions"])}}
    elif form == "project":
        options = {"type": "dropdown", "options": {"dog": "", "cat": "", "ant": ""}}
        content = {
            "_via_settings": {},
            "_via_img_metadata": content,
            "_via_attributes": {"region": {"kind": options}, "file": {}},
        }
    elif form == "csv":
        rows = [
            f'a.jpg,1,"{{}}",4,{i},"{quoted(r["shape_attributes"])}","{quoted(r["region_attributes"])}"'
            for i, r in enumerate(image["regions"])
        ]
        header = "filename,file_size,file_attributes,region_count,region_id"
        header += ",region_shape_attributes,region_attributes"
        content = "\n".join([header, *rows, 'b.jpg,1,"{}",0,0,"{}","{}"'])
    write(tmp_path, "labels.csv" if form == "csv" else "via.json", content)
    found = read_dataset(tmp_path)
    names = ("dog", "cat", "ant") if form == "project" else ("cat", "dog")
    assert (found.format, found.class_names, len(found)) == ("via", names, 2)
    record = found.records[0]
    np.testing.assert_allclose(
        record.boxes, [[1, 2, 11, 22], [20, 15, 40, 25], [1, 2, 9, 8]], rtol=0, atol=1e-12
    )
    assert [names[label] for label in record.labels] == ["cat", "dog", "cat"]
    assert record.shapes[0] is None
    np.testing.assert_array_equal(record.shapes[2].rings[0], [[1, 2], [9, 2], [1, 8]])
    assert "a region of shape point: it has no box" in str(found.issues[-1])


def quoted(value):
    return json.dumps(value).replace('"', '""')


def test_via_names_the_attributes_that_may_be_the_class(tmp_path):
    both = via_image("a.jpg", (RECT, {"colour": "red", "shape": "round"}), (RECT, {"Type": "x"}))
    write(tmp_path, "via.json", {"a": both}, ["a.jpg"])
    found = read_dataset(tmp_path, on_bad_label="drop-box")
    assert found.class_names == ("x",) and len(found.records[0].boxes) == 1
    both["regions"].pop()
    write(tmp_path, "via.json", {"a": both}, ["a.jpg"])
    with pytest.raises(DataError, match="regions have the attributes colour, shape; name the one"):
        read_dataset(tmp_path)


def test_via_without_attributes_has_one_class(tmp_path):
    write(tmp_path, "train/via.json", {"a": via_image("a.jpg", (RECT, {}))}, ["train/a.jpg"])
    write(tmp_path, "val/via.json", {"b": via_image("b.jpg", (RECT, {}))}, ["val/b.jpg"])
    found = read_dataset(tmp_path, split="val")
    assert found.class_names == ("object",) and found.records[0].image_id == "val/b"


def test_via_file_attribute_is_the_class_where_there_is_no_region(tmp_path):
    content = {"a": via_image("a.jpg", species="cat"), "b": via_image("b.jpg", species="ant")}
    found = read_dataset(write(tmp_path, "via.json", content))
    assert found.label_type == "class" and found.class_names == ("ant", "cat")
    assert [record.labels.tolist() for record in found.records] == [[1], [0]]


def vott_asset(name, *regions, state=2):
    asset = {"name": name, "path": f"file:/other/{name}", "size": {"width": 64, "height": 48}}
    return {"asset": {**asset, "state": state}, "regions": [*regions]}


VOTT_BOX = {"left": 1.5, "top": 2, "width": 10, "height": 20}
VOTT_REGION = {"type": "RECTANGLE", "tags": ["cat"], "boundingBox": VOTT_BOX}


@pytest.mark.parametrize("form", ["export", "project"])
def test_vott_regions_become_objects(tmp_path, form):
    points = [{"x": 1, "y": 2}, {"x": 9, "y": 2}, {"x": 1, "y": 8}]
    polygon = {"type": "POLYGON", "tags": ["ant", "cat"], "points": points}
    assets = {
        "1": vott_asset("a%20b.jpg", VOTT_REGION, polygon),
        "2": vott_asset("b.jpg", state=1),
        "3": vott_asset("c.jpg", state=0),
    }
    tags = [{"name": "cat", "color": "#fff"}, {"name": "ant"}, {"name": "unused"}]
    images = ["a b.jpg", "b.jpg", "c.jpg"]
    if form == "export":
        write(tmp_path, "x-export.json", {"name": "x", "assets": assets, "tags": tags}, images)
    else:
        for key in ("1", "2"):
            write(tmp_path, f"{key}-asset.json", assets[key], ())
        plain = {key: item["asset"] for key, item in assets.items()}
        write(tmp_path, "x.vott", {"name": "x", "assets": plain, "tags": tags}, images)
    found = read_dataset(tmp_path)
    assert (found.format, found.class_names) == ("vott", ("cat", "ant", "unused"))
    assert [record.image_id for record in found.records] == ["a b", "b"]
    np.testing.assert_array_equal(
        found.records[0].boxes, [[1.5, 2, 11.5, 22], [1, 2, 9, 8], [1, 2, 9, 8]]
    )
    assert found.records[0].labels.tolist() == [0, 1, 0]
    assert any("not visited" in str(issue) for issue in found.issues)


def test_csv_and_voc_of_vott_are_read(tmp_path):
    text = '"image","xmin","ymin","xmax","ymax","label"\n"a.jpg",1.5,2,11.5,22,"cat"\n'
    found = read_dataset(
        write(tmp_path / "csv", "vott-csv-export/x-export.csv", text, ["vott-csv-export/a.jpg"])
    )
    assert found.records[0].boxes.tolist() == [[1.5, 2, 11.5, 22]]
    voc = tmp_path / "x-PascalVOC-export"
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>"
    xml = f"<annotation verified='yes'><filename>a.jpg</filename><object><name>cat</name>{box}"
    write(voc, "Annotations/a.xml", xml + "</object></annotation>", ["JPEGImages/a.jpg"])
    write(voc, "ImageSets/Main/cat_train.txt", "a.jpg 1\n", ())
    write(voc, "pascal_label_map.pbtxt", "item { id: 1 name: 'cat' }", ())
    assert read_dataset(voc).records[0].boxes.tolist() == [[1, 2, 11, 22]]


def result(kind, names, **value):
    key = f"{kind}labels"
    return {
        "id": "r1",
        "type": key,
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "value": {**value, key: names},
    }


def task(image, *results, **more):
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": [*results]}], **more}


LS_BOX = result("rectangle", ["cat"], x=25, y=50, width=50, height=25, rotation=0)


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/1/0a1b2c3d-a.jpg",
        "/data/local-files/?d=any%2Fa.jpg",
        "https://example.org/x/a.jpg?token=1",
        "s3://bucket/a.jpg",
    ],
)
@pytest.mark.parametrize("minimal", [False, True])
def test_label_studio_percent_become_pixels(tmp_path, url, minimal):
    if minimal:
        inner = {**LS_BOX["value"], "original_width": 64, "original_height": 48}
        content = [{"image": url, "id": 1, "label": [inner], "annotator": 1, "annotation_id": 1}]
    else:
        content = [task(url, LS_BOX)]
    found = read_dataset(write(tmp_path, "project.json", content, ["images/a.jpg"]))
    assert (found.format, found.class_names) == ("label_studio", ("cat",))
    assert found.records[0].boxes.tolist() == [[16, 24, 48, 36]]


def test_label_studio_keeps_rotation_polygons_and_keypoints(tmp_path):
    turned = result("rectangle", ["cat"], x=50, y=50, width=12.5, height=25, rotation=90)
    polygon = result("polygon", ["dog"], points=[[0, 0], [50, 0], [0, 50]]) | {"id": "r2"}
    nose = result("keypoint", ["nose"], x=25, y=25, width=1) | {"parentID": "r2", "id": "k"}
    brush = result("brush", ["dog"], format="rle", rle=[1, 2]) | {"id": "m"}
    content = [task("a.jpg", turned, polygon, nose, brush)]
    found = read_dataset(write(tmp_path, "p.json", content, ["a.jpg"]))
    record = found.records[0]
    assert found.class_names == ("cat", "dog") and found.keypoint_names == ("nose",)
    # Turned with the clock around its top left corner, which stays where it is.
    np.testing.assert_allclose(record.boxes, [[20, 24, 32, 32], [0, 0, 32, 24]])
    np.testing.assert_allclose(record.boxes_rotated[0], [26, 28, 8, 12, -90])
    np.testing.assert_array_equal(record.points[:, 0], [[0, 0, 0], [16, 12, 2]])
    assert isinstance(record.shapes[1], Polygons)
    assert any("brush" in str(issue) for issue in found.issues)


def test_label_studio_reads_the_last_annotation_that_was_not_cancelled(tmp_path):
    other = result("rectangle", ["dog"], x=0, y=0, width=50, height=50)
    content = [task("a.jpg", other)]
    content[0]["annotations"] += [{"result": [LS_BOX]}, {"result": [], "was_cancelled": True}]
    content.append(task("b.jpg") | {"annotations": []})
    found = read_dataset(write(tmp_path, "p.json", content))
    assert len(found) == 1 and found.records[0].boxes.tolist() == [[16, 24, 48, 36]]
    said = " ".join(map(str, found.issues))
    assert "it has 2 annotations" in said and "no annotation that was not cancelled" in said


@pytest.mark.parametrize("minimal", [False, True])
def test_label_studio_choice_is_the_class_of_an_image(tmp_path, minimal):
    def labelled(name, choice):
        if minimal:
            return {"image": name, "choice": choice, "id": 1, "annotator": 1, "annotation_id": 1}
        return task(name, {"id": "c", "type": "choices", "value": {"choices": [choice]}})

    content = [labelled("a.jpg", "dog"), labelled("b.jpg", "cat")]
    found = read_dataset(write(tmp_path, "p.json", content))
    assert found.label_type == "class" and found.class_names == ("cat", "dog")
    assert [record.labels.tolist() for record in found.records] == [[1], [0]]


def cvat(*images):
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("cat", "ant"))
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    return f"<annotations><version>1.1</version>{meta}\n" + "\n".join(images) + "\n</annotations>"


def cvat_image(name, shapes, subset=""):
    more = f' subset="{subset}"' if subset else ""
    return f'<image id="0" name="{name}" width="64" height="48"{more}>{shapes}</image>'


def test_cvat_shapes_become_objects(tmp_path):
    shapes = """
    <box label="cat" occluded="1" xtl="1.5" ytl="2" xbr="11.5" ybr="22"><attribute name="colour">red
    </attribute></box>
    <box label="cat" xtl="20" ytl="20" xbr="28" ybr="24" rotation="90"/>
    <polygon label="ant" points="1,2;9,2;1,8"/>
    <ellipse label="ant" cx="30" cy="20" rx="10" ry="5"/>
    <mask label="cat" rle="1, 2, 1" left="4" top="6" width="2" height="2"/>
    <skeleton label="ant"><points label="head" points="5,6" outside="0" occluded="1"/>
    <points label="tail" points="15,16" outside="0" occluded="0"/></skeleton>
    <points label="cat" points="3,4"/>"""
    write(tmp_path, "annotations.xml", cvat(cvat_image("sub/a.jpg", shapes)), ["images/sub/a.jpg"])
    found = read_dataset(tmp_path)
    record = found.records[0]
    assert (found.format, found.class_names) == ("cvat", ("cat", "ant"))
    assert record.labels.tolist() == [0, 0, 1, 1, 0, 1]
    np.testing.assert_allclose(
        record.boxes,
        [
            [1.5, 2, 11.5, 22],
            [22, 18, 26, 26],
            [1, 2, 9, 8],
            [20, 15, 40, 25],
            [4, 6, 6, 8],
            [5, 6, 15, 16],
        ],
    )
    np.testing.assert_allclose(record.boxes_rotated[1], [24, 22, 8, 4, -90])
    assert isinstance(record.shapes[4], RunLengths)
    np.testing.assert_array_equal(record.points[5], [[5, 6, 1], [15, 16, 2]])
    assert found.keypoint_names == ("head", "tail")
    assert record.extra["colour"].tolist()[:2] == ["red", ""]
    assert record.extra["occluded"][0] == 1 and np.isnan(record.extra["occluded"][1])
    assert "a shape of type points: it has no box" in str(found.issues[-1])


def test_cvat_subsets_are_splits_and_tags_are_classes(tmp_path):
    images = [
        cvat_image("a.jpg", '<tag label="cat"/>', "Train"),
        cvat_image("b.jpg", '<tag label="ant"/>', "Validation"),
    ]
    write(tmp_path, "annotations.xml", cvat(*images), ["images/a.jpg", "images/b.jpg"])
    found = read_dataset(tmp_path, split="val")
    assert found.label_type == "class" and found.records[0].labels.tolist() == [1]


def test_cvat_tracks_of_a_video_say_what_to_export(tmp_path):
    write(tmp_path, "annotations.xml", cvat('<track id="0"/>'), ["a.jpg"])
    with pytest.raises(DataError, match=r"export it as CVAT for images 1\.1"):
        read_dataset(tmp_path)


BAD = {
    "via.json": {"a": via_image("a.jpg", ({**RECT, "x": None}, {"class": "cat"}))},
    "x-export.json": {
        "assets": {"1": vott_asset("a.jpg", {**VOTT_REGION, "boundingBox": {}})},
        "tags": [],
    },
    "p.json": [task("a.jpg", {**LS_BOX, "value": {**LS_BOX["value"], "x": "?"}})],
    "annotations.xml": cvat(cvat_image("a.jpg", '<box label="cat" xtl="?"/>')),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_region_is_a_bad_label(tmp_path, name):
    write(tmp_path, name, BAD[name], ["a.jpg"])
    refusal(tmp_path, name, "1 of a.jpg", "numbers")
    assert len(read_dataset(tmp_path, on_bad_label="drop-box")) == 1


def test_no_image_outside_the_data_set_is_read(tmp_path):
    save_picture(tmp_path / "secret.jpg")
    content = {"a": via_image("../secret.jpg", (RECT, {"class": "cat"}))}
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg")):
        content["a"]["filename"] = name
        write(tmp_path / "set", "via.json", content, ())
        with pytest.raises(DataError, match="lies outside the data set: move it there, or link"):
            read_dataset(tmp_path / "set")
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    content["a"]["filename"] = "link.jpg"
    assert len(read_dataset(write(tmp_path / "set", "via.json", content, ()))) == 1
