"""A -> B -> A: a data set that is written in another format and back is what was not said lost."""

import hashlib
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sightline.data import Annotations, Record, write_dataset
from sightline.data.read import read_splits
from sightline.data.write import WRITERS
from sightline.formats import Polygons, RunLengths
from sightline.formats.shapes import mask_to_runs

SIZE = 40, 30
# Blanks, other alphabets, brackets, dots, and names that differ only in suffix or case.
NAMES = ["a b.png", "ü[1].png", "x.y.bmp", "0.png", "A B.bmp", "empty.png", "train.png"]
SPLITS = ["train", "train", "train", "val", "val", "train", "test"]
# Blanks, other alphabets, numbers, and what means something in YAML, XML, CSV and JSON.
CLASSES = ("white cell", '<Ä> & "b": #1, c', "3")

# What a sentence says is lost -> what may then differ.
SAID = {
    "crowd flags": "iscrowd",
    "`difficult`": "difficult",
    "areas other": "area",
    "outlines": "shapes rotated",
    "masks": "shapes",
    "run lengths": "shapes",
    "mirror pairs": "keypoint_mirror",
    "skeleton": "skeleton",
    "order of .* keypoint": "points keypoint_names",
    "separate polygons": "shapes",
    "the kind": "shapes rotated",
    "the keypoints": "points keypoint_names",
    "rotation": "rotated",
    "rotated boxes": "rotated shapes",
    "category ids": "category_ids",
    "names of .* class": "names classes",
    "order of .* class": "classes",
    "file names": "file",
    "the ids": "image_id",
    "parts outside": "boxes area shapes rotated",
    "boxes that are not": "boxes area",
    "the boxes": "boxes iscrowd difficult area extra count",
    "the class of": "boxes label_type",
    "files of .* without objects": "empty",
    "regions": "ignored",
    "last digits": "digits",
}


def may_differ(sentences):
    found = set()
    for sentence in sentences:
        words = [SAID[key] for key in SAID if re.search(key, sentence)]
        column = re.match(r"`([^`]+)` of", sentence)
        found |= {f"extra.{column[1]}"} if column else set()
        assert words or column, f"no test knows what may differ after {sentence!r}"
        found |= set(" ".join(words).split())
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(NAMES):
        Image.new("RGB", SIZE, (30 * number, 90, 200)).save(folder / name)
    return folder


def record_of(folder, place, **columns):
    return Record(folder / NAMES[place], NAMES[place].rpartition(".")[0], *SIZE, **columns)


def sets_of(records, **options):
    found = {}
    for record, split in zip(records, SPLITS):
        found.setdefault(split, []).append(record)
    return {
        split: Annotations("boxes", CLASSES, tuple(found[split]), split=split, **options)
        for split in sorted(found)
    }


def boxes_of(count, seed):
    """Boxes with two decimals, whole numbers, and all digits that float64 has."""
    rng = np.random.default_rng(seed)
    near, far = rng.uniform(0, 12, (count, 2)), rng.uniform(14, 28, (count, 2))
    boxes = np.concatenate([near, far], axis=1)
    return [boxes, boxes.round(2), boxes.round()][seed % 3]


def plain(folder):
    records = [
        record_of(folder, place, labels=[place % 3, 1], boxes=boxes_of(2, place))
        for place in range(len(NAMES))
    ]
    records[2] = replace(records[2], boxes=[[-4, 1.5, 44, 20], [20, 10, 60, 28]], area=None)
    records[5] = record_of(folder, 5, labels=[])
    return sets_of(records)


def flags(folder):
    """What only some formats know of objects, and images that are in no split."""
    records = []
    for place in range(5):
        boxes = boxes_of(2, place)
        extra = {"truncated": [0.25, 0], "occluded": [1, 2], "alpha": [1.5, np.nan]}
        record = record_of(
            folder,
            place,
            labels=[0, 2],
            boxes=boxes,
            iscrowd=[place == 1, False],
            difficult=[False, place == 3],
            area=[30 + place, 7.25],
            extra=extra | {"pose": ["Left", ""], "source": ["me", "you"]},
            ignored=[[1, 1, 5, 5]] if place == 4 else None,
        )
        records.append(record if place != 2 else record.take([]))
    return sets_of(records, category_ids=(3, 7, 90))


