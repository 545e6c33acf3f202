"""Text from data is shown without what steers a terminal, and at a length that people read."""

import doctest

import pytest

from sightline import _text
from sightline._text import from_cell, listed, printable, quoted, shortened, to_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("price $1", "price $1"),
        ("日本語　の a\u00a0b", "日本語　の a\u00a0b"),
        ("猫 ü é 👩‍🔬", "猫 ü é 👩‍🔬"),
        ("می‌خواهم", "می‌خواهم"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\r\tc\x00\x7f", r"a\nb\r\tc\x00\x7f"),
        ("\u202egnp.exe\u2069", r"\u202egnp.exe\u2069"),
        ("a\u2028b\u200bc\ufeff", r"a\u2028b\u200bc\ufeff"),
        ("\udcff.png", r"\udcff.png"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_are_kept_where_they_are_asked_for():
    assert printable("a\nb\r\x1b", lines=True) == "a\nb\\r\\x1b"


@pytest.mark.parametrize("length", [5, 8, 24, 60])
def test_a_long_name_keeps_its_beginning_and_its_end(length):
    assert shortened("a" * length, length) == "a" * length
    short = shortened("a" * 50 + "b" * 50, length)
    assert len(short) == length and short[0] == "a" and short[-1] == "b"


def test_a_value_is_quoted_in_a_bounded_length():
    assert quoted("a\x1b") == r"'a\x1b'"
    assert quoted(7) == "7"
    nested = {"a": [["x" * 10_000] * 1000] * 1000, **{f"k{i}": i for i in range(1000)}}
    assert len(quoted(nested)) <= 180
    assert len(quoted("x" * 10_000)) <= 62


def test_of_many_names_the_first_are_listed():
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"class {i}" for i in range(1000)]).endswith("class 19 and 980 more")
    assert listed(["a\n", 1]) == r"a\n, 1"
    assert listed([]) == ""


@pytest.mark.parametrize("name", ["=1+1", "+1", "-cmd", "@x", "\tx", "\rx"])
def test_a_name_in_a_table_is_no_formula(name):
    assert to_cell(name) == f"'{name}" and from_cell(to_cell(name)) == name


def test_plain_names_are_cells_as_they_are():
    names = ["val/AP", "a=b", "", "'quoted'"]
    assert [to_cell(name) for name in names] == [from_cell(name) for name in names] == names


def test_examples():
    assert doctest.testmod(_text).failed == 0
