import subprocess
import sys

import pytest

from sightline.cli import VERBS, bench, data, main, one_line
from sightline.cli.arguments import UsageError, parse


def test_key_value_and_dashes_mean_the_same():
    one = parse(["data=a", "epochs=3"])
    two = parse(["--data", "a", "--epochs=3"])
    assert one == two and one.options == {"data": "a", "epochs": "3"}
    assert parse(["--batch-size", "4"]).options == {"batch_size": "4"}


@pytest.mark.parametrize("text", ["1.5", "-1", "nan", "inf"])
def test_a_count_is_a_whole_number(text):
    with pytest.raises(UsageError, match="seed must be a whole number of at least 0"):
        parse([f"seed={text}"]).take_count("seed", 0, at_least=0)
    assert parse(["seed=3"]).take_count("seed", 0) == 3


def test_flags_and_positional_words_are_told_apart(tmp_path, monkeypatch):
    parsed = parse(["run", "--json", "a.png", "out=x"], flags=("json",))
    assert (parsed.positional, parsed.flags) == (["run", "a.png"], {"json"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name=1.png").touch()
    assert parse(["name=1.png"]).positional == ["name=1.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=1", "--a", "2"], "a is given twice"),
        (["--out"], "--out needs a value"),
        (["--out", "--json"], "--out needs a value"),
        (["--9"], "'--9' is not an option"),
        (["--quiet=1"], "--quiet takes no value, got '1'"),
    ],
)
def test_words_that_mean_nothing_are_named(words, message):
    with pytest.raises(UsageError, match=message):
        parse(words, flags=("quiet",))


@pytest.mark.parametrize(
    "command", ["bench", "bench coco", "bench batch_norm", "eval", "predict a b", "info"]
)
@pytest.mark.parametrize("word", ["--lst", "--jsn"])
def test_an_unknown_option_without_a_value_is_called_unknown(command, word, capsys):
    assert main([*command.split(), word]) == 2
    said = capsys.readouterr().err
    assert f"unknown option '{word}'" in said and "needs a value" not in said


def test_no_command_prints_the_commands(capsys):
    assert main([]) == 2 and main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


@pytest.mark.parametrize(
    "command",
    [
        *VERBS,
        *(f"bench {name}" for name in bench.SUBCOMMANDS),
        *(f"data {name}" for name in data.SUBCOMMANDS),
    ],
)
def test_every_command_has_help(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"sightline {command}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "folder"], "expected key=value, got 'folder'; did you mean data=folder?"),
        (["train"], "no data set: give data=<folder>"),
        (["train", "epoch=3"], "unknown setting 'epoch'; did you mean epochs?"),
        (["train", "data=/no/such/folder"], "/no/such/folder: no such file or folder"),
        (["train", "config=/no/such.yaml"], "no settings file /no/such.yaml"),
        (["train", "resume=/no/run"], "nothing to resume in /no/run"),
        (["train", "resume=/no/run", "epochs=3"], "resume continues with the run's own settings"),
        (["eval"], "give one run folder or weights file, or --gt and --dt"),
        (["eval", "--gt", "a.json"], "give both --gt (ground truth) and --dt (detections)"),
        (["eval", "/no/run"], "cannot load a model from /no/run"),
        (["eval", "--plot=x"], "'--plot'; did you mean --plots? There are --gt, --dt, --data"),
        (["eval", "a", "iou_typ=b"], "did you mean --iou-type? There are --gt, --dt, --data"),
        (["predict", "run"], "give a run folder (or weights file) and at least one image"),
        (["predict", "run", "no.png"], "no.png: no such image or folder"),
        (["predict", "run", "a.png", "score_threshold=2"], "score_threshold must be in [0, 1]"),
        (["predict", "run", "a.png", "treshold=2"], "unknown option 'treshold'"),
        (["demo", "digits"], "expected key=value, got 'digits'"),
        (["data"], "give a command"),
        (["data", "chekc"], "unknown command 'chekc'"),
        (["info", "more"], "info takes no arguments but --json, got 'more'"),
    ],
)
def test_an_error_is_one_line_and_status_2(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGHTLINE_DEBUG", raising=False)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert "Traceback" not in captured.err and not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("SIGHTLINE_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown command"):
        main(["trian"])


def test_an_error_nobody_foresaw_says_how_to_see_more():
    assert one_line(KeyError("x")) == "KeyError: 'x' (SIGHTLINE_DEBUG=1 shows where)"
    assert one_line(ValueError("a\n  b")) == "a b"


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "sightline", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sightline ")


def test_a_missing_file_is_named_without_its_errno(tmp_path, capsys):
    missing = tmp_path / "nope.json"
    assert main(["eval", "--gt", str(missing), "--dt", str(missing)]) == 2
    assert capsys.readouterr().err == f"sightline eval: {missing}: No such file or directory\n"
