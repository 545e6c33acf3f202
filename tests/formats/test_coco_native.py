"""The compiled and the lenient reader of COCO files give the same, and no file makes them fail."""

import json
import random
from dataclasses import fields

import numpy as np
import pytest

from sightline.data import DataError, read_dataset
from sightline.formats.coco.categories import all_categories
from sightline.formats.coco.entries import Classes
from sightline.formats.coco.lenient import content_of, read_content
from sightline.formats.coco.native import categories_of, read_columns, read_sections
from sightline.formats.finder import ImageFinder
from sightline.formats.record import Record
from sightline.formats.shapes import Polygons
from sightline.formats.source import Notes

from ..pictures import save_picture

NAMES = ("a.png", "b.png", "c d.png", "\u00e9.png")
SQUARE = [[1, 1, 9, 1, 9, 9.5, 1, 9]]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    for name in NAMES:
        save_picture(folder / name)
    return folder


def drawn(rng, usual, *unusual, share=0.04):
    return rng.choice(unusual) if rng.random() < share else usual


def drawn_annotation(rng, number, texts):
    x, y = rng.choice([0, 3, 7.25, 1e-3]), rng.choice([0, 2, 5.5])
    box = drawn(
        rng,
        [x, y, rng.choice([1, 10, 0.1 + 0.2]), rng.choice([1, 8.75])],
        *([x, y, 0, 1], [x, y, -1, 2], [x, y, 1e999, 2], [90, y, 2, 2], [1e17, 2, 3, 4]),
        *([], [1, float("nan"), 2, 2], [-20, -20, 4, 4], [1e308, 1, 1e308, 1]),
    )
    outline = rng.choice(
        [
            *(None, [], SQUARE, SQUARE, SQUARE * 2, SQUARE),
            {"size": [48, 64], "counts": [10, 20, 48 * 64 - 30]},
            {"counts": ":d0Ro2", "size": [48, 64]},
        ]
    )
    outline = drawn(
        rng,
        outline,
        *(5, "x", [[1, 2]], [[1, 2], *SQUARE], SQUARE[0], [[1, 2, 3, 4, 5, None]], {"size": [1]}),
        *({"size": [48, 64], "counts": [1]}, {"size": [48, 64], "counts": "~~"}, [[]], {}),
        share=0.1,
    )
    made = {
        "id": drawn(rng, number, "seven", None, 2**70),
        "image_id": str(rng.randrange(4)) if texts else rng.randrange(4),
        "category_id": drawn(rng, rng.choice([1, 7]), 99, 8.0, 7.0, -1),
        "bbox": box,
        "area": drawn(rng, 5.5, -1, float("nan"), 1e999),
        "iscrowd": drawn(rng, rng.choice([0, 1]), None, True, 2.5, float("nan")),
        "segmentation": outline,
        "keypoints": drawn(rng, [1, 2, 2, 3.5, 4, 1], [], [1, 2, 0], [float("nan"), 1, 2]),
    }
    for key in ("area", "iscrowd", "segmentation", "keypoints", "category_id", "bbox"):
        if rng.random() < (0.3 if key == "keypoints" else 0.05):
            del made[key]
    items = [*made.items()]
    if rng.random() < 0.1:
        rng.shuffle(items)
    return dict(items)


def drawn_content(rng):
    texts = rng.random() < 0.3
    images = [
        {
            "id": str(number) if texts else number,
            "file_name": name,
            "width": drawn(rng, 64, "64", 0, None, 2**40),
            "height": drawn(rng, 48, 48.0, -1, ""),
        }
        for number, name in enumerate(NAMES)
    ]
    categories = [{"id": 7, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 8, "name": "\u00fc"}]
    annotations = [drawn_annotation(rng, i, texts) for i in range(rng.randrange(12))]
    sections = [("images", images), ("annotations", annotations), ("categories", categories)]
    rng.shuffle(sections)
    return {**dict(sections[:2]), "info": {"categories": "none"}, **dict(sections[2:])}


