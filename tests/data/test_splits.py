"""The stratified split: counts, disjointness, seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data import Record, stratified_split
from sightline.data.splits import image_strata, split_name


@given(st.lists(st.integers(-1, 6), max_size=200), st.floats(0.05, 0.95), st.integers(0, 5))
def test_halves_are_disjoint_complete_and_within_one_of_their_share(strata, fraction, seed):
    first, second = stratified_split(strata, fraction, seed=seed)
    assert sorted([*first, *second]) == list(range(len(strata)))
    values = np.array(strata)
    for stratum in set(strata):
        members = np.flatnonzero(values == stratum)
        taken = np.isin(members, second).sum()
        assert abs(taken - fraction * len(members)) <= 1 + 1e-9
        assert taken < len(members)


def test_second_half_has_its_rounded_share_of_all():
    strata = np.repeat(np.arange(10), 18)
    first, second = stratified_split(strata, 0.2)
    assert (len(first), len(second)) == (144, 36)
    assert set(np.bincount(strata[second])) <= {3, 4}


def test_same_seed_same_split_other_seed_other_split():
    strata = np.zeros(100, int)
    splits = [stratified_split(strata, seed=seed)[1].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_fraction_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="`fraction` must lie between 0 and 1, got 1"):
        stratified_split([0, 1], 1)


def test_image_stratum_is_its_rarest_class():
    def record(*labels):
        return Record(
            np.zeros((1, 1), np.uint8), 0, 1, 1, labels=labels, boxes=np.ones((len(labels), 4))
        )

    records = [record(0, 0, 1), record(0), record(), record(2, 1, 0)]
    assert image_strata(records).tolist() == [1, 0, -1, 2]


def test_split_names_know_their_synonyms():
    names = ["Train", "valid", "validation", "val2017", "testing", "trainval", "photos"]
    expected = ["train", "val", "val", "val", "test", "trainval", None]
    assert [split_name(name) for name in names] == expected