def outlines(folder):
    """Polygons, several of one object, run lengths, and a box alone, in one set."""
    square = np.array([[3, 4], [9.5, 4], [9.5, 11.25], [3, 11.25]])
    mask = np.zeros(SIZE[::-1], bool)
    mask[2:9, 5:20] = True
    shapes = [
        Polygons((square,)),
        Polygons((square, np.add(square, (12, 7)))),
        mask_to_runs(mask),
        None,
    ]
    hulls = [shape.hull() for shape in shapes[:2]]
    boxes = [*hulls, (5, 2, 20, 9), (1, 1, 8, 8)]
    columns = {"labels": [0, 1, 2, 0], "boxes": boxes, "shapes": shapes}
    return sets_of([record_of(folder, place, **columns) for place in range(5)])


def keypoints(folder):
    points = np.array([[[3, 4.5, 2], [7, 8, 1], [0, 0, 0]], [[0, 0, 0]] * 3])
    boxes = [[2, 3, 9, 10], [1, 1, 30, 20]]
    columns = {"labels": [0, 1], "boxes": boxes, "points": points}
    options = {"keypoint_names": ("nose", "eye", "ear"), "keypoint_mirror": (0, 2, 1)}
    options["skeleton"] = ((0, 1), (1, 2))
    return sets_of([record_of(folder, place, **columns) for place in range(5)], **options)


def rotated(folder):
    turned = np.array([[20, 15, 10, 6, 30], [np.nan] * 5])
    shape = Polygons(([[13.2, 15.1], [17.2, 22], [26.8, 14.9], [22.8, 8]],))
    columns = {"labels": [0, 1], "boxes": [shape.hull(), (1, 2, 9, 10)], "boxes_rotated": turned}
    return sets_of([record_of(folder, place, **columns) for place in range(5)])


def unsplit(folder):
    records = plain(folder)["train"].records
    return {None: Annotations("boxes", CLASSES, records)}


def classes(folder):
    records = [record_of(folder, place, labels=[place % 3]) for place in range(7)]
    found = sets_of(records)
    return {split: replace(data, label_type="class") for split, data in found.items()}


BOXES = [format for format in WRITERS if format != "folder"]


@pytest.fixture(scope="module")
def written(pictures, tmp_path_factory):
    """A function of a set and a format: the set as it is once in that format."""
    made = {}

    def write(make, format):
        if (make, format) not in made:
            folder = tmp_path_factory.mktemp("first") / "set"
            write_dataset(make(pictures), folder, format=format, images="link")
            made[make, format] = read_splits(folder, format=format)
        return made[make, format]

    return write


def by_content(data):
    """The records of a set by the bytes of their images, which links keep."""
    found = {hashlib.sha1(record.image.read_bytes()).hexdigest(): record for record in data.records}
    assert len(found) == len(data.records)
    return found


def same_columns(one, other, lost):
    tolerance = {"rtol": 0, "atol": 1e-6 if "digits" in lost else 0}
    for name in ("iscrowd", "difficult"):
        if name not in lost:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    if "area" not in lost:
        np.testing.assert_allclose(one.area, other.area, rtol=1e-6 if "digits" in lost else 1e-12)
    if "boxes" not in lost:
        np.testing.assert_allclose(one.boxes, other.boxes, **tolerance)
    if "rotated" not in lost:
        assert (one.boxes_rotated is None) == (other.boxes_rotated is None)
        if one.boxes_rotated is not None:
            np.testing.assert_allclose(one.boxes_rotated, other.boxes_rotated, **tolerance)
    if "points" not in lost:
        points = [record.points for record in (one, other) if record.points is not None]
        if len(points) == 2:
            np.testing.assert_allclose(*points, **tolerance)
        else:  # none is the same as none that is labelled
            assert not any(found[:, :, 2].any() for found in points)
    if "ignored" not in lost:
        np.testing.assert_array_equal(one.ignored, other.ignored)
    same_extra(one, other, lost)
    if "shapes" not in lost:
        for row in range(len(one.boxes)):
            if one.boxes_rotated is not None and not np.isnan(one.boxes_rotated[row]).any():
                continue  # its corners are its outline
            mine, theirs = ((record.shapes or [None] * 9)[row] for record in (one, other))
            assert type(mine) is type(theirs)
            if isinstance(mine, RunLengths):
                assert mine == theirs
            elif mine is not None:
                for ring, again in zip(mine.rings, theirs.rings, strict=True):
                    np.testing.assert_allclose(ring, again, **tolerance)


