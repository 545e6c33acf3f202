import collections

import numpy as np
import pytest

from sightline.cli import main
from sightline.data import Annotations, Record, read_dataset
from sightline.data.draw_splits import assign_splits, draw_splits, group_of, shares_of

from ..tiny import write_colours

EIGHT_ONE_ONE = shares_of("8:1:1")


def named(count, start=0):
    return [f"image_{i:06d}" for i in range(start, start + count)]


def set_of(images):
    """A set in memory: pairs of an id and the labels of its boxes."""
    records = [
        Record(
            np.full((4, 4, 1), 7, np.uint8),
            name,
            4,
            4,
            labels=np.array(labels, np.int64),
            boxes=np.tile([0.0, 0, 2, 2], (len(labels), 1)),
        )
        for name, labels in images
    ]
    return Annotations("boxes", ("a", "b", "c"), tuple(records))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80/20", [0.8, 0.2]),
        ("70:30", [0.7, 0.3]),
        ("60/20/20", [0.6, 0.2, 0.2]),
        ("70,15,15", [0.7, 0.15, 0.15]),
        ("8:1:1", [0.8, 0.1, 0.1]),
        ("98 1 1", [0.98, 0.01, 0.01]),
    ],
)
def test_shares_are_relative(text, expected):
    assert [*shares_of(text).values()] == pytest.approx(expected)


@pytest.mark.parametrize("text", ["8", "8:1:1:1", "8:one", "8:-1", "0:0", "rest:100", "rest:rest"])
def test_shares_that_make_no_split_are_refused(text):
    with pytest.raises(ValueError, match="shares"):
        shares_of(text, count=100)


def test_many_images_at_98_1_1_give_each_its_share():
    names = [str(i) for i in range(20_000)]
    strata = np.arange(20_000) % 7
    counts = np.bincount(assign_splits(names, strata, shares_of("98:1:1")))
    assert counts.tolist() == [19_600, 200, 200]


def test_each_split_has_its_share_of_each_stratum():
    strata = np.repeat([0, 1, 2], [700, 250, 50])
    splits = assign_splits(named(1000), strata, EIGHT_ONE_ONE)
    counts = [np.bincount(strata[splits == split]).tolist() for split in range(3)]
    assert counts == [[560, 200, 40], [70, 25, 5], [70, 25, 5]]


