"""The IoU of rotated boxes from torch's own operations, for derivatives beyond the first.

The area of the intersection comes from Green's theorem, relative to the centre of one box: half of
the sum, over the sides of both boxes, of the distance of the side times its length inside the other
box. Each of these is a few quotients, which torch can differentiate any number of times.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .derivatives_torch import with_value


class _Box(NamedTuple):
    cx: Tensor
    cy: Tensor
    half_w: Tensor
    half_h: Tensor
    cos: Tensor  # the first axis is (cos, sin), the second (-sin, cos), in pixels, y down
    sin: Tensor
    area: Tensor
    reach_x: Tensor  # half of its axis-aligned hull, as a constant
    reach_y: Tensor
    usable: Tensor


def rotated_iou_of_pairs(boxes1: Tensor, boxes2: Tensor, degrees: bool) -> Tensor:
    """[...], of boxes [..., 5] that broadcast against each other."""
    a, b = _load(boxes1, degrees), _load(boxes2, degrees)
    dx, dy = a.cx - b.cx, a.cy - b.cy
    # Where the axis-aligned hulls do not meet, the square of the distance may overflow.
    near = a.usable & b.usable & (dx.abs() < a.reach_x + b.reach_x)
    near = near & (dy.abs() < a.reach_y + b.reach_y)
    dx, dy = torch.where(near, dx, 0), torch.where(near, dy, 0)
    of_a, of_b = _moment(a, b, dx, dy, about_own=False), _moment(b, a, -dx, -dy, about_own=True)
    inter = (of_a + of_b) / 2
    inter = with_value(torch.minimum(inter, torch.minimum(a.area, b.area)), inter)
    overlap = near & (inter > 0)
    inter = torch.where(overlap, inter, 0)
    union = torch.where(overlap, a.area + b.area - inter, 1)
    return inter / union


def rotated_iou_matrix(boxes1: Tensor, boxes2: Tensor, degrees: bool) -> Tensor:
    """[..., N, M], of [..., N, 5] and [..., M, 5]."""
    return rotated_iou_of_pairs(boxes1.unsqueeze(-2), boxes2.unsqueeze(-3), degrees)


def _load(boxes: Tensor, degrees: bool) -> _Box:
    with torch.no_grad():
        area = boxes[..., 2] * boxes[..., 3]
        sized = (boxes[..., 2] > 0) & (boxes[..., 3] > 0) & (area > 0) & area.isfinite()
        usable = sized & boxes.isfinite().all(-1)
    box = boxes.new_tensor([0, 0, 1, 1, 0])
    cx, cy, w, h, angle = torch.where(usable[..., None], boxes, box).unbind(-1)
    quarter = 90 if degrees else math.pi / 2
    turns = (angle / quarter).round().detach()
    rest = angle - turns * quarter  # exact in degrees: upright boxes stay upright
    radians = rest * (math.pi / 180) if degrees else rest
    c, s = radians.cos(), -radians.sin()
    odd = turns.remainder(2) == 1
    half_w, half_h = torch.where(odd, h, w) / 2, torch.where(odd, w, h) / 2
    with torch.no_grad():
        reach_x = half_w * c + half_h * s.abs()
        reach_y = half_w * s.abs() + half_h * c
    return _Box(cx, cy, half_w, half_h, c, s, w * h, reach_x, reach_y, usable)


def _moment(own: _Box, other: _Box, dx: Tensor, dy: Tensor, *, about_own: bool) -> Tensor:
    """Sum over the sides of `own`: distance from the centre of one box times length in the other.

    dx, dy: offset from the centre of `other` to that of `own`.
    """
    x, y = dx * other.cos + dy * other.sin, dy * other.cos - dx * other.sin
    c = own.cos * other.cos + own.sin * other.sin
    s = own.sin * other.cos - own.cos * other.sin
    # Exact where sides are parallel, so that coinciding sides are recognised.
    parallel = s.abs() < torch.finfo(s.dtype).eps
    c, s = with_value(torch.where(parallel, 1, c), c), with_value(torch.where(parallel, 0, s), s)
    x, y = x[..., None, None], y[..., None, None]
    # [..., 2 directions, 2 opposite sides]: (ux, uy) points across a side, (-uy, ux) along it.
    across = torch.stack([own.half_w, own.half_h], -1)[..., None]
    along = across.flip(-2)
    ux, uy = torch.stack([c, -s], -1)[..., None], torch.stack([s, c], -1)[..., None]
    sign = across.new_tensor([-1, 1])
    distance = across if about_own else across + sign * (x * ux + y * uy)
    half_w, half_h = other.half_w[..., None, None], other.half_h[..., None, None]
    by_x = x + sign * across * ux, -uy, half_w
    by_y = y + sign * across * uy, ux, half_h
    return (distance * _length_within(along, by_x, by_y)).sum((-2, -1))


def _length_within(along: Tensor, *axes: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Length of start + t * direction, |t| <= along, within the limit of every axis.

    axes: start, direction and limit. A side that coincides with a side of the other box counts
    half, since both boxes have one there.
    """
    low, high, share = -along, along, torch.ones_like(along)
    for start, direction, limit in axes:
        # A tilt below this moves no end of a side by as much as rounding does.
        parallel = direction.abs() < torch.finfo(direction.dtype).eps
        step = torch.where(parallel, 1, direction)
        ends = (-limit - start) / step, (limit - start) / step
        low = torch.where(parallel, low, torch.maximum(low, torch.minimum(*ends)))
        high = torch.where(parallel, high, torch.minimum(high, torch.maximum(*ends)))
        within = ((start.abs() < limit).to(low.dtype) + (start.abs() <= limit).to(low.dtype)) / 2
        share = torch.where(parallel, share * within, share)
    length = high - low
    return torch.where(length > 0, length, 0) * share
