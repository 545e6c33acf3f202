"""Suggestions for mistyped names: near ones, and none where none is near."""

import ast
from pathlib import Path

import pytest

import sightline
from sightline._suggest import did_you_mean, nearest, unknown
from sightline.cli import VERBS
from sightline.settings.groups import GROUP_VALUES, setting_names

FULL = setting_names()
SHORT = [*(name.split(".", 1)[1] for name in FULL), *GROUP_VALUES]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("epoch", "epochs"),
        ("batch", "batch_size"),
        ("optimiser", "optimizer"),
        ("num_workers", "workers"),
        ("train.epoch", "train.epochs"),
        ("trian.epochs", "train.epochs"),
        ("data.epochs", "train.epochs"),
        ("Seed", "seed"),
    ],
)
def test_a_slip_is_understood(typed, meant):
    assert nearest(typed, FULL if "." in typed else SHORT) == meant


@pytest.mark.parametrize("typed", ["pretrained", "gpu", "x", "", "train.x", "freeze", "imgsz"])
def test_nothing_is_suggested_where_nothing_is_near(typed):
    assert nearest(typed, [*SHORT, *FULL]) is None
    assert did_you_mean(typed, [*SHORT, *FULL]) == ""


def test_nothing_is_suggested_where_nothing_is_known():
    assert nearest("epochs", []) is None


def test_dashes_do_not_count():
    assert nearest("devise", ["--peers", "--device"]) == "--device"
    assert nearest("compare", ["--device", "--peers", "--threads", "--only", "--json"]) is None


def test_sentences_are_joined_as_sentences_are():
    assert unknown("option", "devise", ["--device", "--only"]) == (
        "unknown option 'devise'; did you mean --device? There are --device, --only"
    )
    assert unknown("option", "compare", ["--device", "--only"]) == (
        "unknown option 'compare'; there are --device, --only"
    )
    assert unknown("model", "resnet81", ["resnet18"], quoted=True) == (
        "unknown model 'resnet81'; did you mean 'resnet18'? There are 'resnet18'"
    )


def test_every_verb_is_near_to_itself_less_a_letter_at_its_end():
    for verb in VERBS:
        assert nearest(verb[:-1], VERBS) == verb


def test_no_other_module_has_a_rule_of_its_own():
    package = Path(sightline.__file__).parent
    for path in package.rglob("*.py"):
        if path.name == "_suggest.py":
            continue
        imports = [node for node in ast.walk(ast.parse(path.read_text()))]
        modules = {
            alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names
        } | {node.module for node in imports if isinstance(node, ast.ImportFrom)}
        assert "difflib" not in modules, path
