"""The ops of torchvision's own library, for a torchvision that cannot load it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sightline import ops
from sightline.ops.derivatives_torch import register_derivatives

from ._roi_align import roi_align, roi_align_backward

# Name and schema of every op of torchvision's library, as it declares them.
SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "box_iou_rotated": "(Tensor boxes1, Tensor boxes2) -> Tensor",
    "roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "_roi_align_backward": "(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width, "
    "int sampling_ratio, bool aligned) -> Tensor",
    "qroi_align": "(Tensor input, Tensor rois, float input_scale, int input_zero_point, "
    "float rois_scale, int rois_zero_point, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "_roi_pool_backward": "(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, "
    "SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, "
    "SymInt height, SymInt width) -> Tensor",
    "ps_roi_align": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)",
    "_ps_roi_align_backward": "(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, "
    "SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
    "ps_roi_pool": "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "_ps_roi_pool_backward": "(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, "
    "SymInt channels, SymInt height, SymInt width) -> Tensor",
    "deform_conv2d": "(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor",
    "_deform_conv2d_backward": "(Tensor grad, Tensor input, Tensor weight, Tensor offset, "
    "Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, "
    "SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor)",
    "_cuda_version": "() -> int",
}


def _nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return ops.nms(dets, scores, iou_threshold)


def _box_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return ops.box_iou_rotated(boxes1, boxes2)


def _roi_align_fake(input, rois, spatial_scale, pooled_height, pooled_width, *_others):
    return input.new_empty(rois.shape[0], input.shape[1], pooled_height, pooled_width)


def _roi_align_backward_fake(
    grad, rois, scale, pooled_height, pooled_width, batch_size, channels, height, width, *_others
):
    return grad.new_empty(batch_size, channels, height, width)


def _missing(name: str) -> Callable[..., Any]:
    def raise_missing(*_arguments: Any) -> Any:
        raise NotImplementedError(
            f"torchvision::{name} is not among the ops that sightline.compat.torchvision provides "
            f"({', '.join(_KERNELS)}): it needs a torchvision whose own library can be loaded"
        )

    return raise_missing


_KERNELS: dict[str, Callable[..., Any]] = {
    "nms": _nms,
    "box_iou_rotated": _box_iou_rotated,
    "roi_align": roi_align,
}

_library: torch.library.Library | None = None  # registrations live as long as it does


def define_missing_ops() -> list[str]:
    """Define the ops of torchvision that torch does not know, and return their names.

    Those without an implementation here raise NotImplementedError when they are called.
    """
    global _library
    missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return []
    _library = torch.library.Library("torchvision", "FRAGMENT")
    kernels = {**_KERNELS, "_roi_align_backward": roi_align_backward}
    for name in missing:
        _library.define(name + SCHEMAS[name])
        if name == "_cuda_version":
            _library.impl(name, lambda: -1, "CompositeExplicitAutograd")  # as of a CPU build
        else:
            _library.impl(name, kernels.get(name, _missing(name)), "CPU")
    if {"roi_align", "_roi_align_backward"} <= set(missing):
        _register_rules_of_roi_align()
    return missing


def _register_rules_of_roi_align() -> None:
    def setup_context(ctx, inputs, output):
        input, rois, *numbers = inputs
        ctx.save_for_backward(rois)
        ctx.shape = input.shape
        ctx.numbers = numbers

    def backward(ctx, grad):
        (rois,) = ctx.saved_tensors
        scale, pooled_height, pooled_width, sampling_ratio, aligned = ctx.numbers
        by_input = torch.ops.torchvision._roi_align_backward(
            grad, rois, scale, pooled_height, pooled_width, *ctx.shape, sampling_ratio, aligned
        )
        return by_input, None, *(None for _ in ctx.numbers)

    # The library is passed so that the registrations live as long as the ops.
    torch.library.register_fake("torchvision::roi_align", _roi_align_fake, lib=_library)
    torch.library.register_fake(
        "torchvision::_roi_align_backward", _roi_align_backward_fake, lib=_library
    )
    register_derivatives(
        "torchvision::roi_align",
        roi_align,
        setup_context=setup_context,
        backward=backward,
        library=_library,
    )
    register_derivatives("torchvision::_roi_align_backward", roi_align_backward, library=_library)
