"""Boxes as offsets from anchors, and back."""

import math

import torch
from torch import Tensor

# No box is taken to be more than this times its anchor: exp() of a wild logit would overflow.
_MAX_LOG_SCALE = math.log(1000 / 16)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the deltas `[..., 4]` that `decode_boxes` turns into `boxes`; sides must be above 0.

    Deltas are `(dx, dy, dw, dh)`: the shift of the centre in anchor sides, and the logarithm of
    the ratio of sides. Source: Ren et al., "Faster R-CNN", NeurIPS 2015, equation 2.
    """
    anchor_sides = anchors[..., 2:] - anchors[..., :2]
    sides = boxes[..., 2:] - boxes[..., :2]
    shift = (boxes[..., :2] + sides / 2 - anchors[..., :2] - anchor_sides / 2) / anchor_sides
    return torch.cat((shift, (sides / anchor_sides).log()), -1)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes `[..., 4]` xyxy that `deltas` `[..., 4]` make of `anchors` `[..., 4]`.

    `dw` and `dh` are cut at log(1000 / 16), so the result is finite for finite deltas.
    """
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sides / 2 + deltas[..., :2] * sides
    half = sides * deltas[..., 2:].clamp(max=_MAX_LOG_SCALE).exp() / 2
    return torch.cat((centres - half, centres + half), -1)
