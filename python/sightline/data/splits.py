"""Splits a data set into train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline._text import listed
from sightline.formats.records import DataError, Record
from sightline.formats.source import Labelled, Source, split_name
from sightline.formats.table import labels_of

VAL_FRACTION = 0.2


def stratified_split(
    strata: ArrayLike, fraction: float = VAL_FRACTION, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices in two parts with the same share of each stratum.

    Args:
        strata: int [N], the class (or other group) of each item.
        fraction: share of the second part, between 0 and 1.
        seed: seed of the random split; the same seed gives the same split.

    Returns:
        first and second, each sorted int64, with round(fraction * N) items in the second. It gets
        the share of each stratum rounded down, and one more from those with the largest remainders
        (ties to the lower stratum). A stratum always keeps one item in the first part, so that no
        class is only in validation; with many strata of one item the second part may therefore be
        smaller.

    >>> train, val = stratified_split([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 0.2)
    >>> len(train), len(val), sorted(int(index) // 5 for index in val)
    (8, 2, [0, 1])
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`fraction` must lie between 0 and 1, got {fraction}")
    values = np.asarray(strata)
    rng = np.random.default_rng([seed, 0x5EED])
    groups = [np.flatnonzero(values == stratum) for stratum in np.unique(values)]
    quotas = np.array([fraction * len(group) for group in groups])
    counts = np.floor(quotas + 1e-9).astype(int)
    left_over = round(fraction * len(values)) - int(counts.sum())
    for index in np.argsort(-(quotas - counts), kind="stable"):
        if left_over > 0 and counts[index] + 1 < len(groups[index]):
            counts[index] += 1
            left_over -= 1
    second = [rng.permutation(group)[:count] for group, count in zip(groups, counts, strict=True)]
    chosen = np.sort(np.concatenate([*second, np.zeros(0, np.int64)])).astype(np.int64)
    return np.setdiff1d(np.arange(len(values)), chosen), chosen


def image_strata(records: Sequence[Record]) -> NDArray[np.int64]:
    """Return the stratum of each image: its rarest class, or -1 where it has no object."""
    labels = labels_of(records)
    strata = np.full(len(records), -1)
    images = labels.rows
    frequency = np.bincount(labels.values, minlength=1)[labels.values]
    # By image, then frequency; of equally rare classes the one that the image lists first.
    order = np.lexsort([frequency, images])
    first = order[np.flatnonzero(np.diff(images[order], prepend=-1))]
    strata[images[first]] = labels.values[first]
    return strata


def choose_split(
    source: Source,
    split: str | None,
    root: Path,
    *,
    seed: int = 0,
    test_share: float | None = None,
) -> tuple[Labelled, str]:
    """Return the records and issues of one split, and a sentence on how it was made.

    An official split is used where there is one. `trainval` is train and val together. Without an
    official val split, `train` and `val` are a random stratified 80/20 split, with `seed`, of the
    official train split (or of everything, where there are no splits). None means every image.

    With `test_share`, that share of the official train split (or of everything) is first put aside
    as `test`, stratified and with `seed` too; train, val and trainval consist of the rest.
    """
    official = source.splits
    if split is None:
        return source.table(source.pool()), "every image"
    name = split_name(split) or split
    if test_share is not None and name in ("train", "val", "trainval", "test"):
        if "test" not in official or "test" in source.absent:
            return _beside_drawn_test(source, name, root, seed, test_share)
        if name != "test":
            raise DataError(f"{root}: has an official test split: leave out data.test_share")
    if name in official and (name != "train" or "val" in official):
        return source.table(official[name]()), f"official {name}"
    if name == "trainval" and "train" in official and "val" in official:
        items = [*official["train"](), *official["val"]()]
        return source.table(items), "official train and val"
    if name not in ("train", "val", "trainval"):
        hint = "; data.test_share=0.2 puts a test split aside" if name == "test" else ""
        raise _no_split(source, split, root, hint)
    labelled, of_what = _undivided(source, split, root)
    if name == "trainval":
        return labelled, of_what
    return _train_or_val(labelled, of_what, name, seed)


def _beside_drawn_test(
    source: Source, name: str, root: Path, seed: int, test_share: float
) -> tuple[Labelled, str]:
    """One split of a data set from which a share is put aside as test."""
    official = source.splits
    if name == "val" and "val" in official:
        return source.table(official["val"]()), "official val"
    labelled, whole = _undivided(source, name, root)
    share = f"{100 * test_share:g} % of {whole}"
    rest, test = _halves(labelled, test_share, seed)
    if name == "test":
        return test, f"{share}, stratified, seed {seed}"
    of_what = f"{whole} without the test split ({share}, seed {seed})"
    if name == "trainval" and "val" in official:
        both = Labelled.joined([rest, source.table(official["val"]())])
        return both, f"{of_what} and official val"
    if name == "trainval" or "val" in official:
        return rest, of_what
    return _train_or_val(rest, of_what, name, seed)


def _undivided(source: Source, split: str, root: Path) -> tuple[Labelled, str]:
    """The images to split, in an order that does not depend on that of the files."""
    official = source.splits
    whole = "train" if "train" in official else "trainval" if "trainval" in official else None
    if whole is None and not {"val", "test"}.isdisjoint(official):
        raise _no_split(source, split, root)
    labelled = source.table(source.pool() if whole is None else official[whole]())
    names = [str(image_id) for image_id in labelled.table.ids.tolist()]
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    return labelled.take(order), "all images" if whole is None else f"official {whole}"


def _train_or_val(labelled: Labelled, of_what: str, name: str, seed: int) -> tuple[Labelled, str]:
    train, val = _halves(labelled, VAL_FRACTION, seed)
    rule = f"{'80' if name == 'train' else '20'} % of {of_what}, stratified, seed {seed}"
    return (train if name == "train" else val), rule


def _halves(labelled: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled]:
    """The rest, and a stratified share of `fraction`."""
    rest, share = stratified_split(image_strata(labelled.table), fraction, seed=seed)
    return labelled.take(rest), labelled.take(share)


def _no_split(source: Source, split: str, root: Path, hint: str = "") -> DataError:
    official = source.splits
    there_are = listed([*official]) if official else "none (train and val are drawn from all)"
    return DataError(f"{root}: there is no split {split!r}; official splits: {there_are}{hint}")
