"""Conversions, checks and codings of boxes, one box at a time."""

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

_MAX_LOG_GROWTH = math.log(1000 / 16)


def _rows(rows: list, columns: int = 4) -> Boxes:
    return np.array(rows, np.float64).reshape(-1, columns)


def box_convert(boxes: Boxes, in_fmt: str, out_fmt: str) -> Boxes:
    """[N, 4], [N, 5] or [N, 8] float64 in format `out_fmt`; both are aligned, or both rotated."""
    if in_fmt in _TO_XYXY:
        return _rows([_FROM_XYXY[out_fmt](*_TO_XYXY[in_fmt](*map(float, box))) for box in boxes])
    corners = [_rotated_corners(box, in_fmt) for box in boxes]
    columns = 8 if out_fmt == "xyxyxyxy" else 5
    return _rows([_from_corners(box, out_fmt) for box in corners], columns)


def _rotated_corners(box: Boxes, fmt: str) -> Boxes:
    """[4, 2]: top left, top right, bottom right and bottom left, before the box was turned."""
    if fmt == "xyxyxyxy":
        return _rows([box]).reshape(4, 2)
    x, y, w, h, degrees = map(float, box)
    angle = math.radians(degrees)
    # Counter-clockwise on a screen whose y axis points down.
    right = np.array([w * math.cos(angle), -w * math.sin(angle)])
    down = np.array([h * math.sin(angle), h * math.cos(angle)])
    corner = np.array([x, y]) - ((right + down) / 2 if fmt == "cxcywhr" else 0)
    return np.stack([corner, corner + right, corner + right + down, corner + down])


def _from_corners(corners: Boxes, fmt: str) -> list[float]:
    if fmt == "xyxyxyxy":
        return list(corners.ravel())
    right, down = corners[1] - corners[0], corners[2] - corners[1]
    x, y = corners[0] + ((right + down) / 2 if fmt == "cxcywhr" else 0)
    return [
        x,
        y,
        math.hypot(*right),
        math.hypot(*down),
        math.degrees(math.atan2(-right[1], right[0])),
    ]


def box_area(boxes: Boxes, fmt: str = "xyxy") -> Boxes:
    """[N]: width times height, 0 where a side is negative."""
    sides = box_convert(boxes, fmt, "xywh")[:, 2:]
    return np.array([max(w, 0) * max(h, 0) for w, h in sides], np.float64)


def clip_boxes_to_image(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    """[N, 4] clipped to an image of (height, width); NaN stays NaN."""
    height, width = size
    limits = (width, height, width, height)
    return _rows([tuple(_clip(v, m) for v, m in zip(box, limits)) for box in boxes])


def _clip(value: float, limit: float) -> float:
    return value if math.isnan(value) else min(max(value, 0), limit)


def remove_small_boxes(boxes: Boxes, min_size: float) -> NDArray[np.int64]:
    """Indices of the boxes whose sides are both at least `min_size`."""
    sides = ((x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)
    keep = [w >= min_size and h >= min_size for w, h in sides]
    return np.array([i for i, kept in enumerate(keep) if kept], np.int64)


def check_boxes(boxes: Boxes, *, size: tuple[float, float] | None = None) -> Boxes:
    """`boxes`, or ValueError with the count and the first five rows of each reason."""
    rows: dict[str, list[int]] = {}
    for i, box in enumerate(boxes):
        reason = _what_is_wrong(box, size)
        if reason:
            rows.setdefault(reason, []).append(i)
    order = ("with NaN", "infinite", "inverted", "without area", "whose area overflows", "outside")
    parts = []
    for reason in sorted(rows, key=lambda r: [r.startswith(o) for o in order].index(True)):
        of_reason = rows[reason]
        shown = ", ".join(map(str, of_reason[:5]))
        more = f" and {len(of_reason) - 5} more" if len(of_reason) > 5 else ""
        word = "row" if len(of_reason) == 1 else "rows"
        parts.append(f"{len(of_reason)} {reason} ({word} {shown}{more})")
    if parts:
        bad = sum(map(len, rows.values()))
        word = "row" if bad == 1 else "rows"
        raise ValueError(f"`boxes` has {bad} bad {word} of {len(boxes)}: {'; '.join(parts)}")
    return boxes


def _what_is_wrong(box: Boxes, size: tuple[float, float] | None) -> str:
    x1, y1, x2, y2 = map(float, box)
    if any(map(math.isnan, (x1, y1, x2, y2))):
        return "with NaN"
    if any(map(math.isinf, (x1, y1, x2, y2))):
        return "infinite"
    if x2 < x1 or y2 < y1:
        return "inverted"
    if (x2 - x1) * (y2 - y1) == 0:
        return "without area"
    if math.isinf((x2 - x1) * (y2 - y1)):
        return "whose area overflows"
    if size is not None and not (x1 >= 0 and y1 >= 0 and x2 <= size[1] and y2 <= size[0]):
        return f"outside the image of {size[0]:g} x {size[1]:g}"
    return ""


def encode_boxes(boxes: Boxes, anchors: Boxes, weights: Four = (1, 1, 1, 1)) -> Boxes:
    """[N, 4] deltas of R-CNN: offsets of the centres in anchor sizes, logarithms of size ratios."""
    rows = []
    for box, anchor in zip(boxes, anchors):
        dx, dw = _encode_axis(*map(float, (box[0], box[2], anchor[0], anchor[2])))
        dy, dh = _encode_axis(*map(float, (box[1], box[3], anchor[1], anchor[3])))
        rows.append([d * weight for d, weight in zip((dx, dy, dw, dh), weights)])
    return _rows(rows)


def _encode_axis(low: float, high: float, a_low: float, a_high: float) -> tuple[float, float]:
    """Shift and log ratio; (0, 0) where the anchor has no size, -inf where the box has none."""
    size, unit = high - low, a_high - a_low
    if unit <= 0:
        return 0.0, 0.0
    shift = ((low - a_low) + (high - a_high)) / 2 / unit  # of the centres, from the edges
    ratio = size / unit
    if ratio <= 0:
        return shift, -math.inf
    return shift, math.log(ratio)  # NaN of NaN


def decode_boxes(
    deltas: Boxes,
    anchors: Boxes,
    weights: Four = (1, 1, 1, 1),
    *,
    size: tuple[float, float] | None = None,
) -> Boxes:
    """[N, 4] xyxy: the inverse of `encode_boxes`, with sides that grow at most 62.5 times."""
    rows = []
    for delta, anchor in zip(deltas, anchors):
        dx, dy, dw, dh = (float(d) / weight for d, weight in zip(delta, weights))
        x1, x2 = _decode_axis(dx, dw, float(anchor[0]), float(anchor[2]))
        y1, y2 = _decode_axis(dy, dh, float(anchor[1]), float(anchor[3]))
        rows.append([x1, y1, x2, y2])
    boxes = _rows(rows)
    return boxes if size is None else clip_boxes_to_image(boxes, size)


def _decode_axis(shift: float, scale: float, a_low: float, a_high: float) -> tuple[float, float]:
    unit = a_high - a_low
    if scale > _MAX_LOG_GROWTH:  # NaN is not
        scale = _MAX_LOG_GROWTH
    centre, size = (a_low + a_high) / 2 + shift * unit, unit * math.exp(scale)
    return centre - size / 2, centre + size / 2
