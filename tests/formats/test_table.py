"""Records in columns: what goes in comes out, and only rows are selected."""

import gc
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sightline.formats import Annotations, Record
from sightline.formats.record import Issue
from sightline.formats.shapes import Polygons, RunLengths
from sightline.formats.source import Labelled
from sightline.formats.table import RecordTable

SQUARE = Polygons(([[0, 0], [4, 0], [4, 4]], [[5, 5], [6, 5], [6, 7]]))
RUNS = RunLengths((48, 64), b"0T3d0")


def records():
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 6.5]])
    return [
        Record(
            *(Path("set/a.png"), 7, 64, 48),
            labels=[3, 4],
            boxes=boxes,
            iscrowd=[False, True],
            difficult=[True, False],
            area=[16, 20],
            boxes_xywh=boxes + 1,
            shapes=[None, SQUARE],
            points=np.arange(12.0).reshape(2, 2, 3),
            extra={"pose": ["Left", ""], "location": np.ones((2, 3))},
        ),
        Record(Path("set/b.png"), "b", 9, 8, labels=[]),
        Record(np.full((8, 8, 1), 7, np.uint8), 8, 8, 8, labels=[1]),
        Record(
            *(Path("set/\udcff.png"), "\ud800c", 9, 8),
            labels=[0],
            boxes=[[1, 2, 3, 4]],
            shapes=[RUNS],
            points=np.ones((1, 3, 3)),
            boxes_rotated=np.ones((1, 5)),
            extra={"pose": ["Right"], "alpha": [0.5]},
            ignored=[[1, 2, 3, 4], [5, 6, 7, 8]],
        ),
    ]


def assert_equal(found, record):
    same = ("image_id", "width", "height")
    assert [getattr(found, name) for name in same] == [getattr(record, name) for name in same]
    np.testing.assert_array_equal(found.image, record.image)
    for column in fields(Record)[4:]:
        one, other = getattr(found, column.name), getattr(record, column.name)
        if other is None or not len(other):
            assert one is None or not len(one), column.name
        elif column.name == "extra":
            assert [*one] == [*other]
            for name, values in other.items():
                np.testing.assert_array_equal(one[name], values)
        elif column.name == "shapes":
            assert [_plain(shape) for shape in one] == [_plain(shape) for shape in other]
        elif column.name == "points":  # widened to the most points of any
            np.testing.assert_array_equal(one[:, : other.shape[1]], other)
            assert not one[:, other.shape[1] :].any()
        else:
            np.testing.assert_array_equal(one, other, column.name)
            assert one.dtype == other.dtype


def _plain(shape):
    return [ring.tolist() for ring in shape.rings] if isinstance(shape, Polygons) else shape


def test_a_table_gives_back_the_records_that_it_was_made_of():
    made = records() * 700  # of more than one batch
    table = RecordTable.of(iter(made))
    assert len(table) == len(made)
    for found, record in zip(table[:4], made, strict=False):
        assert_equal(found, record)
    assert_equal(table[-1], made[-1])
    assert [record.image_id for record in table[5:1:-3]] == ["b", 8]
    with pytest.raises(IndexError):
        table[len(made)]


def test_rows_of_a_table_are_its_records_in_that_order():
    made, rows = records(), [3, -4, 3]
    taken = pickle.loads(pickle.dumps(RecordTable.of(made).take(rows)))
    assert len(taken) == 3
    for found, row in zip(taken, rows, strict=True):
        assert_equal(found, made[row])
    assert len(RecordTable.of(made).take([])) == 0 == len(RecordTable.of([]))


def test_a_record_of_a_table_may_be_written_to():
    table = RecordTable.of(records())
    table[0].boxes[:] = -1
    assert_equal(table[0], records()[0])


def test_a_table_holds_no_more_python_objects_for_more_records():
    # Each would make a process that loads images copy the page it is on.
    def count(copies):
        made = [record for record in records() if not isinstance(record.image, np.ndarray)]
        seen, todo = {}, [RecordTable.of(made * copies)]
        while todo:
            found = todo.pop()
            if id(found) not in seen and not isinstance(found, type):
                seen[id(found)] = found
                todo += gc.get_referents(found)
        return len(seen)

    assert count(50) == count(2)


def test_a_column_of_numbers_in_one_record_and_text_in_another_is_text():
    made = [Record("a.png", 0, 1, 1, [0], [[0, 0, 1, 1]], extra={"n": n}) for n in ([1], ["x"])]
    assert [record.extra["n"].tolist() for record in RecordTable.of(made)] == [["1.0"], ["x"]]
    both = RecordTable.joined([RecordTable.of([record]) for record in made])
    assert [record.extra["n"].tolist() for record in both] == [["1.0"], ["x"]]


@pytest.mark.parametrize("image_id", [2**63, 0.5, None])
def test_an_id_that_no_column_holds_is_refused(image_id):
    with pytest.raises(ValueError, match="`image_id` must be a text or an integer of 64 bits"):
        RecordTable.of([Record("a.png", image_id, 1, 1, [0])])


def test_annotations_over_a_table_keep_it():
    made = records()
    plain = Annotations(label_type="boxes", class_names=tuple("abcde"), records=tuple(made))
    columns = Annotations(
        label_type="boxes", class_names=tuple("abcde"), records=RecordTable.of(made)
    )
    assert columns.class_counts().tolist() == plain.class_counts().tolist() == [1, 1, 0, 1, 1]
    assert columns.table is columns.records
    assert plain.table.boxes.values.tolist() == columns.table.boxes.values.tolist()
    some = columns.subset([3, 0])
    assert isinstance(some.records, RecordTable)
    assert_equal(some.records[0], made[3])


def test_issues_go_with_the_records_they_are_of():
    def issue(what):
        return Issue(Path("a.json"), None, what, "rule")

    made = records()
    found = Labelled.of(
        [(made[0], [issue("a"), issue("b")]), (made[1], []), (made[2], [issue("c")])]
    )
    both = Labelled.joined([found, Labelled.of([(made[3], [issue("d")])])])
    taken = both.take(np.array([3, 1, 0]))
    assert [(what.what, row) for what, row in zip(taken.issues, taken.rows.tolist())] == [
        ("d", 0),
        ("a", 2),
        ("b", 2),
    ]
    assert_equal(taken.table[2], made[0])
    found = [(record.image_id, [*map(str, issues)]) for record, issues in taken.pairs()]
    assert found == [
        ("\ud800c", ["a.json: d: rule"]),
        ("b", []),
        (7, [*map(str, taken.issues[1:])]),
    ]
