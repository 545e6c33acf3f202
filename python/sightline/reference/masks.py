"""Masks as arrays of pixels, and their encodings in files, in plain NumPy.

This file is the specification of `sightline.metrics.shapes.masks`. It checks nothing and is never
optimised. A mask is bool [H, W]; pixels are counted down the columns.
"""

import math
from itertools import pairwise

import numpy as np

_FINE = 5  # steps per pixel of the grid on which polygons are drawn


def counts_from_mask(mask):
    """Lengths of the runs; the first is background, and 0 where the mask begins with foreground."""
    pixels = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], pixels])))
    if pixels.size == 0:
        return [0]
    return np.diff([0, *changes, pixels.size]).tolist()


def mask_from_counts(counts, height, width):
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def string_from_counts(counts):
    """COCO's string: five bits per character, low bits first, with the sixth set where more follow.

    From the fourth run on, the difference to the run two before is encoded; it may be negative.
    """
    out = bytearray()
    for i, count in enumerate(counts):
        value = int(count) - (int(counts[i - 2]) if i > 2 else 0)
        while True:
            digit, value = value & 31, value >> 5
            done = value == (-1 if digit & 16 else 0)
            out.append(48 + digit + (0 if done else 32))
            if done:
                break
    return bytes(out)


def counts_from_string(string):
    counts: list[int] = []
    value, shift = 0, 0
    for character in string:
        digit = character - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return counts


def mask_box_xywh(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4)
    x1, x2, y1, y2 = columns[0], columns[-1], rows[0], rows[-1]
    return np.array([x1, y1, x2 - x1 + 1, y2 - y1 + 1], np.float64)


def mask_iou(mask1, mask2, crowd=False):
    """IoU, or where mask2 is a crowd the share of mask1; 0 where they share no pixel."""
    both = np.count_nonzero(mask1 & mask2)
    either = np.count_nonzero(mask1) if crowd else np.count_nonzero(mask1 | mask2)
    return both / either if both else 0.0


def mask_from_polygons(rings, height, width):
    """Union of the rings."""
    mask = np.zeros((height, width), bool)
    for ring in rings:
        mask |= _mask_from_ring(ring, height, width)
    return mask


def _mask_from_ring(ring, height, width):
    """Walk along the outline on the fine grid; where it crosses a column's middle, pixels flip."""
    vertices = [(_on_grid(x), _on_grid(y)) for x, y in zip(ring[::2], ring[1::2])]
    pixels = np.zeros(height * width, bool)
    if len(vertices) < 3:
        return pixels.reshape(width, height).T
    path = []
    for start, end in zip(vertices, [*vertices[1:], vertices[0]]):
        path.extend(_points_between(start, end))
    for (x, y), (next_x, next_y) in pairwise(path):
        column = (min(x, next_x) + 0.5) / _FINE - 0.5
        if x == next_x or column != math.floor(column) or not 0 <= column < width:
            continue
        row = (min(y, next_y) + 0.5) / _FINE - 0.5
        first = math.ceil(min(max(row, 0), height))
        pixels[int(column) * height + first :] ^= True
    return pixels.reshape(width, height).T


def _on_grid(coordinate):
    return int(_FINE * coordinate + 0.5)  # rounds towards 0 where negative, as in pycocotools


def _points_between(start, end):
    """Points of the edge, a step apart on its longer side."""
    dx, dy = abs(end[0] - start[0]), abs(end[1] - start[1])
    if dx == dy == 0:
        return [start]
    along = 0 if dx >= dy else 1  # the axis of the longer side
    across = 1 - along
    low, high = sorted([start, end], key=lambda point: point[along])
    steps = high[along] - low[along]
    slope = (high[across] - low[across]) / steps
    points = []
    for t in range(steps + 1):
        point = [0, 0]
        point[along] = low[along] + t
        point[across] = int(low[across] + slope * t + 0.5)
        points.append((point[0], point[1]))
    return points if low is start else points[::-1]
