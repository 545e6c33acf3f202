"""Records: the objects in every column, and what only some formats know of objects."""

from dataclasses import fields

import numpy as np
import pytest

from sightline.formats import Record
from sightline.formats.shapes import Polygons, RunLengths

OUTLINES = [Polygons(([[0, 0], [4, 0], [4, 4]],)), None, RunLengths((8, 8), b"0")]
OTHERS = ("shapes", "extra", "ignored")


def record_of_three():
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 6], [2, 2, 8, 8]], np.float64)
    return Record(
        *("a.png", 7, 64, 48),
        labels=np.array([3, 4, 5]),
        boxes=boxes,
        iscrowd=np.array([False, True, False]),
        difficult=np.array([True, False, False]),
        area=np.array([16, 20, 30.0]),
        boxes_xywh=boxes + 1,
        shapes=OUTLINES,
        points=np.arange(18.0).reshape(3, 2, 3),
        boxes_rotated=np.arange(15.0).reshape(3, 5),
        extra={"pose": ["Left", "", "Right"]},
        ignored=[1, 2, 3, 4],
    )


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), slice(None, None, -2)])
def test_taking_rows_selects_the_objects_in_every_column(rows):
    record, order = record_of_three(), [2, 0]
    taken = record.take(rows)
    assert (taken.image, taken.image_id, taken.width, taken.height) == ("a.png", 7, 64, 48)
    columns = [field.name for field in fields(Record)[4:] if field.name not in OTHERS]
    assert len(columns) == 8
    for name in columns:
        np.testing.assert_array_equal(getattr(taken, name), getattr(record, name)[order], name)
    assert taken.extra["pose"].tolist() == ["Right", "Left"]
    np.testing.assert_array_equal(taken.ignored, record.ignored)
    assert [shape is OUTLINES[row] for shape, row in zip(taken.shapes, order)] == [True, True]


def test_taking_by_bools_and_taking_nothing():
    record = record_of_three()
    assert record.take([False, True, False]).labels.tolist() == [4]
    nothing = record.take([])
    assert nothing.boxes.shape == (0, 4) and nothing.points.shape == (0, 2, 3)
    assert len(nothing.shapes) == 0
    for wrong in ([3], [True, False]):
        with pytest.raises(IndexError):
            record.take(wrong)


def test_taking_from_a_classified_image_keeps_its_class():
    record = Record("a.png", 7, 64, 48, labels=np.array([3]))
    assert record.take([]).labels.tolist() == [3]
    assert record.take(slice(None)).shapes is None


def test_extra_columns_are_numbers_or_text_and_none_without_any():
    boxes = np.array([[1.0, 2, 30, 40], [5, 6, 7, 8]])
    extra = {"truncated": [0, 1], "pose": ["Left", ""], "location": np.ones((2, 3), np.float32)}
    record = Record("a.png", "a", 64, 48, np.zeros(2), boxes, extra=extra, ignored=[1, 2, 3, 4])
    assert {name: column.dtype.kind for name, column in record.extra.items()} == {
        "truncated": "f",
        "pose": "U",
        "location": "f",
    }
    np.testing.assert_array_equal(record.extra["truncated"], [0.0, 1.0])
    np.testing.assert_array_equal(record.ignored, [[1, 2, 3, 4]])
    bare = Record("a.png", "a", 64, 48, np.zeros(2), boxes, extra={}, ignored=np.zeros((0, 4)))
    assert (bare.extra, bare.ignored) == (None, None)
