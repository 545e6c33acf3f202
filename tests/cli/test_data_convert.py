"""`sightline data convert` writes a data set in another format and says what is lost."""

import pytest

from sightline.cli import data, main
from sightline.data import read_dataset

from ..tiny import write_squares


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("data") / "set", train=3, val=2, test=1)


def convert(*words):
    return main(["data", "convert", *map(str, words)])


def test_data_lists_its_commands_with_one_line_each(capsys):
    assert main(["data", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, meaning in data.SUBCOMMANDS.items():
        assert f"  {name:<8} {meaning}" in lines and len(f"  {name:<8} {meaning}") <= 100


def test_convert_keeps_the_splits_and_says_what_was_written(squares, tmp_path, capsys):
    assert convert(squares, tmp_path / "voc", "format=voc", "images=link") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train     3 images, 4 objects: red")
    assert lines[-1] == f"written   {tmp_path / 'voc'} (voc)"
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        again = read_dataset(tmp_path / "voc", split=split)
        first = read_dataset(squares, split=split)
        assert len(again) == count and again.class_names == first.class_names
        for mine, theirs in zip(first.records, again.records, strict=True):
            assert mine.boxes.tolist() == theirs.boxes.tolist()
            assert mine.image.samefile(theirs.image)


def test_convert_says_what_is_lost(squares, tmp_path, capsys):
    path = tmp_path / "kitti"
    voc = tmp_path / "voc"
    assert convert(squares, voc, "format=voc") == 0
    for label in (voc / "Annotations").glob("train*.xml"):
        text = label.read_text().replace("<difficult>0", "<difficult>1")
        label.write_text(text.replace("<name>red<", "<name>dark red<"))
    names = voc / "classes.txt"
    names.write_text(names.read_text() + "dark red\n")
    capsys.readouterr()
    assert convert(voc, path, "format=kitti") == 0
    out = capsys.readouterr().out
    assert "note      the flag `difficult` of 4 objects: KITTI has none" in out
    assert "('dark red' is written as 'dark_red')" in out


@pytest.mark.parametrize(
    "words", [["splits=train,val"], ["splits=train,val,test", "test_share=.2"]]
)
def test_convert_writes_random_splits_on_request(squares, tmp_path, words):
    flat = tmp_path / "flat"
    assert convert(squares, tmp_path / "voc", "format=voc") == 0
    for path in (tmp_path / "voc" / "ImageSets" / "Main").iterdir():
        path.unlink()
    assert convert(tmp_path / "voc", flat, "format=coco") == 0
    assert [path.name for path in (flat / "annotations").iterdir()] == ["instances_default.json"]
    assert convert(flat, tmp_path / "split", "format=yolo", "seed=1", *words) == 0
    expected = {*words[0].removeprefix("splits=").split(",")}
    assert {path.name for path in (tmp_path / "split" / "images").iterdir()} == expected
    drawn = read_dataset(flat, split="val", seed=1, test_share=0.2 if len(words) > 1 else None)
    written = {path.name for path in (tmp_path / "split" / "images" / "val").iterdir()}
    assert written == {record.image.name for record in drawn.records}


def test_convert_takes_embedded_sets(tmp_path, capsys):
    pytest.importorskip("sklearn")
    assert convert("digit-scenes", tmp_path / "scenes", "format=coco", "scene_count=2") == 0
    found = read_dataset(tmp_path / "scenes", split="test")
    assert [record.image.name for record in found.records] == ["0.png", "1.png"]
    assert [record.image_id for record in found.records] == [0, 1]


def test_a_bad_label_stops_unless_it_is_to_be_left_out(squares, tmp_path, capsys):
    bad = tmp_path / "bad"
    assert convert(squares, bad, "format=kitti") == 0
    label = bad / "training" / "label_2" / "val0.txt"
    label.write_text(label.read_text() + "red 0 0 0 9 9 9 9 1 1 1 1 1 1 1\n")
    assert convert(bad, tmp_path / "out", "format=yolo") == 2
    said = capsys.readouterr().err
    assert f"{label}:2" in said and "data.on_bad_label=drop-box" in said
    assert not (tmp_path / "out").exists()
    words = ["format=yolo", "data.on_bad_label=drop-box"]
    assert convert(bad, tmp_path / "out", *words) == 0
    assert "(box dropped)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a data set and a new folder"),
        (["set", "out"], "format must be one of voc, coco, yolo, kitti"),
        (["set", "out", "format=cvat"], "format must be one of voc, coco, yolo, kitti"),
        (["set", "out", "format=voc"], "set: no such file or folder"),
        (
            ["digits", "out", "format=voc", "images=move"],
            "`images` must be one of copy",
        ),
        (["digits", "out", "format=folder", "splits=test"], "digits has no split 'test'"),
    ],
)
def test_what_cannot_be_done_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
