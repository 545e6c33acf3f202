"""XML label files, in every encoding that they may declare."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.parsers import expat

from sightline._text import quoted
from sightline.formats.records import DataError
from sightline.formats.source import Notes
from sightline.formats.text import MOST_BYTES, read_bytes, sniffed_encoding

__all__ = ["element_lines", "parse_xml"]

_DECLARATION = re.compile(r"\s*<\?xml\b.*?\?>", re.DOTALL)
_DECLARED = re.compile(rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([^\"']{1,40})[\"']")
# Python calls these encodings, but they are notations, and slow to read where they are long.
_NOTATIONS = ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7")
# Text of these is written with characters of their successors too, as browsers allow.
_SUCCESSORS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}


def parse_xml(
    path: Path, notes: Notes | None = None, *, most: int = MOST_BYTES
) -> ElementTree.Element:
    """Return the root element of a file; the names of all elements are without a namespace.

    What is declared decides the encoding, after a byte order mark. A file that declares another
    encoding than UTF-8, but can only be read as that, is read so, with a note.

    Raises:
        DataError: it is not well-formed, in no known encoding, too large, or declares entities.
    """
    text = _xml_text(path, notes, most)
    if "<!ENTITY" in text:
        line = text.count("\n", 0, text.index("<!ENTITY")) + 1
        raise DataError(f"{path}:{line}: declares an xml entity; remove it, no label needs one")
    parser = ElementTree.XMLParser(encoding="utf-8")
    try:
        parser.feed(text.encode())
        root = parser.close()
    except ElementTree.ParseError as error:
        line, _ = error.position
        raise DataError(
            f"{path}:{line}: not well-formed xml ({error}); correct the file"
        ) from error
    if "xmlns" in text:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def element_lines(path: Path, tag: str, *, most: int = MOST_BYTES) -> list[int]:
    """Return the line of each child of the root that has a tag, to report what is wrong there."""
    lines: list[int] = []
    depth = 0
    parser = expat.ParserCreate("utf-8")

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and name.rpartition(":")[2] == tag:
            lines.append(parser.CurrentLineNumber)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(_xml_text(path, None, most).encode(), True)
    return lines


def _xml_text(path: Path, notes: Notes | None, most: int) -> str:
    """The text without its declaration, which may be misplaced or wrong; line numbers are kept."""
    data = read_bytes(path, most)
    text = _decoded(path, data, notes)
    declaration = _DECLARATION.match(text)
    if declaration is None:
        return text
    return "\n" * declaration[0].count("\n") + text[declaration.end() :]


def _decoded(path: Path, data: bytes, notes: Notes | None) -> str:
    found = _DECLARED.match(data[:400])
    declared = found[1].decode("ascii", "replace") if found else "utf-8"
    encoding = sniffed_encoding(data)
    if encoding is None:
        try:
            encoding = codecs.lookup(declared).name
        except (LookupError, ValueError):
            encoding = "undefined"
        if encoding.replace("_", "-") in _NOTATIONS:
            raise _unknown(path, declared)
        if encoding.startswith(("utf-16", "utf-32")):
            encoding = "utf-8"  # its declaration was found as ASCII text
        encoding = _SUCCESSORS.get(encoding, encoding)
    for candidate in dict.fromkeys((encoding, "utf-8")):
        try:
            text = data.decode(candidate)
        except UnicodeError:
            continue
        except LookupError as error:  # a codec for something other than text
            raise _unknown(path, declared) from error
        if candidate != encoding and notes is not None:
            rule = f"declares the encoding {declared}, but is not valid in it"
            notes.add(path, 1, "xml", rule, "read as UTF-8")
        return text
    line = 1 + data.count(b"\n", 0, _first_bad_byte(data))
    what = "UTF-8 text" if encoding == "utf-8" else f"{declared} or UTF-8 text"
    raise DataError(f"{path}:{line}: not {what}; save it as UTF-8, or declare its encoding")


def _first_bad_byte(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _unknown(path: Path, declared: str) -> DataError:
    return DataError(
        f"{path}:1: unknown encoding {quoted(declared)}; save it as UTF-8, and declare that"
    )
