"""Names from data sets, as people are shown them."""

import pytest

from sightline.data.names import printable, shorten


@pytest.mark.parametrize("name", ["cat", "price $1", "日本語　の", "naïve café", "🐈", "a\u00a0b"])
def test_what_can_be_shown_stays(name):
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\tb\r", r"a\tb\r"),
        ("\u202egpj", r"\u202egpj"),
        ("\u2028", r"\u2028"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_what_would_act_or_fail_is_escaped(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize("length", [5, 8, 24])
def test_long_names_keep_both_ends(length):
    assert shorten("a" * length, length) == "a" * length
    short = shorten("a" * 50 + "b" * 50, length)
    assert len(short) == length and short[0] == "a" and short[-1] == "b"
