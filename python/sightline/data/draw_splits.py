"""Draws splits of any shares: stratified, grouped, and stable when images are added."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline._text import listed, quoted
from sightline.data.splits import image_strata
from sightline.formats.records import Annotations, DataError

__all__ = ["GROUPINGS", "assign_splits", "content_groups", "draw_splits", "group_of", "shares_of"]

_NAMES = {2: ("train", "val"), 3: ("train", "val", "test")}
# Ways to form groups by the name of an image.
GROUPINGS = ("prefix", "folder")


def shares_of(text: str, names: Sequence[str] = (), *, count: int = 0) -> dict[str, float]:
    """Return split -> share for a text such as "8:1:1", "60/20/20", "98,1,1" or "rest:100:100".

    Two numbers are those of train and val, three those of train, val and test, where `names` are
    not given. Shares are relative: they need not add up to 1 or 100. With the word rest, numbers
    are images out of `count`.

    Raises:
        ValueError: no numbers, negative ones, not one for each name, or more images than there are.

    >>> shares_of("8:1:1")
    {'train': 0.8, 'val': 0.1, 'test': 0.1}
    >>> shares_of("rest:20", count=100)
    {'train': 0.8, 'val': 0.2}
    """
    words = [word for word in re.split(r"[\s:/,;]+", text.strip().lower()) if word]
    names = tuple(names) or _NAMES.get(len(words), ())
    if len(words) != len(names) or len(set(names)) < len(names):
        numbers = f"{len(names)} numbers ({listed(names)})" if names else "2 or 3 numbers"
        more = "" if names else ", or as many as names= has"
        raise ValueError(f"shares={text}: there must be {numbers}{more}; got {len(words)}")
    rest = words.count("rest")
    try:
        values = [0.0 if word == "rest" else float(word) for word in words]
    except ValueError:
        raise ValueError(f"shares are numbers such as 8:1:1, got {quoted(text)}") from None
    if (
        not np.isfinite(values).all()
        or min(values) < 0
        or rest > 1
        or (not rest and not any(values))
    ):
        raise ValueError(f"shares are positive numbers such as 8:1:1, got {quoted(text)}")
    if rest:
        if sum(values) >= count or not all(value.is_integer() for value in values):
            raise ValueError(f"shares={text}: numbers of images beside a rest of {count:,} images")
        values[words.index("rest")] = count - sum(values)
    total = sum(values)
    return {name: value / total for name, value in zip(names, values, strict=True)}


def group_of(grouping: str) -> Callable[[str], str]:
    """Return the function from an image's name to the name of its group.

    Args:
        grouping: "prefix": what precedes the last number of the name, with "_", "-", "." or a
            blank before it (`cam1_0007` and `cam1_0008` are of the group `cam1`); "folder": the
            folder in the image's id; or a regular expression, whose first group (or whole match) is
            the key. A name without a match is a group of its own.

    Raises:
        ValueError: no regular expression.
    """
    if grouping == "folder":
        return lambda name: name.rpartition("/")[0]
    pattern = r"^(.*?)[\s._-]*\d+[^\d/]*$" if grouping == "prefix" else grouping
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"group must be {', '.join(GROUPINGS)} or a regular expression, got "
            f"{quoted(grouping)} ({error})"
        ) from None

    def key(name: str) -> str:
        match = compiled.search(name)
        if match is None:
            return name
        return next((part for part in match.groups() if part), match.group())

    return key


def content_groups(annotations: Annotations) -> list[str | None]:
    """Return a key per image that files of equal content share; None where an image is unique.

    Only files of equal size are read.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    images = annotations.table.image
    for index in range(len(annotations)):
        image = images(index)
        if not isinstance(image, np.ndarray):
            by_size[os.path.getsize(image)].append(index)
    keys: list[str | None] = [None] * len(annotations)
    for same in by_size.values():
        if len(same) < 2:
            continue
        digests = [_digest(images(index)) for index in same]
        times = Counter(digests)
        for index, digest in zip(same, digests, strict=True):
            if times[digest] > 1:
                keys[index] = digest
    return keys


