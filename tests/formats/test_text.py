"""Text, numbers and truth values as people's tools write them."""

import codecs
import doctest

import pytest

from sightline.formats import lists, text
from sightline.formats.records import DataError
from sightline.formats.text import number, read_json, read_lines, read_text, truth, whole_number
from sightline.formats.xml_file import element_lines, parse_xml
from sightline.formats.yaml_file import load_yaml


@pytest.mark.parametrize("module", [text, lists])
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_a_text_is_read_in_unicode_encodings_without_its_mark(tmp_path, mark, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(mark + "cat\r\nZüge 车\r\n".encode(encoding))
    assert read_text(path) == "cat\r\nZüge 车\r\n"


def test_a_text_in_another_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("cat\nZüge\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8 text .*; save it as UTF-8"):
        read_text(path)


def test_lines_end_as_on_any_system_and_nowhere_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("a\r\n\r\n\tb c \rd\u2028e\x0cf\n".encode())
    assert read_lines(path) == [(1, "a"), (3, "b c"), (4, "d\u2028e\x0cf")]


def test_a_label_file_of_a_hundred_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(DataError, match=r"a\.txt: 100,000,000 bytes are too many"):
        read_text(path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.000000e+00", 1),
        (" 7 ", 7),
        ("+3", 3),
        (2.0, 2),
        ("-1", -1),
        ("2.5", None),
        ("1_000", None),
        (True, None),
        (None, None),
        ("nan", None),
        ("inf", None),
        ([1], None),
        ("9" * 5000, None),
    ],
)
def test_whole_numbers(value, expected):
    assert whole_number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1e-3", 0.001), (5, 5.0), ("", None), (False, None), ("0x10", None), (10**400, None)],
)
def test_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", False),
        ("False", False),
        (0.0, False),
        (None, False),
        ("", False),
        ("1", True),
        ("yes", True),
        (True, True),
        ("2", True),
        ("perhaps", None),
        ([], None),
    ],
)
def test_truth_values(value, expected):
    assert truth(value) is expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{\n,}", "json:2: not json"), ("[" * 100_000, "nested too deeply"), ("9" * 5000, "not json")],
)
def test_json_that_cannot_be_read_names_its_file(tmp_path, content, problem):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"a\.{problem}|a\.json: .*{problem}"):
        read_json(path)


XML = '<?xml version="1.0" encoding="{}"?>\n<annotation>\n<object>{}</object></annotation>'


@pytest.mark.parametrize(
    ("declared", "written", "said"),
    [
        ("gb2312", "gb2312", "车"),
        ("GB2312", "gb18030", "镕"),  # a character that only the successors have
        ("Big5", "big5", "車"),
        ("shift_jis", "shift_jis", "車"),
        ("EUC-KR", "euc_kr", "차"),
        ("windows-1251", "cp1251", "кот"),
        ("ISO-8859-1", "latin-1", "é"),
        ("utf-16", "utf-16", "车"),
        ("utf-16", "utf-8", "车"),
        ("utf-8", "utf-8-sig", "车"),
    ],
)
def test_xml_is_read_in_the_encoding_that_it_declares(tmp_path, declared, written, said):
    path = tmp_path / "a.xml"
    path.write_bytes(XML.format(declared, said).encode(written))
    assert parse_xml(path).findtext("object") == said
    assert element_lines(path, "object") == [3]


def test_xml_without_declaration_after_blanks_and_with_a_namespace_is_read(tmp_path):
    path = tmp_path / "a.xml"
    element = '<annotation xmlns="http://a"><object>\n</object></annotation>'
    path.write_text(f'\n <?xml version="1.0"?>\n{element}')
    assert parse_xml(path).find("object") is not None
    assert element_lines(path, "object") == [3]
    path.write_text("<annotation/>")
    assert parse_xml(path).tag == "annotation"


@pytest.mark.parametrize("declared", ["klingon", "hex", "punycode", "unicode_escape"])
def test_xml_in_an_unknown_encoding_is_refused(tmp_path, declared):
    path = tmp_path / "a.xml"
    path.write_text(XML.format(declared, "cat"))
    with pytest.raises(DataError, match=rf"a\.xml.*{declared}.*save it as UTF-8"):
        parse_xml(path)


def test_xml_that_declares_entities_is_refused(tmp_path):
    path = tmp_path / "a.xml"
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">\n' for i in range(1, 9))
    path.write_text(f'<!DOCTYPE a [\n<!ENTITY e0 "x">{bomb}]><annotation>&e8;</annotation>')
    with pytest.raises(DataError, match=r"a\.xml:2: declares an xml entity"):
        parse_xml(path)


def yaml_bomb(levels=9):
    return "".join(
        f"- &a{i} [" + ", ".join([f"*a{i - 1}" if i else "x"] * 10) + "]\n" for i in range(levels)
    )


@pytest.mark.parametrize(
    "content",
    [
        yaml_bomb(),
        "a: &a [*a]",
        "[" * 5000,
        "a" * 5_000_000,
        "a: [",
        "when: 2001-02-30",
        "count: " + "9" * 5000,
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_yaml_out_of_bounds_is_an_error_of_yaml(content):
    import yaml

    with pytest.raises(yaml.YAMLError):
        load_yaml(content)


def test_yaml_as_text_leaves_values_as_written():
    assert load_yaml("names: [no, 1.0, 007]\nval:", as_text=True) == {
        "names": ["no", "1.0", "007"],
        "val": "",
    }
    assert load_yaml("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    assert load_yaml("") is None
