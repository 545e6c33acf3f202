"""Finding out the format, choosing the split, and embedded sets by name."""

import pytest

from sightline.data import DataError, open_source, read_dataset

from ..pictures import save_picture


def class_folders(root, count=20):
    for number in range(count):
        save_picture(root / ("cat" if number % 4 else "dog") / f"{number}.png", (4, 4))
    return root


def test_unknown_format_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    for word in ("VOC: ", "COCO: ", "YOLO: ", "folders: "):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["notes.md"], "found there: 1 .md. Looked for"),
        ([], "found there: nothing."),
        (["a.jpg", "b.PNG"], "found there: 1 .jpg, 1 .png: pictures, but no label files."),
        (["x/a.jpg", "x/b.jpg"], r"found there: x/ \(2 .jpg\): pictures, but no label files."),
        (["set.zip", "y/z/a.txt"], r"found there: 1 .zip, y/ \(1 folder\); unpack set.zip."),
        ([".hidden", "__MACOSX/._a.jpg"], "found there: nothing."),
    ],
)
def test_what_is_no_data_set_is_described(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=said):
        read_dataset(tmp_path)
    (tmp_path / "a.weights").write_text("")
    with pytest.raises(DataError, match=r"found there: a file of type \.weights"):
        read_dataset(tmp_path / "a.weights")


@pytest.mark.parametrize(
    ("names", "said", "left_out"),
    [
        (["a.yaml"], "Looked for YOLO: a yaml file", "COCO"),
        (["a.json"], "Looked for COCO: a json file", "VOC"),
        (["a.jpg"], "Looked for label files of VOC, COCO, YOLO", "ImageSets"),
    ],
)
def test_what_was_looked_for_is_of_the_kinds_of_files_that_are_there(
    tmp_path, names, said, left_out
):
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert said in str(caught.value) and left_out not in str(caught.value)


def test_data_set_in_a_folder_of_the_path_is_pointed_at(tmp_path):
    save_picture(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(DataError, match=r"can be read, but .*set is one: give that as data\.path"):
        read_dataset(tmp_path)


def test_unpacked_voc_set_is_pointed_at_for_the_sake_of_its_lists(tmp_path):
    save_picture(tmp_path / "set" / "JPEGImages" / "a.png")
    (tmp_path / "set" / "Annotations").mkdir()
    (tmp_path / "set" / "Annotations" / "a.xml").write_text("<annotation></annotation>")
    with pytest.raises(DataError, match=r"can be read, but .*set is one: give that as data\.path"):
        read_dataset(tmp_path)


def test_label_files_win_over_class_folders_and_that_is_said(tmp_path):
    for folder in ("cat", "dog"):
        save_picture(tmp_path / folder / "0.png")
    (tmp_path / "cat" / "0.xml").write_text("<annotation></annotation>")
    (tmp_path / "dog" / "0.xml").write_text("<annotation></annotation>")
    found = read_dataset(tmp_path)
    assert (found.format, [issue.what for issue in found.issues]) == ("voc", ["format"])
    assert "voc is read; data.format=folder reads those, data.format=voc confirms this" in str(
        found.issues[0]
    )
    assert read_dataset(tmp_path, format="voc").issues == ()
    assert read_dataset(tmp_path, format="folder").class_names == ("cat", "dog")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; check data\.path"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        read_dataset(tmp_path / "nowhere", format="voc")


def test_two_formats_in_one_folder_ask_which(tmp_path):
    save_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation></annotation>")
    with pytest.raises(DataError, match=r"looks like voc and yolo; say which with data\.format="):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, format="yolo").records[0].boxes) == 1
    assert len(read_dataset(tmp_path, format="voc").records[0].boxes) == 0
    with pytest.raises(
        ValueError, match="`format` must be one of voc, coco, yolo, labelme, kitti, csv, folder"
    ):
        read_dataset(tmp_path, format="tfrecord")


def test_drawn_split_is_stratified_disjoint_and_depends_on_the_seed_alone(tmp_path):
    class_folders(tmp_path)
    train, val = (read_dataset(tmp_path, split=split) for split in ("train", "val"))
    assert train.class_counts().tolist() == [12, 4]
    assert val.class_counts().tolist() == [3, 1]
    ids = [{record.image_id for record in half.records} for half in (train, val)]
    assert not ids[0] & ids[1]
    again = read_dataset(tmp_path, split="val")
    assert [record.image_id for record in again.records] == [r.image_id for r in val.records]
    others = [
        {record.image_id for record in read_dataset(tmp_path, split="val", seed=seed).records}
        for seed in (1, 2, 3)
    ]
    assert any(other != ids[1] for other in others)
    assert len(read_dataset(tmp_path, split="trainval")) == 20
    assert "stratified, seed 0" in val.split_rule


def test_val_is_drawn_from_an_official_train_and_never_from_test(tmp_path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", 4)
    assert len(read_dataset(tmp_path, split="train")) == 16
    assert len(read_dataset(tmp_path, split="val")) == 4
    assert len(read_dataset(tmp_path, split="trainval")) == 20
    assert len(read_dataset(tmp_path, split="test")) == 4


def test_split_that_is_not_there_names_those_that_are(tmp_path):
    class_folders(tmp_path / "train")
    with pytest.raises(DataError, match="there is no split 'test'; official splits: train"):
        read_dataset(tmp_path, split="test")
    with pytest.raises(DataError, match="there is no split 'extra'"):
        read_dataset(tmp_path, split="extra")


def test_embedded_sets_open_by_name():
    assert len(open_source("digits", split="val")) == 359
    scenes = open_source("digit-scenes", split="test", scene_count=3)
    assert (len(scenes), scenes.label_type, scenes.mirror_safe) == (3, "boxes", False)
    with pytest.raises(DataError, match="digits has no split 'test'; it has train, val"):
        open_source("digits", split="test")
    with pytest.raises(DataError, match="digit-scenes has no split 'extra'"):
        open_source("digit-scenes", split="extra")


def test_a_path_opens_as_read_dataset_does(tmp_path):
    class_folders(tmp_path)
    assert len(open_source(tmp_path, split="val")) == 4


def test_set_with_too_large_an_image_is_refused_where_that_is_asked(tmp_path):
    for name, size in (("a", (4, 4)), ("b", (6, 5)), ("c", (5, 5))):
        save_picture(tmp_path / "x" / f"{name}.png", size)
        save_picture(tmp_path / "y" / f"{name}.png", (4, 4))
    assert len(read_dataset(tmp_path, max_pixels=30)) == 6
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path, max_pixels=24)
    assert "b.png: 6 x 5 = 30 pixels, but at most 24 are decoded" in str(caught.value)
    assert "data.max_pixels=30" in str(caught.value) and "1 more are" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "given", "said"),
    [
        (["set.zip"], "set.zip", r"a file of type \.zip: unpack it, and give the folder"),
        (["a.mp4"], "a.mp4", r"a file of type \.mp4: save the images of the video"),
        (["a.ipynb"], "a.ipynb", r"\.ipynb: a notebook; give the folder that it reads"),
        (["x/a.tfrecord"], ".", r"x/ \(1 \.tfrecord\): not read; save images, and labels"),
        (["x/0.parquet"], ".", r"x/ \(1 \.parquet\): not read; save images, and labels"),
        (["config.yaml", "weights/best.safetensors"], ".", "a run; its config.yaml names the data"),
    ],
)
def test_what_is_given_by_mistake_is_told_what_to_do(tmp_path, files, given, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x: 1")
    with pytest.raises(DataError, match=said):
        read_dataset(tmp_path / given)
