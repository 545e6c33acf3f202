"""The forms of IoU in `csrc/common/box.h` from torch's own operations, for further derivatives.

Values are the same as there, and first derivatives as in `csrc/iou/gradient.h`: where two edges are
equal each box gets half, and invalid boxes have no gradient. Undefined operands are replaced before
the computation, not only after: the derivative of a branch that `torch.where` drops can be NaN, and
0 times NaN is NaN.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .derivatives_torch import with_value


class _Box(NamedTuple):
    """Coordinates that broadcast with those of another box; all 0 where the box is not usable."""

    x1: Tensor
    y1: Tensor
    x2: Tensor
    y2: Tensor
    area: Tensor
    usable: Tensor  # finite coordinates, and a finite area


def _load(boxes: Tensor) -> _Box:
    with torch.no_grad():
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
        usable = boxes.isfinite().all(-1) & sides.prod(-1).isfinite()
    x1, y1, x2, y2 = torch.where(usable[..., None], boxes, 0).unbind(-1)
    w, h = x2 - x1, y2 - y1
    return _Box(x1, y1, x2, y2, _product(w, h, (w >= 0) & (h >= 0)), usable)


def _product(w: Tensor, h: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, w, 0) * torch.where(where, h, 0)


def _quotient(numerator: Tensor, denominator: Tensor, where: Tensor) -> Tensor:
    """0 elsewhere, and so are its derivatives."""
    quotient = torch.where(where, numerator, 0) / torch.where(where, denominator, 1)
    return torch.where(where, quotient, 0)


def _intersection(a: _Box, b: _Box) -> Tensor:
    w = torch.minimum(a.x2, b.x2) - torch.maximum(a.x1, b.x1)
    h = torch.minimum(a.y2, b.y2) - torch.maximum(a.y1, b.y1)
    return _product(w, h, (w > 0) & (h > 0))


def _union(a: _Box, b: _Box) -> Tensor:
    return a.area + b.area - _intersection(a, b)


def _iou(a: _Box, b: _Box, eps: float) -> Tensor:
    union = _union(a, b)
    return _quotient(_intersection(a, b), union + eps, union > 0)


def _hull(a: _Box, b: _Box) -> tuple[Tensor, Tensor]:
    width = torch.maximum(a.x2, b.x2) - torch.minimum(a.x1, b.x1)
    return width, torch.maximum(a.y2, b.y2) - torch.minimum(a.y1, b.y1)


def _hull_penalty(a: _Box, b: _Box, eps: float) -> Tensor:
    width, height = _hull(a, b)
    union = _union(a, b)
    with torch.no_grad():
        hull = width.clamp(min=0) * height.clamp(min=0)
        beyond = hull == math.inf  # then all of it counts as uncovered
        defined = hull.isfinite() & (hull > 0) & union.isfinite()
    hull = _product(width, height, defined)
    share = _quotient(hull - union, hull + eps, defined)
    share = with_value(share.clamp(0, 1), share)
    return torch.where(beyond, 1, share)


def _centre_penalty(a: _Box, b: _Box, eps: float) -> Tensor:
    dx = (a.x1 * 0.5 + a.x2 * 0.5) - (b.x1 * 0.5 + b.x2 * 0.5)
    dy = (a.y1 * 0.5 + a.y2 * 0.5) - (b.y1 * 0.5 + b.y2 * 0.5)
    width, height = (side.clamp(min=0) for side in _hull(a, b))
    with torch.no_grad():
        distance = dx * dx + dy * dy
        diagonal = width * width + height * height + eps
        defined = (distance <= diagonal) & diagonal.isfinite() & (diagonal > 0)
        ratio = (distance / diagonal).detach().nan_to_num(1).clamp(max=1)
        elsewhere = torch.where(distance > 0, ratio, 0)
    dx, dy, width, height = (torch.where(defined, t, 0) for t in (dx, dy, width, height))
    ratio = _quotient(dx * dx + dy * dy, width * width + height * height + eps, defined)
    return torch.where(defined, ratio, elsewhere)


def _angle(box: _Box) -> Tensor:
    w, h = (with_value(v.clamp(min=0), v) for v in (box.x2 - box.x1, box.y2 - box.y1))
    size = torch.maximum(w, h).detach()  # after division by it, squares do not overflow
    has_angle = size > 0
    size = torch.where(has_angle, size, 1)
    w, h = w / size, torch.where(has_angle, h / size, 1)
    return torch.where(has_angle, torch.atan2(w, h), 0)


def _aspect_difference(a: _Box, b: _Box) -> Tensor:
    return 4 / math.pi**2 * (_angle(a) - _angle(b)).square()


def _aspect_penalty(a: _Box, b: _Box, union_eps: float, eps: float) -> Tensor:
    v = _aspect_difference(a, b)
    scale = 1 - _iou(a, b, union_eps) + v + eps
    return _quotient(v * v, scale, scale > 0)


# Two boxes, the eps that losses add to the union (0 in the other forms), and the penalty's eps.
_FORMS: dict[str, Callable[[_Box, _Box, float, float], Tensor]] = {
    "box_iou": lambda a, b, union_eps, eps: _iou(a, b, 0),
    "box_ioa": lambda a, b, union_eps, eps: _quotient(_intersection(a, b), a.area, a.area > 0),
    "generalized_box_iou": lambda a, b, union_eps, eps: (
        _iou(a, b, union_eps) - _hull_penalty(a, b, eps)
    ),
    "distance_box_iou": lambda a, b, union_eps, eps: (
        _iou(a, b, union_eps) - _centre_penalty(a, b, eps)
    ),
    "complete_box_iou": lambda a, b, union_eps, eps: (
        _iou(a, b, union_eps) - _centre_penalty(a, b, eps) - _aspect_penalty(a, b, union_eps, eps)
    ),
}


def overlap_of_pairs(form: str, boxes1: Tensor, boxes2: Tensor, eps: float = 0) -> Tensor:
    """[...], for boxes [..., 4] that broadcast against each other."""
    a, b = _load(boxes1), _load(boxes2)
    return torch.where(a.usable & b.usable, _FORMS[form](a, b, 0, eps), 0)


def overlap_matrix(form: str, boxes1: Tensor, boxes2: Tensor, eps: float = 0) -> Tensor:
    """[..., N, M], for [..., N, 4] and [..., M, 4], whose leading dimensions broadcast."""
    return overlap_of_pairs(form, boxes1.unsqueeze(-2), boxes2.unsqueeze(-3), eps)


def loss_of_pairs(form: str, boxes1: Tensor, boxes2: Tensor, eps: float) -> Tensor:
    """1 minus the measure, with `eps` added to the union too."""
    a, b = _load(boxes1), _load(boxes2)
    return 1 - torch.where(a.usable & b.usable, _FORMS[form](a, b, eps, eps), 0)


def aspect_penalty_with_constant_alpha(boxes1: Tensor, boxes2: Tensor, eps: float) -> Tensor:
    """[...], the penalty in the CIoU loss, with its weight as a constant."""
    a, b = _load(boxes1), _load(boxes2)
    v = _aspect_difference(a, b)
    scale = 1 - _iou(a, b, eps) + v + eps
    alpha = _quotient(v, scale, scale > 0).detach()
    return torch.where(a.usable & b.usable, alpha * v, 0)
