"""Characters that the console cannot show, or a reader that ends early, do not end a command."""

import io
import subprocess
import sys

import pytest

from sightline.cli import main

from ..tiny import write_colours
from ..trained import quick_words

NAME = "猫\x1b[31m\u202e"


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory):
    """Pictures of two classes, one named with control characters and letters beyond ASCII."""
    root = write_colours(tmp_path_factory.mktemp("odd") / "data", count=5)
    (root / "red").rename(root / NAME)
    return root


def words_of(data, out, *more):
    quick = [w for w in quick_words("classify") if not w.startswith("epochs")]
    return ["train", f"data={data}", f"out={out}", "name=run", "epochs=1", *quick, *more]


def test_names_that_the_console_lacks_are_escaped_from_training_to_prediction(
    odd_names, tmp_path, monkeypatch
):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    run = tmp_path / "classify" / "run"
    assert main(words_of(odd_names, tmp_path)) == 0
    assert main(["eval", str(run)]) == 0
    assert main(["predict", str(run), str(odd_names / NAME)]) == 0
    said = stream.buffer.getvalue()
    assert said.count(rb"\u732b\x1b[31m\u202e") > 5
    assert b"\x1b" not in said
    page = (run / "report.html").read_text()
    assert "猫" in page and "\x1b" not in page and "\u202e" not in page


def run_and_read(words, lines=1):
    """Status and errors of `sightline` whose reader leaves after some lines, as `head` does."""
    command = [sys.executable, "-m", "sightline", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        return process.wait(timeout=120), said


def test_training_goes_on_where_head_has_its_line(odd_names, tmp_path):
    assert run_and_read(words_of(odd_names, tmp_path)) == (0, "")
    run = tmp_path / "classify" / "run"
    assert (run / "report.html").is_file() and (run / "weights" / "last.safetensors").is_file()
    assert (run / "results.csv").read_text().count("\n") == 2


def test_the_status_of_what_failed_is_no_success_though_nobody_reads(tmp_path):
    missing = tmp_path / "missing.json"
    status, said = run_and_read(["eval", "--gt", missing, "--dt", missing], lines=0)
    assert status == 2 and said.count("\n") == 1


def test_a_verb_that_prints_alone_ends_quietly():
    assert run_and_read(["info"], lines=0) == (0, "")


def test_an_error_shows_no_control_of_what_was_typed(capsys):
    assert main(["\x1b[2J"]) == 2
    assert main(["eval", "--gt", "a\x1b[2J", "--dt", "b"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count(r"\x1b[2J") >= 2
