"""The reader of COCO files against Python's json, and the errors it gives."""

import json
import os
import struct
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightline import _numpy
from sightline.metrics.coco.reader import read_ground_truth

from .json_cases import RESULT, result, segmentation_of

WINDOW = 1 << 18  # bytes that are in memory at a time


def read(text, fields=RESULT):
    return _numpy.read_coco_results(-1, 0, text.encode(), "dt.json", True, list(fields))


def bits(value):
    return struct.pack("<d", value)


def score_of(text):
    return float(read(f"[{result(score=text)}]", ["score"])["score"][0])


# numbers


# fmt: off
NUMBERS = [
    "0", "-0", "0.0", "-0.0", "1", "-1", "12345678", "123456789", "0.1", "-0.1", "1e3", "1E+2",
    "1e-2", "1.5e3", "0e5", "0.0e-400", "1e22", "1e23", "9007199254740991", "9007199254740992",
    "9007199254740993", "9007199254740995", "18446744073709551615", "18446744073709551616",
    "123456789012345678901", "12345678901234567890123", "0.30000000000000004",
    "0.09876543283462524", "2.2250738585072014e-308", "2.2250738585072011e-308", "4.9e-324",
    "5e-324", "2.4e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308", "1e308",
    "1e309", "-1e400", "1e-400", "1e99999999999", "1e-99999999999", "0.00000000000000000001",
    "100000000000000000000000e-23", "8.41", "258.1499938964844", "3.141592653589793238462643",
    "6929495644600919.5", "6929495644600920.5",
    "1.00000000000000011102230246251565404236316680908203125",
    "1.00000000000000011102230246251565404236316680908203124", "7.2057594037927933e16",
    "0.12345678901234567",
]
# fmt: on


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_the_doubles_of_python(text):
    assert bits(score_of(text)) == bits(float(json.loads(text)))


def test_long_numbers_are_the_doubles_of_python():
    for text in ["1" + "0" * 400, "0." + "0" * 400 + "1", "1" * 30 + "." + "7" * 800,
                 "0." + "0" * 300 + "123456789" * 9, "1" + "0" * 400 + "." + "1" * 500,
                 "0." + "1" * 999 + "e300"]:  # fmt: skip
        assert bits(score_of(text)) == bits(float(text)), text


@given(st.floats(allow_nan=False))
@example(2.5e-323)
@example(9007199254740993.0)
@settings(max_examples=500, deadline=None)
def test_doubles_survive_their_shortest_text(value):
    assert bits(score_of(repr(value).replace("inf", "Infinity"))) == bits(value)


@given(st.integers(0, 10**19 - 1), st.integers(0, 25))
@settings(max_examples=500, deadline=None)
def test_any_decimal_is_rounded_as_python_rounds_it(digits, places):
    text = str(digits).rjust(places + 1, "0")
    text = f"{text[: len(text) - places]}.{text[len(text) - places :]}" if places else text
    assert bits(score_of(text)) == bits(float(text)), text


@pytest.mark.parametrize("digits", [7, 12, 15, 16, 17, 19])
def test_random_decimals_and_those_halfway_between_doubles(digits):
    rng = np.random.default_rng(digits)
    numbers = rng.random(5000) * 10.0 ** rng.integers(-6, 12, 5000)
    texts = [np.format_float_positional(x, digits, unique=False) for x in numbers]
    texts = [t + "0" if t.endswith(".") else t for t in texts]
    texts += [str(int(x) * 2 + 1) for x in rng.integers(2**52, 2**53, 1000)]  # ties
    rows = read("[" + ",".join(result(score=t) for t in texts) + "]", ["score"])
    np.testing.assert_array_equal(
        rows["score"].view(np.int64), np.array([float(t) for t in texts]).view(np.int64)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-0", 0), ("7", 7), ("1.0", 1), ("1e3", 1000), ("12345678", 12345678),
        ("-12", -12), ("9007199254740993", 9007199254740993), (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)), ("-1.50e1", -15),
    ],
)  # fmt: skip
def test_integers_are_exact(text, value):
    rows = read(f"[{result(image_id=text, category_id=text)}]")
    assert rows["image_id"][0].tolist() == rows["category_id"].tolist() == [value]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (str(2**63), "must be an integer of 64 bits, got 9223372036854775808"),
        ("123456789012345678901", "must be an integer of 64 bits"),
        ("1e30", "must be an integer of 64 bits"),
        ("1.5", "must be an integer, got 1.5"),
        ("NaN", "must be an integer, got NaN"),
        ("-Infinity", "must be an integer"),
        ("true", "must be an integer, got true"),
        ("null", "must be an integer, got null"),
        ('"5"', 'must be an integer, got "5"'),
        ("[5]", r"must be an integer, got \[5\]"),
    ],
)
def test_what_is_no_integer_is_named(text, problem):
    with pytest.raises(ValueError, match=rf"dt.json: byte \d+ \(line 2\), results\[1\]"
                                         rf".category_id: {problem}"):  # fmt: skip
        read(f"[{result()},\n{result(category_id=text)}]")