def read_both(path, root):
    """What each reader gives: (records, issues, notes), None or an error."""
    results = []
    for read in (_natively, _leniently):
        notes = Notes()
        try:
            found = read(path, ImageFinder(path, root, notes, "remove {it}"), notes)
        except DataError as error:
            results.append(str(error))
            continue
        if found is not None:
            issues = [(str(issue), row) for issue, row in zip(found.issues, found.rows.tolist())]
            said = sorted(str(issue) for issue in notes.issues())
            found = ([*map(plain, found.table)], issues, said)
        results.append(found)
    return results


def _natively(path, finder, notes):
    sections = read_sections(path)
    listed = None if sections is None else categories_of(path, sections)
    if sections is None or listed is None:
        return None
    return read_columns(path, sections, finder, classes_of(path, listed, notes), notes)


def _leniently(path, finder, notes):
    content = content_of(path)
    classes = classes_of(path, content["categories"], notes)
    return read_content(path, content, finder, classes, notes)


def classes_of(path, categories, notes):
    names = all_categories({path: categories}, lambda _: {1, 7, 8}, notes)
    return Classes(names, {key: label for label, key in enumerate(names) if key != 8})


def plain(record):
    """A record as values that compare, the same where bits are."""
    values = []
    for column in fields(Record):
        value = getattr(record, column.name)
        if isinstance(value, np.ndarray):
            value = (value.dtype.str, value.shape, value.tobytes()) if value.size else None
        elif column.name == "shapes" and value is not None:
            value = [
                [ring.tolist() for ring in shape.rings] if isinstance(shape, Polygons) else shape
                for shape in value
            ]
        values.append(value)
    return values


def test_both_readers_give_the_same_of_generated_files(root):
    rng, read = random.Random(5), 0
    path = root / "instances.json"
    for number in range(150):
        content = drawn_content(rng)
        path.write_text(json.dumps(content, indent=rng.choice([None, 1])), "utf-8")
        native, lenient = read_both(path, root)
        if native is not None:
            read += 1
            assert native == lenient, number
    assert read > 60


def test_a_file_as_coco_writes_it_is_read_by_the_compiled_reader(root):
    path = root / "instances.json"
    image = {"id": 4, "file_name": "a.png", "width": 64, "height": 48}
    annotation = {"id": 1, "image_id": 4, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    category = {"id": 7, "name": "dog", "supercategory": "pet"}
    made = {"images": [image], "annotations": [annotation], "categories": [category]}
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text(json.dumps(made), encoding)
        native, lenient = read_both(path, root)
        assert native == lenient is not None


def spoilt(rng, text):
    """A text with bytes changed, taken out, doubled or cut off."""
    data = bytearray(text.encode())
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] = rng.choice(b'"\\{}[],:0.e-')
            case 2:
                del data[at : at + rng.randrange(20)]
            case 3:
                data[at:at] = data[at : at + rng.randrange(60)]
            case 4:
                words = [b"null", b"-1", b"1e999", b"[]", b"{}", b'"1"', b"NaN", b"9" * 25]
                data[at:at] = rng.choice([*words, b"9" * 5000, b"[" * 3000, b'"\\ud800"'])
            case _ if rng.random() < 0.3:
                del data[at:]
        if not data:
            return b"{"
    return bytes(data)


def test_no_spoilt_file_makes_a_reader_fail_or_differ(root):
    rng, path, accepted = random.Random(8), root / "instances.json", 0
    # What Python's json refuses even in values that nobody asks for.
    python_only = ("nested too deeply", "Exceeds the limit")
    for number in range(400):
        path.write_bytes(spoilt(rng, json.dumps(drawn_content(rng))))
        native, lenient = read_both(path, root)
        if native is not None and not any(said in str(lenient) for said in python_only):
            assert native == lenient, number
            accepted += not isinstance(native, str)
        try:
            assert len(read_dataset(path, on_bad_label="drop-box", format="coco")) >= 0
        except DataError as error:
            assert "instances.json" in str(error), number
    assert accepted > 20
