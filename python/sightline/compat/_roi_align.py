"""RoIAlign in plain torch operations: correct and differentiable, but not fast.

Bilinear weights are products of a row weight and a column weight, and so is their average over a
bin: the output of a region is W_y @ features @ W_x^T, over the few rows and columns it touches.
Source: He et al., "Mask R-CNN", ICCV 2017, section 3; samples as torchvision places them.
"""

import torch
from torch import Tensor


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """[K, C, pooled_height, pooled_width] from input [N, C, H, W] and rois [K, 5].

    A row of rois is the index of its image and x1, y1, x2, y2, which `spatial_scale` converts to
    coordinates of the input. A bin averages `sampling_ratio` x `sampling_ratio` samples, or, where
    that is not positive, as many as it has pixels, rounded up.
    """
    _check(input, rois)
    features, regions = _widened(input), _widened(rois.detach())
    pooled = (pooled_height, pooled_width)
    nothing = features.new_zeros(input.shape[1], *pooled)
    out = [nothing] * len(rois)
    for k, image, rows, columns in _regions(
        regions, tuple(input.shape[2:]), spatial_scale, pooled, sampling_ratio, aligned
    ):
        by_row, by_column = rows.weights.to(features), columns.weights.to(features)
        out[k] = by_row @ features[image, :, rows.at, columns.at] @ by_column.T
    return torch.stack(out or [nothing]).to(input.dtype)[: len(rois)]


def roi_align_backward(
    grad: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    batch_size: int,
    channels: int,
    height: int,
    width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The gradient with respect to the input, [batch_size, channels, height, width]."""
    wide = _widened(grad)
    out = wide.new_zeros(batch_size, channels, height, width)
    pooled = (pooled_height, pooled_width)
    for k, image, rows, columns in _regions(
        _widened(rois.detach()), (height, width), spatial_scale, pooled, sampling_ratio, aligned
    ):
        by_row, by_column = rows.weights.to(wide), columns.weights.to(wide)
        out[image, :, rows.at, columns.at] += by_row.T @ wide[k] @ by_column
    return out.to(grad.dtype)


class _Axis:
    """Weights of one region along one axis, for the positions `at` that it touches."""

    def __init__(self, weights: Tensor, at: slice):
        self.weights = weights[:, at]  # [bins, positions]
        self.at = at


def _regions(rois, size, scale, pooled, sampling_ratio, aligned):
    """Index, image, rows and columns of every region that touches the input."""
    offset = 0.5 if aligned else 0.0
    corners = rois[:, 1:] * scale - offset
    axes = [
        _axis_weights(
            corners[:, low], corners[:, low + 2], size[i], pooled[i], sampling_ratio, aligned
        )
        for i, low in enumerate((1, 0))
    ]
    for k, image in enumerate(rois[:, 0].long().tolist()):
        spans = [_touched(weights[k]) for weights in axes]
        if all(span.stop > span.start for span in spans):
            yield k, image, *(_Axis(weights[k], span) for weights, span in zip(axes, spans))


def _touched(weights: Tensor) -> slice:
    touched = weights.any(0).nonzero()[:, 0]
    return slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 0)


def _axis_weights(
    low: Tensor, high: Tensor, length: int, bins: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    """[K, bins, length]: the weight of each position in the average of each bin."""
    extent = high - low if aligned else (high - low).clamp(min=1)
    step = extent / bins
    if sampling_ratio > 0:
        samples = torch.full_like(step, sampling_ratio)
    else:
        samples = step.ceil().clamp(min=0)
    most = int(samples.max()) if len(samples) else 0
    number = torch.arange(most).to(step)
    # [K, bins, samples]
    at = (number + 0.5) / samples.clamp(min=1)[:, None]
    at = (
        low[:, None, None]
        + (torch.arange(bins).to(step)[:, None] + at[:, None]) * step[:, None, None]
    )
    inside = (at >= -1) & (at <= length) & (number < samples[:, None])[:, None]
    at = torch.where(inside, at, 0).clamp(0, length - 1)  # NaN counts as outside
    before = at.floor().clamp(max=max(length - 2, 0))
    share = torch.where(inside, 1 / samples.clamp(min=1)[:, None, None], 0)
    weights = low.new_zeros(len(low), bins, length)
    after = (before.long() + 1).clamp(max=length - 1)
    weights.scatter_add_(2, before.long(), share * (1 - (at - before)))
    weights.scatter_add_(2, after, share * (at - before))
    return weights


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _check(input: Tensor, rois: Tensor) -> None:
    if input.dim() != 4:
        raise ValueError(f"`input` must have shape [N, C, H, W], got {list(input.shape)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"`rois` must have shape [K, 5], got {list(rois.shape)}")
    images = rois[:, 0]
    if len(images) and not (images.min() >= 0 and images.max() < len(input)):
        raise ValueError(
            f"`rois` must name images from 0 to {len(input) - 1} in their first column, "
            f"got {images.min():g} to {images.max():g}"
        )


class RoIAlign(torch.autograd.Function):
    """`roi_align` with its own gradient: torch's would allocate a map of zeros per region."""

    @staticmethod
    def forward(ctx, input, rois, *numbers):
        ctx.save_for_backward(rois)
        ctx.shape, ctx.numbers = input.shape, numbers
        return roi_align(input, rois, *numbers)

    @staticmethod
    def backward(ctx, grad):
        (rois,) = ctx.saved_tensors
        scale, pooled_height, pooled_width, sampling_ratio, aligned = ctx.numbers
        pooled, shape = (pooled_height, pooled_width), tuple(ctx.shape)
        numbers = (scale, *pooled, *shape, sampling_ratio, aligned)
        by_input = roi_align_backward(grad, rois, *numbers)
        return by_input, None, *(None for _ in ctx.numbers)


def stack_regions(boxes: Tensor | list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """[K, 5] with the image index first, from a list of boxes per image; [K, 5] is unchanged."""
    if isinstance(boxes, Tensor):
        return boxes
    indexed = [torch.cat([torch.full_like(b[:, :1], i), b], 1) for i, b in enumerate(boxes)]
    return torch.cat(indexed) if indexed else torch.zeros(0, 5)
