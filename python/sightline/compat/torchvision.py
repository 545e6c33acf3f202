"""`torchvision.ops` with Sightline's kernels, and torchvision itself with a CPU build of torch.

The functions have the names, arguments, order and shapes of `torchvision.ops`, and take NumPy
arrays too. `from sightline.compat import torchvision as vision_ops` replaces
`from torchvision import ops as vision_ops` and needs no torchvision. They differ where torchvision
is undefined or wrong:

- boxes that are inverted, without area or not finite have defined results without NaN
  (docs/numeric-contract.md), and negative areas are 0;
- a NaN score sorts last instead of first, and equal scores by ascending index;
- `batched_nms` separates classes exactly instead of by shifting coordinates; a NaN class is a class
  of its own;
- float16, bfloat16 and integers are computed in float32, which is the dtype of the result; so
  `box_area` of integers is float32;
- the gradient of `complete_box_iou_loss` includes the weight alpha, unless `constant_alpha=True`
  asks for torchvision's gradient.

`install` makes `import torchvision` work where its library cannot be loaded; `patched` and `patch`
let torchvision's own models use these functions.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from sightline import ops
from sightline.ops import (
    box_area,
    complete_box_iou,
    distance_box_iou,
    distance_box_iou_loss,
    generalized_box_iou,
    generalized_box_iou_loss,
)
from sightline.ops.arguments import as_floats, check_choice, is_tensor

from ._shared import as_number, batched_nms
from ._torchvision_patch import Patch

__all__ = [
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_loss",
    "distance_box_iou",
    "distance_box_iou_loss",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "install",
    "nms",
    "patch",
    "patched",
    "remove_small_boxes",
    "roi_align",
    "sigmoid_focal_loss",
    "unpatch",
]

Array = Any  # a torch.Tensor or a numpy.ndarray

ROTATED_FORMATS = ("cxcywhr", "xywhr", "xyxyxyxy")


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """`sightline.ops.box_convert`; the result never shares memory with `boxes`.

    One aligned and one rotated format raise ValueError; torchvision raises NotImplementedError.
    Integers: see `sightline.ops.box_convert`; torchvision wraps narrow ones.
    """
    converted = ops.box_convert(boxes, in_fmt, out_fmt)
    if converted is not boxes:
        return converted
    return boxes.clone() if hasattr(boxes, "clone") else boxes.copy()


def box_iou(boxes1: Array, boxes2: Array, fmt: str = "xyxy") -> Array:
    """`sightline.ops.box_iou`; for the formats "cxcywhr", "xywhr" and "xyxyxyxy", that of rotated
    boxes, [N, 5] or [N, 8], in degrees.
    """
    if fmt not in ROTATED_FORMATS:
        check_choice("fmt", fmt, ("xyxy", "xywh", "cxcywh", *ROTATED_FORMATS))
        return ops.box_iou(boxes1, boxes2, fmt)
    rotated = [ops.box_convert(boxes, fmt, "cxcywhr") for boxes in (boxes1, boxes2)]
    return ops.box_iou_rotated(*rotated)


def nms(
    boxes: Array, scores: Array, iou_threshold: float, *, return_suppressed_by: bool = False
) -> Any:
    """`sightline.ops.nms`; `iou_threshold` may be a tensor with one number."""
    return ops.nms(
        boxes, scores, as_number(iou_threshold), return_suppressed_by=return_suppressed_by
    )


def clip_boxes_to_image(boxes: Array, size: Any) -> Array:
    """`sightline.ops.clip_boxes_to_image`; `size`, (height, width), may be tensors or a tensor."""
    if hasattr(size, "__iter__"):
        size = [as_number(side) for side in size]
    return ops.clip_boxes_to_image(boxes, size)


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """`sightline.ops.remove_small_boxes`; `min_size` may be a tensor with one number, and `boxes`
    may have further columns after the four.
    """
    four = boxes[..., :4] if hasattr(boxes, "shape") else boxes
    return ops.remove_small_boxes(four, as_number(min_size))


def complete_box_iou_loss(
    boxes1: Array,
    boxes2: Array,
    reduction: str = "none",
    eps: float = 1e-7,
    *,
    constant_alpha: bool = False,
) -> Array:
    """`sightline.ops.complete_box_iou_loss`, optionally with torchvision's gradient.

    Args:
        boxes1, boxes2, reduction, eps: as there.
        constant_alpha: treat the weight alpha of the aspect term as constant in every derivative,
            as torchvision does; the value is the same up to its last bits. In training the two
            differ little: the gradient of the value also lowers alpha, by raising the overlap.

    The choice matters for reproducing a result; a new model can use either.
    """
    if not (constant_alpha and is_tensor(boxes1)):
        return ops.complete_box_iou_loss(boxes1, boxes2, reduction, eps)
    from sightline.ops.iou_composed_torch import aspect_penalty_with_constant_alpha

    check_choice("reduction", reduction, ("none", "mean", "sum"))
    loss = distance_box_iou_loss(boxes1, boxes2, "none", eps)
    boxes1, boxes2 = as_floats(boxes1=boxes1, boxes2=boxes2)
    loss = loss + aspect_penalty_with_constant_alpha(boxes1, boxes2, eps)
    if reduction == "none":
        return loss
    return loss.sum() / (max(loss.numel(), 1) if reduction == "mean" else 1)


def sigmoid_focal_loss(
    inputs: Any, targets: Any, alpha: float = 0.25, gamma: float = 2, reduction: str = "none"
) -> Any:
    """Focal loss of logits, in their shape, or its mean or sum; for tensors only.

    A negative `alpha` disables the weights. With targets other than 0 and 1 the result differs from
    torchvision's: here a target above 0.5 gets the alpha of 1.
    """
    from sightline.losses.classification import sigmoid_focal_loss as unreduced

    check_choice("reduction", reduction, ("none", "mean", "sum"))
    loss = unreduced(inputs, targets, alpha=alpha, gamma=gamma)
    return loss if reduction == "none" else getattr(loss, reduction)()


def roi_align(
    input: Any,
    boxes: Any,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Any:
    """Average bilinear samples in the bins of regions, in plain torch operations: not fast.

    Args:
        input: tensor [N, C, H, W] on any device.
        boxes: [K, 5] of image index, x1, y1, x2, y2, or a list of [L, 4], one per image.
        output_size: number of bins, one number or (height, width).
        spatial_scale: factor from coordinates of the boxes to those of the input.
        sampling_ratio: samples per side of a bin; one per pixel, rounded up, where not positive.
        aligned: subtract half a pixel, and allow regions smaller than one pixel.

    Returns:
        [K, C, height, width] in the dtype of `input`; differentiable with respect to `input`, to
        any order and in forward mode, but not to the boxes.
    """
    from sightline.ops.derivatives_torch import is_transformed

    from . import _roi_align

    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    rois = _roi_align.stack_regions(boxes)
    pool = _roi_align.roi_align if is_transformed([input]) else _roi_align.RoIAlign.apply
    return pool(input, rois, spatial_scale, height, width, sampling_ratio, aligned)


def install() -> bool:
    """Make `import torchvision` work with a torch without CUDA; returns whether that was needed.

    The torchvision on the package index is built for CUDA. With a CPU build of torch its library
    does not load, and importing it fails with "operator torchvision::nms does not exist". Only in
    that case this defines the ops that the library would have defined and imports torchvision:
    `nms` and `box_iou_rotated` are Sightline's, `roi_align` is plain torch code; the others
    (`roi_pool`, `ps_roi_align`, `ps_roi_pool`, `deform_conv2d`, the quantised ones) raise
    NotImplementedError when they are called. RetinaNet, SSD, FCOS and Faster R-CNN then train and
    predict on the CPU. Reading images with `torchvision.io` remains unavailable.

    Call it before the first `import torchvision` of the process; a second call does nothing. Where
    torchvision can be imported without it, it is only imported, and the result is False.

    Raises:
        ModuleNotFoundError: torchvision is not installed; install the release that matches the
            installed torch with `pip install --no-deps torchvision==...`.
        RuntimeError: torch is a build for CUDA or ROCm, which needs a matching torchvision.
    """
    import torch

    try:
        import torchvision

        if torchvision.extension._has_ops():
            return getattr(torchvision.extension._has_ops, "by_sightline", False)
    except RuntimeError as error:
        if not re.search(r"torchvision::\w+ does not exist", str(error)):
            raise
        # Remove the half-initialised modules of the failed import.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    if torch.version.cuda is not None or torch.version.hip is not None:
        raise RuntimeError(
            f"torchvision cannot load its library with torch {torch.__version__}: install the "
            "release of torchvision that matches it. sightline.compat.torchvision.install() "
            "is for torch without CUDA"
        )
    from ._torchvision_ops import define_missing_ops

    define_missing_ops()
    import torchvision

    _claim_ops(torchvision.extension)
    return True


def _claim_ops(extension: Any) -> None:
    """Tell torchvision that the ops exist, which its functions check before they call one."""
    of_torchvision = extension._has_ops

    def has_ops() -> bool:
        return True

    has_ops.by_sightline = True  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        of_package = name.split(".")[0] == "torchvision"
        if of_package and getattr(module, "_has_ops", None) is of_torchvision:
            module._has_ops = has_ops  # type: ignore[attr-defined]


_patch = Patch(
    {
        "batched_nms": batched_nms,
        "box_iou": box_iou,
        "clip_boxes_to_image": clip_boxes_to_image,
        "complete_box_iou": complete_box_iou,
        # Training goes on as it would have without.
        "complete_box_iou_loss": partial(complete_box_iou_loss, constant_alpha=True),
        "distance_box_iou": distance_box_iou,
        "distance_box_iou_loss": distance_box_iou_loss,
        "generalized_box_iou": generalized_box_iou,
        "generalized_box_iou_loss": generalized_box_iou_loss,
        "nms": nms,
        "remove_small_boxes": remove_small_boxes,
    }
)
_patched_for_good = False


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """Let torchvision's own models use Sightline's ops in this block, or in a decorated function.

    It replaces `nms`, `batched_nms`, `box_iou`, `generalized_box_iou`, `distance_box_iou`,
    `complete_box_iou`, the losses `generalized_box_iou_loss`, `distance_box_iou_loss` and
    `complete_box_iou_loss` (with `constant_alpha`, so that its gradient is torchvision's),
    `clip_boxes_to_image` and `remove_small_boxes`, in `torchvision.ops` and in every module of
    torchvision that has one of them. Detectors train and predict with ours, including those created
    before the block. Afterwards everything is restored. Functions that your program has imported
    by name remain torchvision's.

    Blocks nest. The replacement applies to the whole process: other threads see it as well, until
    the last block of any thread ends. `install` is called first. Do not compile a model with
    `torch.jit.script` in the block: it cannot compile our functions.

    Raises:
        ModuleNotFoundError, RuntimeError: as in `install`.
    """
    install()
    _patch.enter()
    try:
        yield
    finally:
        _patch.leave()


def patch() -> None:
    """`patched` for the rest of the process, or until `unpatch`; a second call does nothing."""
    global _patched_for_good
    install()
    if not _patched_for_good:
        _patch.enter()
        _patched_for_good = True


def unpatch() -> None:
    """Undo `patch`; does nothing where it was not called, and does not affect `patched` blocks."""
    global _patched_for_good
    if _patched_for_good:
        _patched_for_good = False
        _patch.leave()