def test_many_small_strata_still_give_the_right_numbers():
    splits = assign_splits(named(300), np.arange(300) // 3, EIGHT_ONE_ONE)
    assert np.bincount(splits).tolist() == [240, 30, 30]
    assert {*(np.arange(300) // 3)[splits == 0].tolist()} == {*range(100)}  # each is trained on


def test_a_split_does_not_depend_on_the_order_of_images_and_does_on_the_seed():
    strata = np.arange(200) % 3
    order = np.random.default_rng(0).permutation(200)
    names = np.array(named(200))
    first = assign_splits(names.tolist(), strata, EIGHT_ONE_ONE)
    assert (
        assign_splits(names[order].tolist(), strata[order], EIGHT_ONE_ONE) == first[order]
    ).all()
    assert (assign_splits(names.tolist(), strata, EIGHT_ONE_ONE, seed=1) != first).any()


def test_added_images_move_few_and_none_with_the_earlier_splits():
    names, strata = named(1100), np.arange(1100) % 4
    before = assign_splits(names[:1000], strata[:1000], EIGHT_ONE_ONE)
    after = assign_splits(names, strata, EIGHT_ONE_ONE)
    assert (before != after[:1000]).mean() < 0.04  # a new random choice would move a third
    order = [*EIGHT_ONE_ONE]
    earlier = {name: order[split] for name, split in zip(names, before)}
    kept = assign_splits(names, strata, EIGHT_ONE_ONE, earlier=earlier)
    assert (kept[:1000] == before).all()
    assert np.bincount(kept).tolist() == [880, 110, 110]


def test_groups_stay_together():
    groups = [f"patient {i // 7}" for i in range(700)]
    strata = np.arange(700) // 7 % 2
    splits = assign_splits(named(700), strata, EIGHT_ONE_ONE, groups=groups)
    of_group = collections.defaultdict(set)
    for group, split in zip(groups, splits.tolist()):
        of_group[group].add(split)
    assert all(len(found) == 1 for found in of_group.values())
    assert np.bincount(splits).tolist() == [560, 70, 70]


@pytest.mark.parametrize(
    ("grouping", "name", "group"),
    [
        ("prefix", "cam1_0007", "cam1"),
        ("prefix", "a/video 3-frame-12", "a/video 3-frame"),
        ("prefix", "portrait", "portrait"),
        ("folder", "cam1/0007", "cam1"),
        (r"patient(\d+)", "scan_patient12_3", "12"),
        (r"^[a-z]+", "left_1", "left"),
    ],
)
def test_group_of_a_name(grouping, name, group):
    assert group_of(grouping)(name) == group


def test_a_broken_regular_expression_is_refused():
    with pytest.raises(ValueError, match="prefix, folder or a regular expression"):
        group_of("(")


def test_of_images_with_several_classes_each_split_gets_its_share_of_each_class():
    rng = np.random.default_rng(0)
    images = [(name, rng.choice(3, rng.integers(1, 9), p=[0.8, 0.15, 0.05])) for name in named(600)]
    parts = draw_splits(set_of(images), EIGHT_ONE_ONE)
    total = set_of(images).class_counts()
    for split, share in EIGHT_ONE_ONE.items():
        assert np.abs(parts[split].class_counts() / total - share).max() < 0.04, split
    assert sum(map(len, parts.values())) == 600


def test_a_split_that_would_be_empty_is_refused():
    with pytest.raises(ValueError, match="split val would have none of 3 images"):
        draw_splits(set_of((name, [0]) for name in named(3)), EIGHT_ONE_ONE)


def test_files_of_equal_content_come_into_one_split(tmp_path):
    write_colours(tmp_path / "all", count=40)
    paths = sorted((tmp_path / "all").rglob("*.png"))
    for path in paths[:10]:
        path.with_name(f"copy_{path.name}").write_bytes(path.read_bytes())
    parts = draw_splits(read_dataset(tmp_path / "all"), shares_of("6:2:2"))
    where = {}
    for split, part in parts.items():
        for record in part.records:
            where.setdefault(record.image.read_bytes(), set()).add(split)
    assert all(len(found) == 1 for found in where.values())


def test_the_command_writes_splits_and_keeps_those_of_an_earlier_result(tmp_path, capsys):
    write_colours(tmp_path / "all", count=30)
    words = ["data", "split", str(tmp_path / "all")]
    assert main([*words, str(tmp_path / "first"), "shares=rest:6:6"]) == 0
    said = capsys.readouterr().out
    assert "stratified, seed 0" in said
    counts = {s: len(read_dataset(tmp_path / "first", split=s)) for s in ("train", "val", "test")}
    assert counts["val"] == counts["test"] == 6
    like = f"like={tmp_path / 'first'}"
    assert main([*words, str(tmp_path / "second"), "shares=rest:6:6", "seed=5", like]) == 0
    for split in counts:
        first, second = (
            {record.image_id for record in read_dataset(tmp_path / name, split=split).records}
            for name in ("first", "second")
        )
        assert first == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out", "shares=8:1"], ""),
        (["out", "shares=8"], "there must be 2 or 3"),
        (["out", "format=nothing"], "'nothing' cannot be written"),
        (["out", "stratify=perhaps"], "stratify must be yes or no"),
        ([], "give a data set and a new folder"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, capsys, words, said):
    write_colours(tmp_path / "all", count=10)
    words = [str(tmp_path / "out") if word == "out" else word for word in words]
    status = main(["data", "split", str(tmp_path / "all"), *words])
    assert (status == 2) == bool(said)
    assert said in capsys.readouterr().err
