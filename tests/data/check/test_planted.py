"""Each fault, planted alone or with all others, is found and named, and nothing else is."""

import shutil

import pytest

from sightline.data.check import check_dataset

from .faults import FAULTS, link_voc, write_voc

# The others are found without decoding an image, which would take most of the time.
OF_PIXELS = ("unlike test", "truncated image", "copied to test", "coded again in test")
BCCD_BOXES = [
    ("empty box", "BloodImage_00338.xml", 158),
    ("empty box", "BloodImage_00343.xml", 50),
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("clean") / "voc")


def places(report):
    return sorted((it.kind, it.file.name, it.line) for it in report.findings)


def by_place(planted):
    return sorted(planted, key=lambda it: (it[0], it[1], it[2] or 0))


def test_nothing_is_found_where_nothing_is_wrong(clean):
    report = check_dataset(clean)
    assert report.findings == () and report.ok
    assert report.splits == {"train": 16, "val": 10, "test": 10}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_alone_is_found_and_nothing_else(name, clean, tmp_path):
    root = shutil.copytree(clean, tmp_path / "voc")
    planted = list(FAULTS[name](root))
    report = check_dataset(root, decode=name in OF_PIXELS)
    assert places(report) == by_place(planted), report


def test_all_faults_together_are_found_and_nothing_else(clean, tmp_path):
    root = shutil.copytree(clean, tmp_path / "voc")
    planted = [fault for plant in FAULTS.values() for fault in plant(root)]
    report = check_dataset(root)
    assert places(report) == by_place(planted), report
    assert not report.ok and report.count("error") >= 10


@pytest.mark.parametrize("limit", ["_MOST_COMPARED", "_MOST_VERIFIED"])
def test_it_is_said_where_not_all_images_were_compared(clean, tmp_path, monkeypatch, limit):
    root = shutil.copytree(clean, tmp_path / "voc")
    [*FAULTS["coded again in test"](root)]
    monkeypatch.setattr(f"sightline.data.check.duplicates.{limit}", 0)
    assert places(check_dataset(root)) == [("images not compared", "voc", None)]


def test_lists_of_other_names_are_choices_of_the_images(clean, tmp_path):
    root = shutil.copytree(clean, tmp_path / "voc")
    lists = root / "ImageSets" / "Main"
    (lists / "few.txt").write_text("train_1\nnothing_here\ntest_1\n")
    (lists / "trainval.txt").write_text("train_1\nval_1\n")
    report = check_dataset(root)
    assert places(report) == [("missing label file", "few.txt", 2)]
    assert report.splits == {"train": 16, "val": 10, "test": 10}


def test_two_degenerate_boxes_of_bccd_are_found_and_nothing_else(shared_data):
    # The next test looks at the pixels, too.
    assert places(check_dataset(shared_data / "bccd", decode=False)) == BCCD_BOXES


def test_all_faults_together_are_found_in_bccd(shared_data, tmp_path):
    root = link_voc(shared_data / "bccd", tmp_path / "bccd")
    planted = [fault for plant in FAULTS.values() for fault in plant(root)]
    report = check_dataset(root)
    assert places(report) == by_place([*BCCD_BOXES, *planted]), report
