"""The reader of COCO files: random documents, whole and spoilt, against Python's json.

The reader differs where it says so: it takes a byte order mark, nesting of any depth and integers
of any number of digits.
"""

import json
import math
import random
from typing import Any

import numpy as np

from sightline import _numpy

CASES = 50_000
SHORT = 300

FIELDS = ["id", "image_id", "category_id", "bbox", "score", "area", "iscrowd", "ignore"]
FIELDS += ["num_keypoints", "keypoints", "segmentation"]
_KIND = {0: "none", 1: "polygons", 2: "string", 3: "counts"}


class Refused(Exception):
    """A document of the wrong kind."""


# what the columns of a loaded document are


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_float(value: Any) -> float:
    if not is_number(value):
        raise Refused(value)
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def to_integer(value: Any) -> int:
    if not is_number(value):
        raise Refused(value)
    if isinstance(value, float):
        if not abs(value) <= 2**53 or value != int(value):
            raise Refused(value)
        value = int(value)
    if not -(2**63) <= value < 2**63:
        raise Refused(value)
    return value


def to_flag(value: Any) -> bool:
    if value is None or isinstance(value, bool) or is_number(value):
        return bool(value)
    raise Refused(value)


def to_floats(value: Any, length: int | None = None, unit: int = 1) -> list[float]:
    if not isinstance(value, list) or len(value) % unit or length not in (None, len(value)):
        raise Refused(value)
    return [to_float(v) for v in value]


def to_segmentation(value: Any) -> tuple[str, Any]:
    if value is None:
        return "none", None
    if isinstance(value, list):
        return "polygons", [to_floats(ring, unit=2) for ring in value]
    if not isinstance(value, dict) or not {"size", "counts"} <= set(value):
        raise Refused(value)
    size, counts = to_floats(value["size"], length=2), value["counts"]
    numbers = [*size] if isinstance(counts, str) else [*size, *to_floats(counts)]
    if any(not 0 <= x < 2**32 or x != int(x) for x in numbers) or max(size) > 2**31:
        raise Refused(value)
    if isinstance(counts, str):
        return "string", (size, counts.encode("utf-8", "surrogatepass"))
    return "counts", (size, [int(c) for c in counts])


TO_COLUMN = {
    "category_id": to_integer,
    "bbox": lambda v: to_floats(v, length=4),
    "score": to_float,
    "area": to_float,
    "iscrowd": to_flag,
    "ignore": to_flag,
    "num_keypoints": to_integer,
    "keypoints": lambda v: to_floats(v, unit=3),
    "segmentation": to_segmentation,
}
# Stands for any string: a row without an id bears that which the reader met first, be it one that a
# second "id" of its record replaced.
ANY = object()
DEFAULT = {"bbox": [0.0] * 4, "keypoints": [], "segmentation": ("none", None)}


def expected_columns(loaded: Any) -> dict[str, list]:
    if not isinstance(loaded, list) or not all(isinstance(record, dict) for record in loaded):
        raise Refused(loaded)
    columns: dict[str, list] = {field: [] for field in FIELDS}
    for row, record in enumerate(loaded):
        for field in FIELDS:
            value = record.get(field)
            if field in ("id", "image_id"):
                strings = any(isinstance(v, str) for v in columns[field])
                if field not in record:
                    value = ANY if strings else 0
                elif row and strings != isinstance(value, str):
                    raise Refused(value)
                elif not isinstance(value, str):
                    value = to_integer(value)
            else:
                missing = field not in record or (field == "bbox" and value == [])
                value = DEFAULT.get(field, 0) if missing else TO_COLUMN[field](value)
            columns[field].append(value)
    return columns


def read_columns(text: bytes) -> dict[str, list]:
    rows = _numpy.read_coco_results(-1, 0, text, "text", True, FIELDS)
    columns: dict[str, list] = {}
    for field in FIELDS:
        if field in ("id", "image_id"):
            values, names = rows[field]
            columns[field] = [v if names is None else names[v] for v in values.tolist()]
        elif field == "keypoints":
            counts, values = rows[field]
            ends = np.cumsum(counts)
            columns[field] = [
                values[e - c : e].tolist() for e, c in zip(ends.tolist(), counts.tolist())
            ]
        elif field == "segmentation":
            parts = rows[field]
            columns[field] = [segmentation(parts, i) for i in range(len(parts[1]))]
        else:
            columns[field] = rows[field].tolist()
    return columns