# the grammar


def same_as_json(text, expected=None):
    """Both take the text, with one meaning, or both refuse it."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        loaded = json.loads(raw.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        loaded = None
    try:
        rows = _numpy.read_coco_results(-1, 0, raw, "x", True, ["score"])
    except ValueError:
        rows = None
    assert (rows is None) == (loaded is None), raw
    if rows is not None:
        assert rows["score"].tolist() == [r.get("score", 0) for r in loaded], raw


# fmt: off
VALUES = [
    "0", "-0", "01", "-01", "1.", ".5", "-.5", "-", "+", "+1", "1e", "1e+", "1e5", "1E-05",
    "1.e5", "0x10", "1_0", "1.5.5", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "+Infinity",
    "infinity", "inf", "true", "false", "null", "True", "tru", "nul", '""', '"a"', '"\\u00e9"',
    '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\ud83dx"', '"\\ud83d\\u0041"', '"\\u12"',
    '"\\u12g4"', '"\\x41"', '"\\"', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t\\""', '"a', "[]", "[",
    "]", "[1]", "[1,]", "[,1]", "[1,2", "[1}2]", "{}", '{"a":1}', '{"a":1,}', "{,}", '{"a"}',
    '{"a":}', "{a:1}", '{"a":1"b":2}', '{"a":1,"a":2}', "[[[[]]]]", '[{"a":[{}]}]', "'a'", "[1]]",
    "{{}}", "//", "/**/", ",", ":", "é", '"é"', "1é", "1;", '"日本"', '[1,[2,{"x":[3,null]}],"]"]',
    "12345678901234567890123456789", "-1e-999", "1e999",
]
# fmt: on


@pytest.mark.parametrize("value", [*VALUES, "[1 2]", " 1 ", "\t1\r\n", "\f1", "\xa01", '"a\tb"',
                                   '"a\x00b"', '"\x7f"', "1 1", ""])  # fmt: skip
def test_skipped_values_are_valid_where_python_says_so(value):
    same_as_json(f'[{{"score": 1, "other": {value}, "last": 2}}]')
    same_as_json(f'[{{"other": {value}}}, {{"score": 2}}]')


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "[", "]", "[]", " [ ] ", "[]]", "[] []", "[{}]", "[{},{}]", "[{},]", "[,{}]",
        "[{}{}]", '[{"score":1}', '[{"score":1', '[{"score":', '[{"score"', '[{"score', "[{",
        '[{"score":1}]x', '[{"score":1}] \n\t\r ', '[{"score":1,}]', '[{score:1}]', "[{}}",
        '[{"score" : 1 , "x" : [ ] } , { "score" : 2 } ]', '[{"score":1}\n,\n{"score":2}\n]',
        '[{"score":1,"score":2}]', '[{"score":"a","score":2}]', '[{"sc\\u006fre":3}]',
        '[{"score":1},{"score":2},{"x":1,"score":3},{"score":4,"x":1},{"score":5}]',
        '[{"score":1}]\x00', "\x00[]",
    ],
)  # fmt: skip
def test_documents_are_valid_where_python_says_so(text):
    same_as_json(text)


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\xc3", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\x80",
     b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xc3\xa9",
     b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98"],
)  # fmt: skip
def test_utf8_is_valid_where_python_says_so(raw):
    for before in (b"", b"abcdefg", b"abcdefgh"):
        same_as_json(b'[{"x": "' + before + raw + b'", "score": 1}]')
        same_as_json(b'[{"' + before + raw + b'": 1, "score": 1}]')


def test_keys_come_in_any_order_spelling_and_number():
    rng = np.random.default_rng(0)
    records, texts = [], []
    for i in range(400):
        record = {"image_id": i, "category_id": i % 7, "bbox": rng.random(4).tolist(), "score": 0.5}
        keys = list(rng.permutation(list(record))) if i % 3 == 0 else list(record)
        record = {str(k): record[k] for k in keys}
        if i % 5 == 0:
            record = {
                "x": {"bbox": [1], "y": ["}, {"]},
                **record,
                "z" * int(rng.integers(50)): None,
            }
        records.append(record)
        separators = [(", ", ": "), (",", ":"), (" ,\n", " :\t")][int(rng.integers(3))]
        texts.append(json.dumps(record, separators=separators))
    texts[7] = texts[7].replace("bbox", "b\\u0062ox").replace("score", "\\u0073core")
    rows = read("[" + ", ".join(texts) + "]")
    assert rows["image_id"][0].tolist() == [r["image_id"] for r in records]
    assert rows["category_id"].tolist() == [r["category_id"] for r in records]
    assert rows["bbox"].tolist() == [r["bbox"] for r in records]


def test_the_last_of_a_repeated_key_counts():
    rows = read('[{"bbox": "no", "score": 1, "bbox": [1, 2, 3, 4], "score": 2}]', ["bbox", "score"])
    assert rows["bbox"].tolist() == [[1, 2, 3, 4]] and rows["score"].tolist() == [2]
    with pytest.raises(ValueError, match=r"results\[0\].bbox: must be four numbers"):
        read('[{"bbox": [1, 2, 3, 4], "bbox": "no"}]', ["bbox"])
    text = json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []})
    twice = text[:-1] + ', "images": [{"id": 2}, {"id": 3}]}'
    assert read_ground_truth(twice.encode()).image_ids.tolist() == [2, 3]


def test_deep_nesting_needs_no_stack():
    deep = '{"a":[' * 300_000 + "]}" * 300_000
    assert read(f'[{{"x": {deep}, "score": 2}}]', ["score"])["score"].tolist() == [2]
    with pytest.raises(ValueError, match="expected ',' or ']', found '}'"):
        read('[{"x": ' + "[" * 100_000 + "1}", ["score"])
    with pytest.raises(ValueError, match="found the end of the file"):
        read("[" * 100_000)


def test_names_and_ids_keep_their_characters():
    names = ["straße", "日本", "😀", '"\\/\b\f\n\r\t', "\x7f", "\ud83d", "", "a" * 1000]
    truth = {
        "images": [{"id": f"{n}.jpg"} for n in names],
        "categories": [{"id": i, "name": n} for i, n in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": f"{n}.jpg", "category_id": i, "bbox": [0, 0, 1, 1]}
            for i, n in enumerate(names)
        ],
    }
    for ascii_only in (True, False):
        text = json.dumps(truth, ensure_ascii=ascii_only)
        if not ascii_only:
            text = text.replace("\ud83d", "x")
        columns = read_ground_truth(b"\xef\xbb\xbf" + text.encode())
        expected = names if ascii_only else [n.replace("\ud83d", "x") for n in names]
        assert list(columns.category_names) == expected
        assert columns.image_ids.tolist() == sorted(f"{n}.jpg" for n in expected)
        assert columns.image_ids[columns.image].tolist() == [f"{n}.jpg" for n in expected]


# windows and threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_records_that_windows_and_threads_cut_are_whole(threads, tmp_path):
    rng = np.random.default_rng(threads)
    records = []
    while len(records) < 30_000:
        record = {"image_id": len(records), "category_id": 3, "bbox": rng.random(4).tolist()}
        record["score"] = float(rng.random())
        if rng.random() < 0.001:  # what looks like the place between two records
            record["note"] = '}, {"image_id": 7, "score": 1}, {' * int(rng.integers(1, 9))
            record["nested"] = [{"image_id": 1, "category_id": 2}, {"image_id": 3}]
        if rng.random() < 0.0005:
            record["long"] = "x" * int(rng.integers(0, 3 * WINDOW))
        records.append(record)
    path = tmp_path / "dt.json"
    path.write_text(json.dumps(records))
    before = _numpy.get_num_threads()
    _numpy.set_num_threads(threads)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            assert size > 2 << 20
            rows = _numpy.read_coco_results(file.fileno(), size, None, "x", True, list(RESULT))
    finally:
        _numpy.set_num_threads(before)
    assert rows["image_id"][0].tolist() == list(range(len(records)))
    assert rows["bbox"].tolist() == [r["bbox"] for r in records]
    assert rows["score"].tolist() == [r["score"] for r in records]


@pytest.mark.parametrize("order", ["images first", "annotations first"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_ground_truth_is_the_same_for_any_number_of_threads(order, threads):
    rng = np.random.default_rng(0)
    images = [{"id": i, "name": "x" * 100, "width": 5, "height": 6} for i in range(9_000)]
    annotations = [
        {
            "id": i + 1,
            "image_id": int(rng.integers(9_000)),
            "category_id": 1,
            "bbox": [1.5, 2, 3, i],
            "segmentation": [rng.random(6).tolist()] * int(rng.integers(3)),
            "iscrowd": int(i % 9 == 0),
        }
        for i in range(20_000)
    ]
    for i in range(0, 20_000, 7):
        annotations[i]["segmentation"] = {"counts": "a\\b" * (i % 3 + 1), "size": [6, 5]}
    sections = {"images": images, "annotations": annotations}
    if order == "annotations first":
        sections = dict(reversed(sections.items()))
    text = json.dumps({**sections, "categories": [{"id": 1, "name": "a"}]}).encode()
    before = _numpy.get_num_threads()
    _numpy.set_num_threads(threads)
    try:
        truth = read_ground_truth(text, iou_type="segm")
    finally:
        _numpy.set_num_threads(before)
    assert truth.id.tolist() == [a["id"] for a in annotations]
    assert truth.boxes_xywh.tolist() == [a["bbox"] for a in annotations]
    assert truth.crowd.tolist() == [bool(a["iscrowd"]) for a in annotations]
    assert [segmentation_of(truth.segmentation, i) for i in range(0, 20_000, 501)] == [
        a["segmentation"] for a in annotations[::501]
    ]
    assert [segmentation_of(truth.segmentation, i) for i in range(0, 20_000, 700)] == [
        a["segmentation"] for a in annotations[::700]
    ]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_fault_far_into_the_file_is_named(threads):
    texts = [result(image_id=str(i)) for i in range(40_000)]
    before = _numpy.get_num_threads()
    _numpy.set_num_threads(threads)
    try:
        for row in (5, 19_000, 39_999):
            bad = [*texts]
            bad[row] = result(image_id=str(row), bbox="[1, 2, 3]")
            at = sum(len(t) + 2 for t in bad[:row]) + 1 + bad[row].index("[")
            problem = rf"byte {at} \(line {row + 1}\), results\[{row}\].bbox: must be four numbers"
            with pytest.raises(ValueError, match=problem):
                read("[" + ",\n".join(bad) + "]")
            bad[row] = bad[row].replace(":", ";", 1)
            with pytest.raises(ValueError, match=rf"results\[{row}\]: expected ':', found ';'"):
                read("[" + ",\n".join(bad) + "]")
        cut = "[" + ",\n".join(texts)
        with pytest.raises(ValueError, match=rf"byte {len(cut)} \(line 40000\).*end of the file"):
            read(cut)
    finally:
        _numpy.set_num_threads(before)


def test_a_pipe_is_read(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    truth = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": []}
    writer = threading.Thread(target=path.write_text, args=(json.dumps(truth),))
    writer.start()
    columns = read_ground_truth(path)
    writer.join()
    assert columns.image_ids.tolist() == [1] and columns.category_names == ("1",)
