"""Issues as messages: many of one kind become one line."""

import io
from pathlib import Path

import pytest

from sightline.data import DataError, Issue, read_dataset
from sightline.data.issues import gathered, said_of, why_nothing_is_left
from sightline.settings.groups import SettingsError
from sightline.settings.read import override_layer
from sightline.train.log import Log
from sightline.train.prepare import prepare

from ..pictures import save_picture


def write_yolo(root: Path, text: str, images: int = 4) -> Path:
    """A set of images which all have the same label file."""
    for number in range(images):
        save_picture(root / "images" / f"{number}.png")
        label = root / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(text)
    (root / "data.yaml").write_text("names: [cat, dog]\ntrain: images\nval: images\n")
    return root


def bad(rule, number=1, name="a.txt"):
    return Issue(Path(name), number, "object", rule)


def test_many_issues_of_one_kind_are_one_line_and_few_are_said_each():
    few = [bad("must be 0, got 'x'", n) for n in range(3)]
    assert [said.text for said in gathered(few)] == [str(issue) for issue in few]
    many = [*few, bad("must be 0, got 'y'", 9, "b.txt")]
    (said,) = gathered(many, 12)
    assert said == ("4 of 12 lines of 2 files: must be 0 (the first: a.txt:0: object, got 'x')", 4)


def test_kinds_are_told_by_their_rules_but_for_numbers_outside_names():
    outside = "the box (1, {}, -3.5, 4) lies outside its image of 64 x {}"
    issues = [bad(outside.format(n, n), n, "a.xml") for n in range(4)]
    issues += [bad(f"unknown class 'cow{n}'; the classes are cat", n) for n in range(4)]
    first, *others = gathered(issues)
    assert first.issues == 4
    assert "4 objects of 1 file: the box (..., ..., ..., ...) lies outside" in first.text
    assert "a.xml:0: object: the box (1, 0, -3.5, 4)" in first.text
    assert [said.issues for said in others] == [1] * 4


def test_notes_of_readers_are_not_gathered():
    notes = [Issue(Path(f"{n}.json"), None, "a file", "it is empty", "not read") for n in range(5)]
    assert [said.issues for said in gathered(notes)] == [1] * 5


def test_set_whose_lines_are_all_wrong_says_so_in_one_line(tmp_path):
    write_yolo(tmp_path, "cat .5 .5 .2 .2\ndog .5 .5 .2 .2\n")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("8 bad labels: 8 of 8 lines of 4 files: the class number is not an ")
    assert line.count("class number") == 1
    assert "0.txt:1: object, got 'cat .5 .5 .2 .2')" in line
    found = read_dataset(tmp_path, on_bad_label="drop-box")
    assert len(found.issues) == 8  # each of them is kept
    (said,) = said_of(found)
    assert said.text.startswith("8 of 8 lines of 4 files: the class number is not an integer")
    assert said.text.endswith("(box dropped)")
    assert why_nothing_is_left(found) == f": {said.text}"


def test_share_of_bad_lines_counts_the_good_ones_too(tmp_path):
    write_yolo(tmp_path, "0 .5 .5 .2 .2\n5 .5 .5 .2 .2\n")
    (said,) = said_of(read_dataset(tmp_path, on_bad_label="drop-box"))
    assert said.text.startswith("4 of 8 lines of 4 files: unknown class 5; the classes are 0 to 1")


def test_dropped_images_leave_the_number_of_labels_unknown(tmp_path):
    write_yolo(tmp_path, "0 .5 .5 .2 .2\n5 .5 .5 .2 .2\n")
    save_picture(tmp_path / "images" / "good.png")
    (said,) = said_of(read_dataset(tmp_path, on_bad_label="drop-image"))
    assert said.text.startswith("4 lines of 4 files: unknown class 5")
    (tmp_path / "images" / "good.png").unlink()
    with pytest.raises(DataError, match=r"holds no image \(4 lines of 4 files: unknown class 5"):
        read_dataset(tmp_path, on_bad_label="drop-image")


def test_training_on_nothing_but_bad_lines_says_in_one_line_why(tmp_path):
    root = write_yolo(tmp_path / "set", "cat .5 .5 .2 .2\n")
    said = io.StringIO()
    with pytest.raises(SettingsError) as caught:
        prepare([override_layer({"data": str(root)})], log=Log(said))
    why = "no box to learn from: 4 of 4 lines of 4 files: the class number is not an integer"
    assert why in str(caught.value)
    (warned,) = (line for line in said.getvalue().splitlines() if "class number" in line)
    assert "8 of 8 lines of 4 files: the class number is not an integer" in warned


def test_splits_are_told_of_together_and_what_they_share_once(tmp_path):
    write_yolo(tmp_path, "5 .5 .5 .2 .2\n")
    (tmp_path / "data.yaml").write_text("path: /gone\nnames: [cat]\ntrain: images\nval: images\n")
    splits = [read_dataset(tmp_path, split=s, on_bad_label="drop-box") for s in ("train", "val")]
    note, bad = said_of(*splits)
    assert "`path`: there is no such folder" in note.text
    assert bad.text.startswith("8 of 8 lines of 4 files: unknown class 5")
