"""A test split that is put aside from a data set without one."""

import numpy as np
import pytest

from sightline.data import DataError, open_source, read_dataset

from ..tiny import write_colours, write_squares

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_colours(tmp_path_factory.mktemp("colours") / "data", count=20)


def ids(folder, split, **options):
    return [record.image_id for record in read_dataset(folder, split=split, **options).records]


def test_three_splits_share_out_every_image_and_class(folder):
    parts = {split: read_dataset(folder, split=split, test_share=0.25) for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [24, 6, 10]
    assert all(len(set(part.class_counts())) == 1 for part in parts.values())
    all_ids = [r.image_id for part in parts.values() for r in part.records]
    assert sorted(all_ids) == sorted(ids(folder, None))
    assert parts["test"].split_rule == "25 % of all images, stratified, seed 0"
    assert "without the test split" in parts["val"].split_rule
    rest = ids(folder, "trainval", test_share=0.25)
    assert sorted(rest) == sorted(set(all_ids) - set(ids(folder, "test", test_share=0.25)))


def test_the_seed_and_nothing_else_decides_what_is_put_aside(folder):
    first = ids(folder, "test", test_share=0.25)
    assert first == ids(folder, "test", test_share=0.25, class_names=["green", "red"])
    assert first != ids(folder, "test", test_share=0.25, seed=1)
    # Who trained without it at this seed did not train on what is put aside now.
    assert not set(ids(folder, "test", test_share=0.2)) & set(ids(folder, "train"))


def test_without_it_splits_are_what_they_were(folder):
    assert len(ids(folder, "train")) == 32 and len(ids(folder, "val")) == 8
    with pytest.raises(DataError, match=r"no split 'test'; .* data.test_share=0.2 puts a test"):
        ids(folder, "test")


def test_it_is_drawn_from_the_official_train(tmp_path):
    root = write_squares(tmp_path, train=12, val=4, test=0)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [red, green]\n")
    test = ids(root, "test", test_share=0.25)
    assert len(test) == 3 and set(test) <= set(ids(root, "train"))
    train = ids(root, "train", test_share=0.25)
    assert sorted([*train, *test]) == sorted(ids(root, "train"))
    assert ids(root, "val", test_share=0.25) == ids(root, "val")
    whole = ids(root, "trainval", test_share=0.25)
    assert sorted(whole) == sorted([*train, *ids(root, "val")])


def test_an_official_test_split_is_not_drawn_from_again(tmp_path):
    root = write_squares(tmp_path)
    with pytest.raises(DataError, match=r"has an official test split: leave out data.test_share"):
        read_dataset(root, split="train", test_share=0.2)
    assert read_dataset(root, split="test", test_share=0.2).split_rule == "official test"


@pytest.mark.parametrize("name", ["digits", "digit-scenes"])
def test_embedded_sets_have_fixed_splits(name):
    with pytest.raises(DataError, match=r"its splits are fixed: leave out data.test_share"):
        open_source(name, split="train", test_share=0.2)


@pytest.mark.parametrize("share", [0, 1, -0.5, np.nan])
def test_a_share_lies_between_0_and_1(folder, share):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        read_dataset(folder, split="test", test_share=share)
