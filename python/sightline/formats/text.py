"""Text as common tools write it: every encoding, line ending, and spelling of a number.

All label files are read through here, so that all formats understand the same.
"""

from __future__ import annotations

import codecs
import json
import math
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline._text import quoted
from sightline.formats.records import DataError

__all__ = [
    "MOST_BYTES",
    "MOST_BYTES_OF_ALL",
    "ends_of",
    "has_json_keys",
    "number",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_text",
    "sniffed_encoding",
    "split_lines",
    "stated_size",
    "truth",
    "whole_number",
]

# Of the labels of one picture: 400,000 boxes.
MOST_BYTES = 16 << 20
# Of a file with the labels of all images that is not JSON.
MOST_BYTES_OF_ALL = 256 << 20

_LONGEST_SIDE = 2**31 - 1  # of a PNG; images of other formats are smaller
_PROBE_BYTES = 1 << 20  # the keys of a large JSON file are in its first or last MiB
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TRUTHS = {
    **dict.fromkeys(("", "0", "false", "no", "f", "n", "null", "none"), False),
    **dict.fromkeys(("1", "true", "yes", "t", "y"), True),
}


def read_bytes(path: Path, most: int | None = MOST_BYTES) -> bytes:
    """Return the content of a file; DataError where it cannot be read or exceeds `most` bytes."""
    try:
        size = _size_of(path)
        if most is not None and size > most:
            raise DataError(
                f"{path}: {size:,} bytes are too many for a label file (at most {most:,}); "
                "correct or remove it"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_text(path: Path, most: int | None = MOST_BYTES) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, without its byte order mark.

    Raises:
        DataError: it is in no such encoding (the message names the line), too large or unreadable.
    """
    data = read_bytes(path, most)
    encoding = sniffed_encoding(data) or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise DataError(
            f"{path}:{line}: not {name} text ({error.reason} at byte {error.start:,}); "
            "save it as UTF-8"
        ) from error


def sniffed_encoding(data: bytes) -> str | None:
    """Return the encoding of a byte order mark, or of UTF-16 without one; None without either."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    head = data[:64]
    zeros = head[::2].count(0), head[1::2].count(0)  # one byte of each ASCII character in UTF-16
    if max(zeros) > len(head) // 4 and min(zeros) == 0:
        return "utf-16-le" if zeros[1] else "utf-16-be"
    return None


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text, which end with \n, \r\n or \r and with no other character."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_lines(path: Path, most: int | None = MOST_BYTES) -> list[tuple[int, str]]:
    """Return (line number, line) of each line that is not blank, without blanks at its ends."""
    lines = (line.strip() for line in split_lines(read_text(path, most)))
    return [(number, line) for number, line in enumerate(lines, start=1) if line]


def read_json(path: Path) -> Any:
    """Return the value in a JSON file of any size; DataError names the file and the line."""
    return parse_json(read_text(path, most=None), path)


def parse_json(text: str, path: Path, line: int = 1) -> Any:
    """Return the value of a JSON text that begins in a line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{line + error.lineno - 1}: not json ({error.msg}); correct the file"
        ) from error
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"{path}: not json ({quoted(str(error))}); correct the file") from error
    except RecursionError as error:
        raise DataError(f"{path}: not json that can be read: it is nested too deeply") from error


def has_json_keys(path: Path, keys: Sequence[str], fewest: int = 2, opening: str = "{") -> bool:
    """Whether a file looks like JSON with some of the keys, without parsing all of it.

    It begins with `opening`, an object or a list. A file that cannot be read does not.
    """
    text = ends_of(path)
    return text.lstrip().startswith(opening) and sum(f'"{key}"' in text for key in keys) >= fewest


def ends_of(path: Path, most: int = _PROBE_BYTES) -> str:
    """Return the first and last `most` bytes of a file as text; "" where it cannot be read."""
    try:
        size = _size_of(path)
        with path.open("rb") as file:
            head = file.read(most)
            # From a multiple of 4, where characters of UTF-16 and UTF-32 begin.
            file.seek(max(len(head), size - most + 3) // 4 * 4)
            return (head + file.read(most)).decode(sniffed_encoding(head) or "utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _size_of(path: Path) -> int:
    """The bytes of a regular file; OSError for a pipe or device, of which reading may never end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not a regular file")
    return found.st_size


def number(value: object) -> float | None:
    """Return a number, or a text that spells one, as float; None for anything else.

    NaN and infinities are numbers here; booleans and null are not.

    >>> number(" 1.5e2 "), number(3), number("1,5"), number(None)
    (150.0, 3.0, None, None)
    """
    if isinstance(value, float):
        return value
    if isinstance(value, str):
        if "_" in value:  # Python's own spelling, which no tool writes
            return None
    elif not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def whole_number(value: object) -> int | None:
    """Return a whole number, or a float or text that is one, as int; None for anything else.

    >>> whole_number("1.000000e+00"), whole_number(7), whole_number(2.0), whole_number("2.5")
    (1, 7, 2, None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and "_" not in value:
        try:
            return int(value)
        except ValueError:
            pass
    found = number(value)
    if found is None or not math.isfinite(found) or not found.is_integer():
        return None
    return int(found)


def stated_size(width: object, height: object) -> tuple[int, int] | None:
    """Return the size of an image that a file states; None where it states none.

    Tools write 0, -1 and null for a side that they do not know.

    >>> stated_size("64", 48.0), stated_size(0, None), stated_size(-1, 48)
    ((64, 48), None, None)
    """
    sides = whole_number(width), whole_number(height)
    known = [side for side in sides if side is not None and 0 < side <= _LONGEST_SIDE]
    return (known[0], known[1]) if len(known) == 2 else None


def truth(value: object) -> bool | None:
    """Return a truth value that is a bool, a number, null or a text; None for anything else.

    >>> truth("0"), truth("True"), truth(1), truth(None), truth("maybe")
    (False, True, True, False, None)
    """
    if value is None:
        return False
    if isinstance(value, str) and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    found = float(value) if isinstance(value, bool) else number(value)
    return None if found is None or math.isnan(found) else bool(found)
