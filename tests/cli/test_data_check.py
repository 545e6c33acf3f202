"""`sightline data check`: its lines, its JSON, its exit status and its clean copy."""

import json

import pytest

from sightline.cli import main

from ..tiny import write_squares


@pytest.fixture
def squares(tmp_path):
    return write_squares(tmp_path / "squares", train=3, val=1, test=1)


def test_exit_status_tells_whether_there_are_errors(squares, capsys):
    assert main(["data", "check", str(squares)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "found    nothing"
    label = squares / "labels" / "train" / "train0.txt"
    label.write_text(label.read_text() + "9 .5 .5 .2 .2\n")
    assert main(["data", "check", str(squares), "--labels"]) == 1
    out = capsys.readouterr().out
    assert "error    class number out of range: 1" in out and f"{label}:2: object" in out
    assert out.endswith("found    1 error\n")


def test_json_has_every_finding(squares, capsys):
    (squares / "images" / "val" / "val0.png").write_text("")
    assert main(["data", "check", str(squares), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    (finding,) = content["findings"]
    assert finding["kind"] == "unreadable image" and finding["severity"] == "error"
    assert content["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert content["splits"] == {"train": 3, "val": 0, "test": 1}


def test_clean_copy_is_written_and_reported(squares, tmp_path, capsys):
    label = squares / "labels" / "train" / "train0.txt"
    line = label.read_text()
    label.write_text(line * 12)
    assert main(["data", "check", str(squares), f"fix={tmp_path / 'clean'}"]) == 0
    out = capsys.readouterr().out
    assert "... and 1 more (--all lists them)" in out and "duplicate box (11): left out" in out
    assert out.endswith(f"written  {tmp_path / 'clean'}\n")
    assert main(["data", "check", str(tmp_path / "clean"), "--all"]) == 0
    assert "found    nothing" in capsys.readouterr().out


def test_usage_errors_are_one_line(squares, capsys):
    for words in ([], [str(squares), "size=240"], [str(squares), "colour=red"]):
        assert main(["data", "check", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
