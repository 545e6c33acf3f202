"""Records: what only some formats know of objects."""

import numpy as np

from sightline.formats.records import Record


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
