"""Every option that a help text names is accepted by its verb."""

import importlib
import re

import pytest

from sightline.bench.ops.suites import SUITES
from sightline.cli import VERBS, bench, data, main

from .no_work import Taken, stop_before_work

COMMANDS = [
    *(verb for verb in VERBS if verb != "data"),  # which is nothing without one of its commands
    *(f"bench {name}" for name in bench.SUBCOMMANDS),
    *(f"data {name}" for name in data.SUBCOMMANDS),
]
# What a verb needs before it looks at the word that is tried; some verbs have two forms.
BASES = {
    "eval": [["run"], ["--gt", "a.json", "--dt", "b.json"], ["--gt", "a.json"], ["--dt", "b.json"]],
    "predict": [["run", "picture.png"]],
    "train": [["data=folder"], []],
}
# Values of words for which 1 is none; the help itself has others, such as size=240x320.
VALUES = {
    "device": "cpu",
    "optimizer": "sgd",
    "schedule": "cosine",
    "task": "detect",
}
GROUPED = re.compile(r"\b([a-z][a-z_.]*)=([\w./-]*)")
DASHED = re.compile(r"(?<!\S)\[?(--[a-z][a-z-]*)")


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    stop_before_work(monkeypatch)


def help_of(command):
    return importlib.import_module(f"sightline.cli.{command.replace(' ', '_')}").__doc__


def words_of(command):
    """Each option of a help text in the forms in which it may be given."""
    text = help_of(command)
    words = {}
    for key, value in GROUPED.findall(text):
        if key not in ("key",):  # of "key=value"
            words[key] = [[f"{key}={value or VALUES.get(key, '1')}"]]
    for flag in DASHED.findall(text):
        if flag != "--help":
            value = VALUES.get(flag.removeprefix("--"), "1")
            words[flag] = [[flag], [flag, value]]
    return words


CASES = [(command, word) for command in COMMANDS for word in words_of(command)]


def test_every_help_text_has_words():
    assert {command for command, _ in CASES} == set(COMMANDS)
    assert ("train", "name") in CASES and ("eval", "--iou-type") in CASES


@pytest.mark.parametrize(("command", "word"), CASES)
def test_a_word_of_the_help_is_taken(command, word):
    refusals = []
    for base in BASES.get(command, [[]]):
        for form in words_of(command)[word]:
            try:
                main([*command.split(), *base, *form])
            except Taken:
                return
            except ValueError as error:
                refusals.append(f"{' '.join([*base, *form])}: {error}")
    pytest.fail("\n".join(refusals))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_word_that_is_taken_stands_in_the_help(command):
    module = importlib.import_module(f"sightline.cli.{command.replace(' ', '_')}")
    there = {word.removeprefix("--").replace("-", "_") for word in words_of(command)}
    options = {
        name.removeprefix("--").replace("-", "_") for name in getattr(module, "_OPTIONS", ())
    }
    assert not options - there


@pytest.mark.parametrize("command", COMMANDS)
def test_a_word_that_no_help_names_is_refused_by_its_name(command):
    for base in BASES.get(command, [[]]):
        with pytest.raises(ValueError, match=r"zzzz|give both"):
            main([*command.split(), *base, "zzzz=1"])


def test_the_suites_of_the_help_are_those_there_are():
    assert set(re.findall(r"\[([a-z]+)\]", help_of("bench"))) == set(SUITES)