# What formats write where nothing is known.
NOTHING = {"truncated": (0, -1), "occluded": (0, -1), "alpha": (-10,)}
NOTHING |= {"dimensions": (-1,), "location": (-1000,), "rotation_y": (-10,)}


def same_extra(one, other, lost):
    if "extra" in lost:
        return
    for name in {**(one.extra or {}), **(other.extra or {})}:
        if f"extra.{name}" in lost:
            continue
        columns = []
        for record in (one, other):
            values = (record.extra or {}).get(name)
            if values is None or values.dtype.kind == "f":
                values = np.full(len(record.boxes), np.nan) if values is None else values
                values = np.where(np.isin(values, NOTHING.get(name, ())), np.nan, values)
                columns.append([None if np.isnan(value).all() else value for value in values])
            else:
                columns.append([value or None for value in values.tolist()])
        np.testing.assert_equal(*columns, err_msg=name)


def compare(first, again, lost):
    assert [*first] == [*again]
    pairs = set()
    for split, data in first.items():
        mine, theirs = by_content(data), by_content(again[split])
        if "empty" in lost:
            mine = {key: record for key, record in mine.items() if len(record.labels)}
        assert mine.keys() == theirs.keys()
        for key, record in mine.items():
            other = theirs[key]
            if "file" not in lost:
                assert record.image.name == other.image.name
                if "image_id" not in lost:
                    assert record.image_id == other.image_id
            assert (record.width, record.height) == (other.width, other.height)
            if "count" not in lost:
                assert len(record.labels) == len(other.labels)
                same_columns(record, other, lost)
            pairs |= {
                (data.class_names[label], again[split].class_names[same])
                for label, same in zip(record.labels, other.labels)
            }
        assert data.label_type == again[split].label_type
        for name in {"keypoint_names", "keypoint_mirror", "skeleton"} - lost:
            assert getattr(data, name) == getattr(again[split], name)
        if "classes" not in lost:
            assert data.class_names == again[split].class_names
            if "category_ids" not in lost:
                assert data.category_ids == again[split].category_ids
    assert len(pairs) == len({mine for mine, _ in pairs}) == len({theirs for _, theirs in pairs})
    assert "names" in lost or all(mine == theirs for mine, theirs in pairs)


# Which formats hold what a set is about; of classes, pairs with class folders.
HOLD = {
    plain: tuple(BOXES),
    flags: tuple(BOXES),
    outlines: ("voc", "coco", "yolo", "labelme"),
    keypoints: ("coco", "yolo", "labelme"),
    rotated: ("voc", "yolo", "labelme", "coco"),
    unsplit: ("coco", "csv", "yolo"),
    classes: ("folder",),
}
PAIRS = [
    pytest.param(make, *pair, id="-".join([make.__name__, *pair]))
    for make, formats in HOLD.items()
    for pair in itertools.permutations(WRITERS, 2)
    if (set(pair) <= set(formats) if make is not classes else "folder" in pair)
]
ONE_BY_ONE = [
    pytest.param(make, format, id=f"{make.__name__}-{format}")
    for make in HOLD
    for format in (BOXES if make is not classes else ["folder"])
]


@pytest.mark.parametrize(("make", "format", "other"), PAIRS)
def test_a_set_that_is_converted_and_back_differs_only_in_what_was_said(
    make, format, other, written, tmp_path
):
    first = written(make, format)
    said = write_dataset(first, tmp_path / "other", format=other, images="link")
    between = read_splits(tmp_path / "other", format=other)
    said += write_dataset(between, tmp_path / "again", format=format, images="link")
    compare(first, read_splits(tmp_path / "again", format=format), may_differ(said))


@pytest.mark.parametrize(("make", "format"), ONE_BY_ONE)
def test_a_set_in_memory_is_read_as_it_was_written_but_for_what_was_said(
    make, format, pictures, tmp_path
):
    sets = make(pictures)
    said = write_dataset(sets, tmp_path / "set", format=format)
    lost = may_differ(said)
    if make is classes and format != "folder":
        assert "label_type" in lost
        return
    again = read_splits(tmp_path / "set", format=format)
    order = [split for split in ("train", "val", "test", None) if split in sets]
    lost |= {"category_ids"}
    if format in ("coco", "csv", "labelme", "folder"):  # their ids are numbers, or name folders
        lost.add("image_id")
    compare({split: sets[split] for split in order}, again, lost)
