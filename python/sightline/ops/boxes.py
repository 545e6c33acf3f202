"""Conversions, checks and codings of boxes.

Conversions are plain tensor and array code; `encode_boxes` and `decode_boxes` are kernels. All but
those that return indices are differentiable on tensors.
"""

import math
from typing import Any

import numpy as np

from .arguments import (
    as_floats,
    backend,
    check_choice,
    check_number,
    check_numbers,
    has_torch_ops,
    is_tensor,
    torch,
)
from .arguments import (
    check_boxes as check_boxes_shape,
)

if has_torch_ops():
    from . import _box_coder_torch  # noqa: F401  registers the rules

Array = Any  # a torch.Tensor or a numpy.ndarray

ALIGNED_FORMATS = ("xyxy", "xywh", "cxcywh")
ROTATED_FORMATS = ("xywhr", "cxcywhr", "xyxyxyxy")
_COLUMNS = {**dict.fromkeys(ALIGNED_FORMATS, 4), "xywhr": 5, "cxcywhr": 5, "xyxyxyxy": 8}

_SHOWN_ROWS = 5  # of each reason, in the message of check_boxes


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Boxes in another format.

    Args:
        boxes: [..., 4], or for the rotated formats [..., 5] or [..., 8].
        in_fmt: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and size); or a
            rotated format: "xywhr" (corner, size, angle), "cxcywhr" (centre, size, angle) or
            "xyxyxyxy" (four corners). The angle is in degrees, counter-clockwise in an image whose
            y axis points down; the corner of "xywhr" is the top left corner after the rotation; the
            four corners start there and go on to top right, bottom right and bottom left.
        out_fmt: one of the same formats; rotated where `in_fmt` is.

    Returns:
        [..., 4], [..., 5] or [..., 8]. Floating dtypes are kept. Integers stay integers between
        "xyxy" and "xywh" (int32 where they are narrower, so that sums do not wrap) and between
        rotated formats (rounded to the nearest). From and to "cxcywh" they give float32, so that
        no half is lost.

    Raises:
        ValueError: a wrong shape, an unknown format, or one aligned and one rotated format.

    NaN and infinity stay in the columns that they reach. The names and the angle are those of
    torchvision.

    >>> import numpy as np
    >>> box_convert(np.array([[1.0, 2, 4, 6]]), "xywh", "cxcywh")
    array([[3., 5., 4., 6.]])
    """
    backend(boxes=boxes)
    check_choice("in_fmt", in_fmt, (*ALIGNED_FORMATS, *ROTATED_FORMATS))
    check_choice("out_fmt", out_fmt, (*ALIGNED_FORMATS, *ROTATED_FORMATS))
    _check_columns("boxes", boxes, _COLUMNS[in_fmt])
    if (in_fmt in ALIGNED_FORMATS) != (out_fmt in ALIGNED_FORMATS):
        raise ValueError(
            "`in_fmt` and `out_fmt` must be both aligned or both rotated, "
            f"got {in_fmt!r} and {out_fmt!r}"
        )
    if in_fmt == out_fmt:
        return boxes
    if in_fmt in ROTATED_FORMATS:
        return _convert_rotated(boxes, in_fmt, out_fmt)
    if _is_integer(boxes):
        if "cxcywh" in (in_fmt, out_fmt):
            (boxes,) = as_floats(boxes=boxes)
        else:
            boxes = _widened(boxes)
    a, b, c, d = _columns(boxes)
    if in_fmt == "xywh":
        c, d = a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if out_fmt == "xywh":
        c, d = c - a, d - b
    elif out_fmt == "cxcywh":
        w, h = c - a, d - b
        a, b, c, d = a + w / 2, b + h / 2, w, h
    return _stack([a, b, c, d])


def box_area(boxes: Array, fmt: str = "xyxy") -> Array:
    """Area of each box.

    Args:
        boxes: [..., 4].
        fmt: "xyxy", "xywh" or "cxcywh".

    Returns:
        [...], 0 where a side is negative, NaN where a coordinate is. float16, bfloat16 and integers
        give float32, so that large boxes do not overflow; float64 stays.

    >>> import numpy as np
    >>> box_area(np.array([[0, 0, 250, 250], [9, 9, 3, 3]], np.uint8))
    array([62500.,     0.], dtype=float32)
    """
    backend(boxes=boxes)
    check_choice("fmt", fmt, ALIGNED_FORMATS)
    _check_columns("boxes", boxes, 4)
    a, b, c, d = _columns(as_floats(boxes=boxes)[0])
    w, h = (c - a, d - b) if fmt == "xyxy" else (c, d)
    if is_tensor(boxes):
        return w.clamp(min=0) * h.clamp(min=0)
    return np.maximum(w, 0) * np.maximum(h, 0)


def clip_boxes_to_image(boxes: Array, size: tuple[float, float]) -> Array:
    """Boxes clipped to an image.

    Args:
        boxes: [..., 4] xyxy.
        size: (height, width) of the image, not negative.

    Returns:
        [..., 4] in the same dtype; NaN stays NaN. Integers are clipped to `size` rounded down.

    >>> import numpy as np
    >>> clip_boxes_to_image(np.array([[-5, 2, 700, 9]]), (480, 640))
    array([[  0,   2, 640,   9]])
    """
    backend(boxes=boxes)
    _check_columns("boxes", boxes, 4)
    height, width = _check_size(size)
    if _is_integer(boxes):
        # A limit beyond the range of the dtype clips nothing, and the dtype cannot hold it.
        largest = (torch.iinfo if is_tensor(boxes) else np.iinfo)(boxes.dtype).max
        height, width = (int(min(limit, largest)) for limit in (height, width))
    x1, y1, x2, y2 = _columns(boxes)
    if is_tensor(boxes):
        xs, ys = (lambda v: v.clamp(0, width)), (lambda v: v.clamp(0, height))
    else:
        xs, ys = (lambda v: np.clip(v, 0, width)), (lambda v: np.clip(v, 0, height))
    return _stack([xs(x1), ys(y1), xs(x2), ys(y2)])


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """Indices, int64 [K] ascending, of the xyxy boxes [N, 4] with both sides at least `min_size`.

    Sides are computed in float32 for float16 and bfloat16, and in int64 for integers. A box with a
    NaN side is removed. On CUDA there is one synchronisation, for the size of the result.

    >>> import numpy as np
    >>> remove_small_boxes(np.array([[0, 0, 9, 9], [0, 0, 9, 2]]), 3)
    array([0])
    """
    backend(boxes=boxes)
    check_boxes_shape("boxes", boxes)
    min_size = check_number("min_size", min_size)
    if _is_integer(boxes):
        boxes = boxes.to(torch.int64) if is_tensor(boxes) else boxes.astype(np.int64)
    else:
        (boxes,) = as_floats(boxes=boxes)
    x1, y1, x2, y2 = _columns(boxes)
    keep = (x2 - x1 >= min_size) & (y2 - y1 >= min_size)
    return torch.where(keep)[0] if is_tensor(boxes) else np.flatnonzero(keep)


def check_boxes(boxes: Array, *, size: tuple[float, float] | None = None) -> Array:
    """Return `boxes` unchanged, or raise a ValueError that names the invalid rows.

    The other ops have a defined result for invalid rows and do not report them.

    Args:
        boxes: [N, 4] xyxy.
        size: (height, width) of the image that must contain them; None does not check this.

    Returns:
        `boxes` itself, where every row is a box with a positive area.

    Raises:
        ValueError: a row with NaN, an infinite coordinate, x2 < x1 or y2 < y1 (inverted), no area
            (its area underflowing to 0 included), an area that overflows the computing type, or an
            edge outside the image. Each row counts once, for the first of these reasons; the
            message gives the counts, and the first rows of each reason.

    The result depends on the values: on CUDA this synchronises, and it cannot be part of a compiled
    graph.

    >>> import numpy as np
    >>> check_boxes(np.array([[0, 0, 2, 2], [3, 3, 1, 4]]))
    Traceback (most recent call last):
    ValueError: `boxes` has 1 bad row of 2: 1 inverted (row 1)
    """
    backend(boxes=boxes)
    check_boxes_shape("boxes", boxes)
    (values,) = as_floats(boxes=boxes.detach().cpu() if is_tensor(boxes) else boxes)
    values = np.asarray(values)
    x1, y1, x2, y2 = _columns(values)
    with np.errstate(all="ignore"):  # the invalid rows are those that warn
        area = (x2 - x1) * (y2 - y1)
        reasons = [
            ("with NaN", np.isnan(values).any(1)),
            ("infinite", np.isinf(values).any(1)),
            ("inverted", (x2 < x1) | (y2 < y1)),
            ("without area", area == 0),
            ("whose area overflows", ~np.isfinite(area)),
        ]
        if size is not None:
            height, width = _check_size(size)
            outside = (x1 < 0) | (y1 < 0) | (x2 > width) | (y2 > height)
            reasons.append((f"outside the image of {height:g} x {width:g}", outside))
    found = []
    left = np.ones(len(values), bool)
    for reason, rows in reasons:
        of_reason = np.flatnonzero(rows & left)
        left &= ~rows
        if len(of_reason):
            found.append(f"{len(of_reason)} {reason} ({_list_rows(of_reason)})")
    if found:
        bad = len(values) - int(left.sum())
        rows_word = "row" if bad == 1 else "rows"
        raise ValueError(f"`boxes` has {bad} bad {rows_word} of {len(values)}: {'; '.join(found)}")
    return boxes


def encode_boxes(
    boxes: Array, anchors: Array, weights: tuple[float, float, float, float] = (1, 1, 1, 1)
) -> Array:
    """Encode boxes relative to anchors as deltas, which `decode_boxes` turns back into boxes.

    Args:
        boxes: [..., 4] xyxy. float16, bfloat16 and integers are computed in float32.
        anchors: [..., 4] xyxy; the leading dimensions of the two broadcast.
        weights: factors of dx, dy, dw, dh; finite, not 0.

    Returns:
        [..., 4]: the offset of the centres in anchor sizes, and the logarithms of the size ratios.
        Differentiable with respect to both, to any order and in forward mode.

    Raises:
        ValueError, TypeError: a wrong shape, device, dtype or weight.

    Sides that are not positive are not reported. A box without size (also an inverted one) has dw
    or dh -inf, which decodes to a side of 0; its gradient there is 0. For an anchor without size
    the deltas along that axis are 0. torchvision gives NaN or infinities for both. A coordinate
    that is not finite gives a delta that is not finite, along its axis.

    Source: Girshick et al., "Rich feature hierarchies", CVPR 2014, appendix C.

    >>> import numpy as np
    >>> encode_boxes(np.array([[5.0, 0, 25, 20]]), np.array([[0.0, 0, 10, 20]])).round(4)
    array([[1.    , 0.    , 0.6931, 0.    ]])
    """
    native = backend(boxes=boxes, anchors=anchors)
    factors = _check_weights(weights)
    boxes, anchors = _broadcast("boxes", boxes, anchors)
    return native.encode_boxes(boxes, anchors, *factors)


def decode_boxes(
    deltas: Array,
    anchors: Array,
    weights: tuple[float, float, float, float] = (1, 1, 1, 1),
    *,
    size: tuple[float, float] | None = None,
) -> Array:
    """Decode the deltas of `encode_boxes` to boxes, in one pass with the clipping to the image.

    Args:
        deltas: [..., 4]. float16, bfloat16 and integers are computed in float32.
        anchors: [..., 4] xyxy; the leading dimensions of the two broadcast, such as those of
            [B, A, 4] deltas and [A, 4] anchors, without a copy.
        weights: divisors of dx, dy, dw, dh; finite, not 0.
        size: (height, width) to clip the boxes to, as `clip_boxes_to_image` does; None for no
            clipping.

    Returns:
        [..., 4] xyxy. A side grows at most by a factor of 62.5 (1000 / 16, as in Detectron), so
        that no exponential overflows. Differentiable with respect to both, to any order and in
        forward mode; the gradient is 0 where a side is at that limit or an edge was clipped.

    Raises:
        ValueError, TypeError: a wrong shape, device, dtype, weight or size.

    An anchor without size gives a box without size, and an inverted anchor an inverted box; NaN
    gives NaN along its axis, clipped or not.

    >>> import numpy as np
    >>> decode_boxes(np.array([[1.0, 0, 0, 0]]), np.array([[0.0, 0, 10, 20]]), size=(16, 16))
    array([[10.,  0., 16., 16.]])
    """
    native = backend(deltas=deltas, anchors=anchors)
    divisors = _check_weights(weights)
    height, width = (0.0, 0.0) if size is None else _check_size(size)
    deltas, anchors = _broadcast("deltas", deltas, anchors)
    return native.decode_boxes(deltas, anchors, *divisors, size is not None, height, width)


def _stack(columns: list[Array]) -> Array:
    return torch.stack(columns, -1) if is_tensor(columns[0]) else np.stack(columns, -1)


def _columns(boxes: Array) -> tuple[Array, ...]:
    return tuple(boxes[..., k] for k in range(boxes.shape[-1]))


def _check_columns(name: str, boxes: Array, columns: int) -> None:
    if len(boxes.shape) == 0 or boxes.shape[-1] != columns:
        raise ValueError(f"`{name}` must have shape [..., {columns}], got {list(boxes.shape)}")


def _check_size(size: Any) -> tuple[float, float]:
    try:
        height, width = size
    except (TypeError, ValueError):
        raise ValueError(f"`size` must be (height, width), got {size!r}") from None
    height, width = check_number("size[0]", height), check_number("size[1]", width)
    if not (height >= 0 and width >= 0):
        raise ValueError(f"`size` must be (height, width), not negative, got {size!r}")
    return height, width


def _check_weights(weights: Any) -> tuple[float, ...]:
    numbers = tuple(check_numbers("weights", weights))
    if len(numbers) != 4 or not all(math.isfinite(w) and w != 0 for w in numbers):
        raise ValueError(f"`weights` must be four finite numbers other than 0, got {weights!r}")
    return numbers


def _broadcast(name: str, rows: Array, anchors: Array) -> tuple[Array, Array]:
    """Rows in their common shape, and the anchors, which are used in turn."""
    _check_columns(name, rows, 4)
    _check_columns("anchors", anchors, 4)
    rows, anchors = as_floats(**{name: rows}, anchors=anchors)
    # Compare the number of dimensions first: a symbolic batch size must not be compared with the
    # number of anchors.
    if len(rows.shape) == len(anchors.shape) and rows.shape == anchors.shape:
        return rows, anchors
    shapes = torch.broadcast_shapes if is_tensor(rows) else np.broadcast_shapes
    try:
        shape = shapes(rows.shape, anchors.shape)
    except (RuntimeError, ValueError):
        raise ValueError(
            f"`{name}` and `anchors` must have shapes that broadcast, "
            f"got {list(rows.shape)} and {list(anchors.shape)}"
        ) from None
    while len(anchors.shape) > 1 and anchors.shape[0] == 1:
        anchors = anchors[0]
    if tuple(shape[-len(anchors.shape) :]) != tuple(anchors.shape):
        anchors = _broadcast_to(anchors, shape)
    return _broadcast_to(rows, shape), anchors


def _broadcast_to(values: Array, shape: tuple[int, ...]) -> Array:
    if is_tensor(values):
        return values.expand(shape)
    return np.ascontiguousarray(np.broadcast_to(values, shape))


def _is_integer(values: Array) -> bool:
    """Whether the dtype is an integer type; TypeError where it does not hold real numbers."""
    if is_tensor(values):
        if values.dtype == torch.bool or values.dtype.is_complex:
            raise TypeError(f"`boxes` must hold real numbers, got dtype {values.dtype}")
        return not values.dtype.is_floating_point
    if values.dtype.kind not in "fiu":
        raise TypeError(f"`boxes` must hold real numbers, got dtype {values.dtype}")
    return values.dtype.kind in "iu"


def _widened(boxes: Array) -> Array:
    """Signed integers of at least 32 bits, so that differences have a sign; uint64 is kept."""
    bits = boxes.dtype.itemsize * 8
    unsigned = str(boxes.dtype).removeprefix("torch.").startswith("u")
    if bits < 32 or (bits == 32 and unsigned):
        name = "int32" if bits < 32 else "int64"
        return boxes.to(getattr(torch, name)) if is_tensor(boxes) else boxes.astype(name)
    return boxes


def _convert_rotated(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Convert between rotated formats, through corner, size and angle in float32 or float64."""
    xp: Any = torch if is_tensor(boxes) else np
    wide = _is_integer(boxes) or boxes.dtype.itemsize > 4
    dtype = xp.float64 if wide else xp.float32
    values = boxes.to(dtype) if is_tensor(boxes) else boxes.astype(dtype)
    columns = _columns(values)
    if in_fmt == "xyxyxyxy":
        x1, y1, x2, y2, x3, y3, _, _ = columns
        w, h = xp.hypot(x2 - x1, y2 - y1), xp.hypot(x3 - x2, y3 - y2)
        # From the edge itself: dividing by a width of 0 would give NaN.
        angle = xp.arctan2(y1 - y2, x2 - x1)
        degrees = angle * (180 / math.pi)
        x, y = x1, y1
    else:
        x, y, w, h, degrees = columns
        angle = degrees * (math.pi / 180)
    cos, sin = xp.cos(angle), xp.sin(angle)
    if in_fmt == "cxcywhr":
        x, y = x - (w * cos + h * sin) / 2, y - (h * cos - w * sin) / 2
    if out_fmt == "cxcywhr":
        x, y = x + (w * cos + h * sin) / 2, y + (h * cos - w * sin) / 2
    if out_fmt == "xyxyxyxy":
        right_x, right_y = x + w * cos, y - w * sin
        down_x, down_y = h * sin, h * cos
        corners = [x, y, right_x, right_y, right_x + down_x, right_y + down_y]
        result = _stack([*corners, x + down_x, y + down_y])
    else:
        result = _stack([x, y, w, h, degrees])
    if _is_integer(boxes):
        result = xp.round(result)
    return result.to(boxes.dtype) if is_tensor(boxes) else result.astype(boxes.dtype)


def _list_rows(rows: np.ndarray) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    more = len(rows) - _SHOWN_ROWS
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}" + (
        f" and {more} more" if more > 0 else ""
    )