def _digest(path: Path | NDArray[np.uint8]) -> str:
    with open(str(path), "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def assign_splits(
    names: Sequence[str],
    strata: NDArray[np.int64],
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    earlier: Mapping[str, str] | None = None,
) -> NDArray[np.int64]:
    """Return the split of each image, as the index of its share.

    The images of a stratum are ordered by a hash of (seed, name), and the splits after the first
    take their number from the start of that order; the first gets the rest. So the result does not
    depend on the order of the images, and when some are added, only the few at the limits move
    (with `earlier`, none). Every split after the first gets round(share * N) images, distributed
    over the strata by largest remainders; of each stratum one image stays in the first split.
    With groups, whose members stay together, the numbers are met as closely as their sizes allow.

    Args:
        names: [N], the name of each image, which is its identity.
        strata: [N], the class (or other stratum) of each image.
        shares: split -> share; they add up to 1.
        seed: another seed gives another order.
        groups: [N], the group of each image.
        earlier: name of an image -> split where it must stay.

    >>> assign_splits(list("abcdefghij"), np.zeros(10, int), {"train": 0.8, "val": 0.2}).sum()
    np.int64(2)
    """
    order = {split: index for index, split in enumerate(shares)}
    result = np.full(len(names), -1)
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names if groups is None else groups):
        members[name].append(index)
    for of_group in members.values():  # one image that has a split fixes its whole group
        kept = [order[s] for i in of_group if (s := (earlier or {}).get(names[i])) in order]
        if kept:
            result[of_group] = kept[0]
    stratum_of = {name: _common(strata[rows]) for name, rows in members.items()}
    ordered = sorted(members, key=lambda name: (_hash(seed, name), name))
    free: dict[int, deque[str]] = {int(stratum): deque() for stratum in np.unique(strata)}
    for name in ordered:
        if result[members[name][0]] < 0:
            free[stratum_of[name]].append(name)
    all_of_stratum = {int(s): int(n) for s, n in zip(*np.unique(strata, return_counts=True))}
    carried = np.zeros(len(shares))
    wanted = _apportioned(all_of_stratum, [*shares.values()])
    for stratum, waiting in free.items():
        there = np.bincount(result[(strata == stratum) & (result >= 0)], minlength=len(shares))
        for split in range(len(shares) - 1, 0, -1):
            need = wanted[stratum][split] - there[split] + carried[split]
            while waiting and need > 0:
                size = len(members[waiting[0]])
                last = len(waiting) == 1 and there[0] == 0
                if last or size / 2 > need:  # closer to the number without this group
                    break
                result[members[waiting.popleft()]] = split
                need -= size
            carried[split] = need if groups is not None or earlier else 0
        for name in waiting:
            result[members[name]] = 0
    return result


def _common(values: NDArray[np.int64]) -> int:
    """The most frequent value; of equally frequent ones the lowest."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _hash(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(errors="surrogatepass"), digest_size=8).digest()


def _apportioned(sizes: Mapping[int, int], shares: Sequence[float]) -> dict[int, NDArray[np.int64]]:
    """The number of images of each stratum for each split, by largest remainders."""
    strata = [*sizes]
    counts = np.array([sizes[stratum] for stratum in strata], float)
    numbers = np.zeros((len(strata), len(shares)), np.int64)
    for split in range(1, len(shares)):
        exact = counts * shares[split]
        numbers[:, split] = np.floor(exact + 1e-9)
        over = round(counts.sum() * shares[split]) - int(numbers[:, split].sum())
        for row in np.argsort(-(exact - numbers[:, split]), kind="stable"):
            if over > 0 and numbers[row].sum() + 1 < counts[row]:
                numbers[row, split] += 1
                over -= 1
    return {stratum: numbers[row] for row, stratum in enumerate(strata)}


def draw_splits(
    annotations: Annotations,
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: bool = True,
    group: Callable[[str], str] | None = None,
    earlier: Mapping[str, str] | None = None,
) -> dict[str, Annotations]:
    """Split a data set by shares, so that nothing leaks from one split to another.

    Files of equal content always come into one split. The strata are the classes; an image with
    several counts for its rarest. See `assign_splits` for how images are chosen.

    Args:
        annotations: all images.
        shares: split -> share, such as {"train": 0.8, "val": 0.1, "test": 0.1}; see `shares_of`.
        seed: seed of the random choice.
        stratify: whether each split gets the same share of each class.
        group: from the image id as text to the key of its group; the images of a group come into
            one split.
        earlier: image id as text -> the split where it must stay.

    Returns:
        split -> annotations, in the order of `shares`.

    Raises:
        DataError: a split would be empty.

    >>> from sightline.data import load_digits_classification
    >>> train, _ = load_digits_classification()
    >>> {name: len(part) for name, part in draw_splits(train, shares_of("60:20:20")).items()}
    {'train': 862, 'val': 288, 'test': 288}
    """
    names = [str(image_id) for image_id in annotations.table.ids.tolist()]
    keys = [group(name) for name in names] if group else None
    equal = content_groups(annotations)
    if any(equal):
        keys = _merged(keys or names, equal)
    strata = image_strata(annotations.records) if stratify else np.zeros(len(names), np.int64)
    split_of = assign_splits(names, strata, shares, seed=seed, groups=keys, earlier=earlier)
    rule = " : ".join(f"{100 * share:g} %" for share in shares.values())
    rule += f", {'stratified, ' if stratify else ''}{'grouped, ' if group else ''}seed {seed}"
    parts = {}
    for index, (split, share) in enumerate(shares.items()):
        rows = np.flatnonzero(split_of == index)
        if not len(rows) and share > 0:
            raise DataError(
                f"split {split} would have none of {len(names):,} images: give it a larger share"
                + (", or make smaller groups" if group else "")
            )
        parts[split] = replace(annotations.subset(rows), split=split, split_rule=rule)
    return parts


def _merged(keys: Sequence[str], equal: Iterable[str | None]) -> list[str]:
    """Keys where groups that share a file of equal content have one."""
    root: dict[str, str] = {key: key for key in keys}

    def find(key: str) -> str:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    first: dict[str, str] = {}
    for key, content in zip(keys, equal, strict=True):
        if content is not None:
            a, b = find(first.setdefault(content, key)), find(key)
            root[max(a, b)] = min(a, b)
    return [find(key) for key in keys]
