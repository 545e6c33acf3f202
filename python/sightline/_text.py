"""Makes text from data safe to show: without control characters, and not too long.

Names of classes and files, and other text from files, pass through here before they are shown in
lines, tables, warnings and errors. In JSON, YAML and results they stay exact.
"""

import re
import reprlib
from collections.abc import Sequence
from typing import Any

__all__ = [
    "counted",
    "from_cell",
    "listed",
    "printable",
    "quoted",
    "shortened",
    "to_cell",
    "yaml_problem",
]

# Characters that move the cursor, reverse or hide text, or are invalid: C0 and C1 controls,
# zero-width spaces, line separators, bidirectional controls, unpaired surrogates. The joiners of
# emoji and of Persian stay.
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_LINES_KEPT = re.compile(_STEERING.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_NAME_LENGTH = 60
_NAMES_LISTED = 20
# A cell that begins with one of these, and is not a number, is a formula for spreadsheets.
_FORMULA = tuple("=+-@\t\r")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = _NAME_LENGTH
_short.maxlist = _short.maxtuple = _short.maxset = 8
_short.maxdict = _short.maxlevel = 4


def printable(text: object, *, lines: bool = False) -> str:
    r"""`text` with control characters escaped; with `lines`, newlines are kept.

    Example:
        >>> printable("red\x1b[31m")
        'red\\x1b[31m'
    """
    return (_LINES_KEPT if lines else _STEERING).sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def counted(number: int, thing: str) -> str:
    """A number of things, the plural of which ends with s.

    Example:
        >>> counted(1, "image"), counted(1500, "image")
        ('1 image', '1,500 images')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def shortened(text: object, most: int = _NAME_LENGTH) -> str:
    """`printable`, with the middle left out where it is longer than `most` characters.

    Both ends are kept because long names often differ only there.

    Example:
        >>> shortened("red blood cell, stage 12 of 14", 20)
        'red blood...12 of 14'
    """
    shown = printable(text)
    if len(shown) <= most:
        return shown
    end = (most - 3) // 2
    return f"{shown[: most - 3 - end].rstrip()}...{shown[-end:].lstrip()}"


def quoted(value: object) -> str:
    """The `repr` of a value from a file, shortened where it, or something in it, is long.

    Example:
        >>> quoted([*range(1000)])
        '[0, 1, 2, 3, 4, 5, 6, 7, ...]'
    """
    return shortened(_short.repr(value), 3 * _NAME_LENGTH)


def listed(names: Sequence[Any], most: int = _NAMES_LISTED) -> str:
    """Shortened names separated by commas; of many names the first, and the number of the others.

    Example:
        >>> listed(["cat", "dog", "cow"], 2)
        'cat, dog and 1 more'
    """
    shown = ", ".join(shortened(name) for name in names[:most])
    rest = len(names) - most
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def yaml_problem(error: Exception) -> str:
    """Where and why PyYAML could not read a text, without quoting lines of it as `str` does."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return where + shortened(problem, 2 * _NAME_LENGTH)


def to_cell(name: str) -> str:
    """A name as a CSV cell, preceded by ' where a spreadsheet would take it for a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def from_cell(cell: str) -> str:
    """The name that `to_cell` wrote."""
    name = cell.removeprefix("'")
    return name if name.startswith(_FORMULA) else cell
