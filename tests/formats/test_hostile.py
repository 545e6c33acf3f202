"""Files that were made, or damaged, so that reading them never ends, fails or leads elsewhere."""

import json
import os
import time

import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture
from .test_image_sets import (
    LS_BOX,
    RECT,
    VOTT_REGION,
    cvat,
    cvat_image,
    task,
    via_image,
    vott_asset,
)

VOC = "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
VOC += "<ymax>9</ymax></bndbox></object></annotation>"
COCO = {
    "images": [{"id": 1, "file_name": "../secret.jpg"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    "categories": [{"id": 1, "name": "cat"}],
}
LABELME = {"imagePath": "../secret.jpg", "shapes": []}
CSV = "filename,class,xmin,ymin,xmax,ymax\n../secret.jpg,cat,1,1,9,9\n"
OUTSIDE = {  # each names an image beside the folder of the set
    "coco.json": json.dumps(COCO),
    "labelme.json": json.dumps(LABELME),
    "boxes.csv": CSV,
    "via.json": json.dumps({"a": via_image("../secret.jpg", (RECT, {"class": "cat"}))}),
    "vott.json": json.dumps(
        {"assets": {"1": vott_asset("../secret.jpg", VOTT_REGION)}, "tags": []}
    ),
    "label_studio.json": json.dumps([task("../secret.jpg", LS_BOX)]),
    "cvat.xml": cvat(cvat_image("../secret.jpg", "")),
    "Annotations/voc.xml": VOC.replace("<object>", "<filename>../secret.jpg</filename><object>", 1),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_label_file_leads_to_no_image_outside_its_folder(tmp_path, name):
    save_picture(tmp_path / "secret.jpg")
    save_picture(tmp_path / "set" / "images" / "other.jpg")
    path = tmp_path / "set" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(OUTSIDE[name])
    place = f"{path.name}:2" if name == "boxes.csv" else path.name
    with pytest.raises(DataError, match=rf"{place}: no image"):
        read_dataset(tmp_path / "set")


def test_voc_list_leads_to_no_label_file_outside_its_folder(tmp_path):
    save_picture(tmp_path / "secret.jpg")
    (tmp_path / "secret.xml").write_text(VOC)
    root = tmp_path / "set"
    save_picture(root / "JPEGImages" / "a.jpg")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "Annotations" / "a.xml").write_text(VOC)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n../secret\n")
    with pytest.raises(DataError, match=r"train.txt:2: lists \.\./secret, but there is no such"):
        read_dataset(root, split="train")


def test_linked_folder_of_images_is_read(tmp_path):
    save_picture(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "set" / "labels").mkdir(parents=True)
    (tmp_path / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    assert len(read_dataset(tmp_path / "set").records[0].boxes) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["labels/a.txt", "data.yaml", "a.json", "a.csv", "a.xml"])
def test_pipe_in_place_of_a_label_file_is_refused_at_once(tmp_path, name):
    save_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError):
        read_dataset(tmp_path)


def test_device_as_label_file_is_refused(tmp_path):
    save_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").symlink_to("/dev/zero")
    with pytest.raises(DataError):
        read_dataset(tmp_path)


def test_links_in_a_circle_and_folders_with_the_names_of_files_are_passed_over(tmp_path):
    save_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    for folder in ("images/b.jpg", "labels/b.txt", "x.json", "x.csv", "x.xml", "x.yaml"):
        (tmp_path / folder).mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "images" / "up").symlink_to(tmp_path)
    assert len(read_dataset(tmp_path)) == 1


def test_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    save_picture(tmp_path / "x" / "a.jpg")
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("x"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="x: cannot be read"):
        read_dataset(tmp_path, format="voc")


def test_names_that_are_no_utf8_are_read(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    save_picture(tmp_path / "images" / "plain.jpg")
    (tmp_path / "images" / "plain.jpg").rename(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    found = read_dataset(tmp_path)
    assert found.records[0].image.exists() and len(found.records[0].boxes) == 1


BOMBS = {
    "data.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))
    + "names: *i\ntrain: images\n",
    "tags/data.yaml": "names: !!python/object/apply:os.system ['touch pwned']\ntrain: images\n",
    "Annotations/a.xml": "<!DOCTYPE a [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
    "<annotation>&b;</annotation>",
    "external/Annotations/a.xml": "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    "<annotation><object><name>&x;</name></object></annotation>",
    "cvat.xml": "<!DOCTYPE a [<!ENTITY a 'aaaa'>]><annotations><image name='&a;'/></annotations>",
    "deep/via.json": '{"filename":1,"regions":1,"file_attributes":' + "[" * 100_000,
    "tasks.json": '[{"data":1,"annotations":' + "[" * 100_000,
    "field/via.csv": "region_shape_attributes,region_attributes,filename\n" + "a" * (2 << 20),
    "field/boxes.csv": "filename,class,xmin,ymin,xmax,ymax\n" + "a" * (2 << 20),
    "list/data.yaml": "- names\n- train\n",
    "names/data.yaml": "names: {1: a}\ntrain: images\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_bounded_time_by_name(tmp_path, name):
    save_picture(tmp_path / "images" / "a.jpg")
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(path.parent / "images" / "a.jpg")
    path.write_text(BOMBS[name])
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        read_dataset(path.parent.parent if path.parent.name == "Annotations" else path.parent)
    assert time.monotonic() - started < 20
    assert str(path.parent) in str(caught.value) and not (tmp_path / "pwned").exists()


def test_large_label_file_of_an_image_is_refused_unread(tmp_path):
    save_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    with (tmp_path / "labels" / "a.txt").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(DataError, match=r"a.txt: 104,857,600 bytes are too many"):
        read_dataset(tmp_path)


def test_huge_class_number_is_a_bad_label_at_once(tmp_path):
    save_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(f"300000000 0.5 0.5 0.1 0.1\n{'9' * 5000} 1 1 1 1\n")
    with pytest.raises(DataError, match=r"a\.txt:1: object: unknown class 300000000"):
        read_dataset(tmp_path)
