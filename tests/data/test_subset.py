from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.data import Annotations, DataError, Record
from sightline.data.annotations import with_classes

SET = Annotations(
    label_type="class",
    class_names=("a", "b"),
    records=tuple(Record(Path(f"{i}.png"), i, 8, 8, labels=np.array([i % 2])) for i in range(4)),
)


def names(annotations):
    return [record.image_id for record in annotations.records]


def test_a_subset_has_the_records_of_the_numbers_in_their_order():
    for given in ([2, 0, -1], np.array([2, 0, 3]), torch.tensor([2, 0, 3]), iter([2, 0, 3])):
        assert names(SET.subset(given)) == [2, 0, 3]
    assert names(SET.subset([])) == []


def test_a_subset_of_bools_keeps_the_records_that_are_true():
    mask = np.array([True, False, False, True])
    for given in (mask, torch.from_numpy(mask), mask.tolist(), list(mask)):
        assert names(SET.subset(given)) == [0, 3]


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([4], IndexError, r"`indices` must lie in 0 \.\.\. 3, got 4"),
        ([0.5], TypeError, "`indices` must hold whole numbers, got 0.5"),
        ([0, True], TypeError, "`indices` must hold whole numbers, got True"),
        ([True], ValueError, "one bool for each of 4 records, got 1"),
    ],
)
def test_a_subset_of_what_is_no_record_is_refused(indices, error, message):
    with pytest.raises(error, match=message):
        SET.subset(indices)


def test_a_set_of_one_picture_is_said_to_have_one():
    assert "1 picture, 2 classes" in repr(SET.subset([1]))


def test_with_classes_matches_by_name_and_refuses_labels_of_others():
    named = replace(SET, class_names=("a", "b", "c"), category_ids=(7, 8, 9), source="elsewhere")
    found = with_classes(named, ("d", "b", "a"))
    assert found.class_names == ("d", "b", "a") and found.category_ids == (-1, 8, 7)
    assert [int(record.labels[0]) for record in found.records] == [2, 1, 2, 1]
    said = r"knows 2 classes, b, d; elsewhere has 3, a, b, c, with labels .* know: a \(2\)"
    with pytest.raises(DataError, match=said):
        with_classes(named, ("b", "d"))
