"""A clean copy has nothing left that can be left out, and the source stays as it is."""

import shutil

import pytest

from sightline.data import DataError, read_dataset
from sightline.data.check import check_dataset, clean_dataset
from sightline.data.check.fix import FIXES

from .faults import FAULTS, add_object, listed, write_voc


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    root = write_voc(tmp_path_factory.mktemp("faulty") / "voc")
    for plant in FAULTS.values():
        list(plant(root))
    return root


def test_copy_has_nothing_that_can_be_left_out(faulty, tmp_path):
    before = contents(faulty)
    report, changes = clean_dataset(faulty, tmp_path / "clean")
    assert contents(faulty) == before
    again = check_dataset(tmp_path / "clean")
    assert not {finding.kind for finding in again.findings} & set(FIXES), again
    assert {it.kind for it in again.findings} == {it.kind for it in report.findings} - set(FIXES)
    assert "empty box (1): left out" in changes and "tiny box (1): as it was" in changes


def test_copy_keeps_everything_else(tmp_path):
    root = write_voc(tmp_path / "voc")
    add_object(root, "train_0", "RBC", (5, 5, 5, 9))
    add_object(root, "train_1", "RBC", (120, 90, 170, 130))
    shutil.copy(root / "JPEGImages" / "train_2.jpg", root / "JPEGImages" / "test_2.jpg")
    clean_dataset(root, tmp_path / "clean")
    for split, left_out in (("train", {"train_2"}), ("val", set()), ("test", set())):
        one, two = (
            read_dataset(p, split=split, on_bad_label="drop-box")
            for p in (root, tmp_path / "clean")
        )
        records = {record.image_id: record for record in two.records}
        assert set(records) == set(listed(root, split)) - left_out
        for record in one.records:
            if record.image_id not in left_out | {"train_1"}:
                assert records[record.image_id].boxes.tolist() == record.boxes.tolist()
        if split == "train":
            assert records["train_1"].boxes[-1].tolist() == [120, 90, 160, 120]


def test_copy_needs_a_new_folder_and_something_to_copy(faulty, tmp_path):
    (tmp_path / "there.txt").write_text("mine")
    with pytest.raises(DataError, match="nothing is overwritten"):
        clean_dataset(faulty, tmp_path, decode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["there.txt"]