def segmentation(parts: tuple[np.ndarray, ...], row: int) -> tuple[str, Any]:
    size, kind, first, count, rings, coordinates, strings, counts = parts
    name, begin, end = _KIND[kind[row]], first[row], first[row] + count[row]
    if name == "none":
        return name, None
    if name == "polygons":
        return name, [coordinates[rings[p] : rings[p + 1]].tolist() for p in range(begin, end)]
    units = bytes(strings[begin:end]) if name == "string" else counts[begin:end].tolist()
    return name, (size[row].tolist(), units)


# documents


def draw_number(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(["0", "-0", "0.0", "-0.0", "1e3", "1E+2", "-1.5e-7", "1e400", "-1e-400"])
    if kind == 1:
        return rng.choice(["NaN", "Infinity", "-Infinity", "123456789012345678901", str(2**63 - 1)])
    if kind == 2:
        return repr(np.uint64(rng.getrandbits(64)).view(np.float64).item()).replace("inf", "1e999")
    if kind == 3:
        return str(rng.randrange(10 ** rng.randrange(1, 25)))
    if kind == 4:
        digits = "".join(rng.choices("0123456789", k=rng.randrange(1, 30)))
        exponent = rng.choice(["", "", f"e{rng.randrange(-340, 320)}", f"E+{rng.randrange(30)}"])
        return f"{rng.randrange(10 ** rng.randrange(1, 12))}.{digits}{exponent}"
    return str(round(rng.uniform(-9, 700), rng.randrange(1, 18)))


def draw_string(rng: random.Random) -> str:
    pieces = [
        "a",
        "bbox",
        "}, {",
        '\\"',
        "\\\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "é",
        "日本",
    ]
    pieces += ["\\n", "\\/", " " * 9, "x" * 20, "é", "日本", "😀", "[", "0"]
    return '"' + "".join(rng.choices(pieces, k=rng.randrange(5))) + '"'


def space(rng: random.Random) -> str:
    return rng.choice(["", "", "", " ", "\n", "\t", " \r\n "])


def draw_list(rng: random.Random, values: list[str]) -> str:
    comma = rng.choice([",", ", ", space(rng) + "," + space(rng)])
    return "[" + space(rng) + comma.join(values) + space(rng) + "]"


def draw_value(rng: random.Random, depth: int = 0) -> str:
    kind = rng.randrange(6 if depth < 4 else 4)
    if kind == 4:
        return draw_list(rng, [draw_value(rng, depth + 1) for _ in range(rng.randrange(4))])
    if kind == 5:
        return draw_object(
            rng, [(draw_string(rng), draw_value(rng, depth + 1)) for _ in range(rng.randrange(4))]
        )
    if kind == 3:
        return rng.choice(["true", "false", "null"])
    return draw_number(rng) if kind else draw_string(rng)


def draw_object(rng: random.Random, members: list[tuple[str, str]]) -> str:
    comma, colon = rng.choice([(", ", ": "), (",", ":"), (" ,\n ", "\t: ")])
    inside = comma.join(key + colon + value for key, value in members)
    return "{" + space(rng) + inside + space(rng) + "}"


def draw_segmentation(rng: random.Random) -> str:
    def numbers(n: int) -> str:
        return draw_list(rng, [draw_number(rng) for _ in range(n)])

    kind = rng.randrange(4)
    if kind == 0:
        return draw_list(rng, [numbers(2 * rng.randrange(5)) for _ in range(rng.randrange(3))])
    if kind == 1:
        return "null"
    counts = (
        draw_string(rng) if kind == 2 else draw_list(rng, [*map(str, rng.choices(range(99), k=3))])
    )
    members = [('"size"', "[3, 4]"), ('"counts"', counts), ('"x"', draw_value(rng, 3))]
    return draw_object(rng, rng.sample(members, rng.choice([2, 3, 3, 3])))


def draw_record(rng: random.Random, keys: list[str], string_ids: bool) -> str:
    value = {
        "id": lambda: f'"{rng.randrange(9)}"' if string_ids else str(rng.randrange(10**18)),
        "image_id": lambda: draw_string(rng) if string_ids else str(rng.randrange(600_000)),
        "category_id": lambda: rng.choice(["1", "18", "2.0", "1e1", "-3"]),
        "bbox": lambda: draw_list(
            rng, [draw_number(rng) for _ in range(rng.choice([4] * 20 + [0]))]
        ),
        "iscrowd": lambda: rng.choice(["0", "1", "true", "false", "null", "0.0", "2"]),
        "ignore": lambda: rng.choice(["0", "1"]),
        "num_keypoints": lambda: str(rng.randrange(18)),
        "keypoints": lambda: draw_list(
            rng, [draw_number(rng) for _ in range(3 * rng.randrange(4))]
        ),
        "segmentation": lambda: draw_segmentation(rng),
        "other": lambda: draw_value(rng),
    }
    members = []
    for key in keys:
        drawn = value.get(key, lambda: draw_number(rng))()
        if rng.random() < 0.01:  # most likely of a wrong type
            drawn = draw_value(rng)
        spelt = "".join(f"\\u{ord(c):04x}" if rng.random() < 0.003 else c for c in key)
        members.append((f'"{spelt}"', drawn))
    return draw_object(rng, members)


def draw_document(rng: random.Random) -> str:
    keys = rng.sample([*FIELDS, "other"], rng.randrange(1, 13))
    string_ids = rng.random() < 0.2
    records = []
    for _ in range(rng.randrange(8)):
        if rng.random() < 0.2:
            keys = rng.sample(keys, len(keys)) + rng.choices(["other", *keys], k=rng.randrange(2))
        records.append(draw_record(rng, keys, string_ids))
    return rng.choice(["", "", "\ufeff"]) + space(rng) + draw_list(rng, records) + space(rng)


def spoil(rng: random.Random, text: bytes) -> bytes:
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + rng.choice([*'"\\{}[],:0.e-+ tn']).encode() + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + rng.randrange(1, 9) :]
        elif kind == 3:
            text = text[: at + rng.randrange(1, 40)] + text[at:]
        elif rng.random() < 0.4:
            text = text[:at]
    return text


