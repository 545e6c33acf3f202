"""Folders of images, one per class."""

import pytest

from sightline.data import DataError, read_dataset

from ..pictures import save_picture


def test_class_folders_become_labels_in_order_of_name(tmp_path):
    for name in ("dog/1.png", "cat/1.png", "cat/deep/2.jpg"):
        save_picture(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    found = read_dataset(tmp_path)
    assert (found.label_type, found.format) == ("class", "folder")
    assert found.class_names == ("cat", "dog")
    ids = {record.image_id: int(record.labels[0]) for record in found.records}
    assert ids == {"cat/1.png": 0, "cat/deep/2.jpg": 0, "dog/1.png": 1}


def test_split_folders_are_official_and_share_their_classes(tmp_path):
    for name in ("train/cat/1.png", "train/dog/1.png", "train/eel/1.png", "val/dog/2.png"):
        save_picture(tmp_path / name)
    val = read_dataset(tmp_path, split="val")
    assert val.class_names == ("cat", "dog", "eel")
    assert [record.labels.tolist() for record in val.records] == [[1]]
    assert len(read_dataset(tmp_path)) == 4


def test_link_to_the_data_set_or_above_is_no_class(tmp_path):
    root = tmp_path / "set"
    for name in ("cat/1.png", "dog/1.png"):
        save_picture(root / name)
    (root / "current").symlink_to(root)
    (root / "parent").symlink_to("..")
    (root / "eel").symlink_to(root / "dog")
    found = read_dataset(root)
    assert found.class_names == ("cat", "dog", "eel")
    assert [record.image_id for record in found.records] == ["cat/1.png", "dog/1.png", "eel/1.png"]


def test_class_folder_without_images_is_named(tmp_path):
    for name in ("cat/1.png", "dog/1.png"):
        save_picture(tmp_path / name)
    (tmp_path / "eel").mkdir()
    with pytest.raises(DataError, match=r"eel: class folder without images .* remove the folder"):
        read_dataset(tmp_path)


def test_class_that_train_has_not_is_unknown(tmp_path):
    for name in ("train/cat/1.png", "train/dog/1.png", "val/cow/2.png", "val/dog/2.png"):
        save_picture(tmp_path / name)
    with pytest.raises(DataError, match="unknown class 'cow'; the classes are cat, dog"):
        read_dataset(tmp_path, split="val")


def test_empty_and_false_image_files_are_named(tmp_path):
    for name in ("cat/1.png", "dog/1.png"):
        save_picture(tmp_path / name)
    (tmp_path / "dog" / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.png: the image file is empty"):
        read_dataset(tmp_path)
    (tmp_path / "dog" / "2.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"2\.png: not a readable image"):
        read_dataset(tmp_path)


def test_jfif_upper_case_brackets_and_links_are_pictures_and_clutter_is_none(tmp_path):
    for name in ("cat/1.jfif", "cat/2 [a]*?.JPG", "dog/1.PNG", "elsewhere/9.png"):
        target = tmp_path / "set" / name if name[0] != "e" else tmp_path / name
        if target.suffix == ".jfif":
            save_picture(target.with_suffix(".jpg")).rename(target)
        else:
            save_picture(target)
    root = tmp_path / "set"
    (root / "dog" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "dog" / "loop").symlink_to(root / "dog")
    (root / "dog" / "everything").symlink_to(root)
    (root / "dog" / "more").symlink_to(tmp_path)
    for name in ("__MACOSX/cat/._1.jpg", "cat/Thumbs.db", "cat/._1.jpg", ".git/x", "cat/.DS_Store"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no picture")
    found = read_dataset(root)
    assert found.class_names == ("cat", "dog")
    ids = [record.image_id for record in found.records]
    assert ids == ["cat/1.jfif", "cat/2 [a]*?.JPG", "dog/1.PNG", "dog/linked/9.png"]
    assert found.issues == ()


def test_files_of_another_kind_in_class_folders_are_counted_in_a_note(tmp_path):
    for name in ("dog/1.png", "cat/1.png"):
        save_picture(tmp_path / name)
    for name in ("cat/2.heic", "cat/3.heic", "dog/4.heic"):
        (tmp_path / name).write_bytes(b"a picture of another kind")
    found = read_dataset(tmp_path)
    assert len(found) == 2
    (said,) = map(str, found.issues)
    assert "2.heic: a file in a class folder, and in 2 more files" in said
    assert said.endswith("(left out)")
