"""Conversions and codings of boxes, one box at a time."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]
Four = tuple[float, float, float, float]

_TO_XYXY: dict[str, Callable[..., Four]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda cx, cy, w, h: (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2),
}
_FROM_XYXY: dict[str, Callable[..., Four]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    "cxcywh": lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
}


def _rows(rows: list[Four]) -> Boxes:
    return np.array(rows, np.float64).reshape(-1, 4)


def box_convert(boxes: Boxes, in_fmt: str, out_fmt: str) -> Boxes:
    """[N, 4] float64 in format `out_fmt`: xyxy, xywh or cxcywh."""
    return _rows([_FROM_XYXY[out_fmt](*_TO_XYXY[in_fmt](*map(float, box))) for box in boxes])


def box_area(boxes: Boxes) -> Boxes:
    """[N]: width times height, 0 where one is negative."""
    return np.array([max(x2 - x1, 0) * max(y2 - y1, 0) for x1, y1, x2, y2 in boxes], np.float64)


def clip_boxes_to_image(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """[N, 4] cut to an image of (height, width)."""
    height, width = size
    limits = (width, height, width, height)
    return _rows([tuple(min(max(v, 0), m) for v, m in zip(box, limits)) for box in boxes])


def remove_small_boxes(boxes: Boxes, min_size: float) -> NDArray[np.int64]:
    """Indices of the boxes whose sides are both at least `min_size`."""
    sides = ((x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)
    return np.array([i for i, side in enumerate(sides) if min(side) >= min_size], np.int64)


def encode_boxes(boxes: Boxes, anchors: Boxes, weights: Four = (1, 1, 1, 1)) -> Boxes:
    """[N, 4] deltas of R-CNN: offsets of the centres in anchor sizes, logarithms of the ratios."""
    rows: list[Four] = []
    for box, anchor in zip(
        box_convert(boxes, "xyxy", "cxcywh"), box_convert(anchors, "xyxy", "cxcywh")
    ):
        (cx, cy, w, h), (ax, ay, aw, ah) = box, anchor
        deltas = ((cx - ax) / aw, (cy - ay) / ah, math.log(w / aw), math.log(h / ah))
        rows.append(tuple(d * weight for d, weight in zip(deltas, weights)))  # type: ignore[arg-type]
    return _rows(rows)


def decode_boxes(deltas: Boxes, anchors: Boxes, weights: Four = (1, 1, 1, 1)) -> Boxes:
    """[N, 4] xyxy: the inverse of `encode_boxes`, with sizes that grow at most 62.5 times."""
    rows: list[Four] = []
    for delta, anchor in zip(deltas, box_convert(anchors, "xyxy", "cxcywh")):
        dx, dy, dw, dh = (float(d) / weight for d, weight in zip(delta, weights))
        ax, ay, aw, ah = anchor
        w, h = aw * min(math.exp(min(dw, 700)), 62.5), ah * min(math.exp(min(dh, 700)), 62.5)
        rows.append((ax + dx * aw, ay + dy * ah, w, h))
    return box_convert(_rows(rows), "cxcywh", "xyxy")