def check(generator: np.random.Generator) -> None:
    rng = random.Random(int(generator.integers(2**63)))
    text = draw_document(rng).encode("utf-8", "surrogatepass")
    if rng.random() < 0.6:
        text = spoil(rng, text)
    try:
        expected = expected_columns(json.loads(text.decode("utf-8-sig")))
    except (ValueError, Refused) as error:
        expected, why = None, type(error).__name__
    try:
        found = read_columns(text)
    except ValueError as error:
        assert expected is None, f"refused: {error}: {text!r}"
        # Of two faults the first is named: bad values may stand before what is not JSON.
        assert why != "Refused" or "expected " not in str(error), (
            f"not malformed: {error}: {text!r}"
        )
        return
    assert expected is not None, f"taken, but Python has {why}: {text!r}"
    for field, values in expected.items():
        wanted = [plain(value, field) for value in values]
        rows = [row for row, value in enumerate(wanted) if value is not ANY]
        # as text: NaN equals NaN, -0.0 is not 0.0
        assert len(found[field]) == len(wanted) and (
            repr([found[field][row] for row in rows]) == repr([wanted[row] for row in rows])
        ), f"{field}: {found[field]}, not {values}: {text!r}"


def plain(value: Any, field: str) -> Any:
    """A value with the type that the column gives it."""
    if field in ("score", "area"):
        return float(value)
    if field in ("iscrowd", "ignore"):
        return bool(value)
    if field == "segmentation" and value[0] in ("string", "counts"):
        name, (size, counts) = value
        return name, ([int(s) for s in size], counts)
    return value
