"""Outlines of objects and run-length masks of detections: ellipses in boxes, ragged at the rim."""

from collections.abc import Iterator

import numpy as np

_CHUNK = 20_000  # masks at a time


def polygons(boxes: np.ndarray, seed: int) -> list[np.ndarray]:
    """An outline [V, 2] inside each box [N, 4], of 8 to 40 vertices with two decimals."""
    rng = np.random.default_rng([seed, 1])
    vertices = rng.integers(8, 41, len(boxes))
    turn = [2 * np.pi * np.arange(v) / v for v in range(41)]
    unit = [np.stack([np.cos(t), np.sin(t)], 1) / 2 for t in turn]
    centre, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    return [np.round(c + s * unit[v], 2) for c, s, v in zip(centre, sides, vertices.tolist())]


def run_strings(boxes: np.ndarray, sizes: np.ndarray, seed: int) -> Iterator[bytes]:
    """COCO's compressed runs of the ellipse in each box [N, 4], in images [N, 2] (w, h)."""
    rng = np.random.default_rng([seed, 2])
    for at in range(0, len(boxes), _CHUNK):
        counts, offsets = _runs(rng, boxes[at : at + _CHUNK], sizes[at : at + _CHUNK])
        text, ends = _compress(counts, offsets)
        whole = text.tobytes()
        begin = 0
        for end in ends.tolist():
            yield whole[begin:end]
            begin = end


def run_lists(boxes: np.ndarray, sizes: np.ndarray, seed: int) -> list[list[int]]:
    """The same as lists of counts, which is how COCO stores crowds."""
    counts, offsets = _runs(np.random.default_rng([seed, 3]), boxes, sizes)
    return [part.tolist() for part in np.split(counts, offsets[1:-1])]


def _runs(
    rng: np.random.Generator, boxes: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alternating counts of zeros and ones, column by column, and where each mask begins [N + 1].

    Each column of pixels of an ellipse is one run of ones. An ellipse outside its image is a run
    of zeros alone.
    """
    n = len(boxes)
    width, height = sizes.T
    x, y, w, h = boxes.T
    left = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    right = np.clip(np.floor(x + w - 0.5) + 1, left, width).astype(np.int64)
    columns = right - left
    mask = np.repeat(np.arange(n), columns)
    column = left[mask] + np.arange(len(mask)) - np.repeat(columns.cumsum() - columns, columns)

    across = (column + 0.5 - (x + w / 2)[mask]) / (w / 2)[mask]
    half = (h / 2)[mask] * np.sqrt(np.maximum(1 - across**2, 0))
    middle = (y + h / 2)[mask]
    ragged = rng.integers(-1, 2, (2, len(mask))) * (half > 4)
    top = np.ceil(middle - half - 0.5) + ragged[0]
    bottom = np.floor(middle + half - 0.5) + 1 + ragged[1]
    top = np.clip(top, 0, height[mask]).astype(np.int64)
    # A column may not end at the bottom of the image if the next begins at the top: one run then.
    bottom = np.clip(bottom, top, height[mask] - 1)
    kept = bottom > top
    mask, column, top, bottom = mask[kept], column[kept], top[kept], bottom[kept]

    begin, end = column * height[mask] + top, column * height[mask] + bottom
    first = np.diff(mask, prepend=-1) != 0
    before = np.where(first, 0, np.append(0, end[:-1]))  # where the last run of ones ended
    pairs = np.stack([begin - before, end - begin], 1).ravel()
    own = np.bincount(mask, minlength=n)  # runs of ones in each mask
    last = np.zeros(n, np.int64)
    last[mask] = end  # the last row of each mask remains
    offsets = np.append(0, (2 * own + 1).cumsum())
    counts = np.empty(offsets[-1], np.int64)
    tails = offsets[1:] - 1
    counts[tails] = width * height - last
    counts[np.delete(np.arange(len(counts)), tails)] = pairs
    return counts, offsets


def _compress(counts: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Characters of all masks, and where each mask ends.

    From its fourth on, a count is written as its difference from the one two before; five bits per
    character, least significant first, and a sixth bit if more follow.
    """
    place = np.arange(len(counts)) - np.repeat(offsets[:-1], np.diff(offsets))
    value = counts.copy()
    value[2:] -= np.where(place[2:] > 2, counts[:-2], 0)
    longest = 7
    characters = np.zeros((len(value), longest), np.uint8)
    used = np.zeros(len(value), np.int64)
    going = np.arange(len(value))
    rest = value
    for i in range(longest):
        low = rest & 31
        rest = rest >> 5
        more = np.where(low & 16, rest != -1, rest != 0)
        characters[going, i] = low + 32 * more + 48
        used[going] = i + 1
        going, rest = going[more], rest[more]
    written = np.arange(longest) < used[:, None]
    return characters[written], used.cumsum()[offsets[1:] - 1]
