"""Masks as run lengths, with the functions of `pycocotools.mask`.

A mask is `{"size": [height, width], "counts": bytes}`. Functions take a list of masks, or one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.metrics.shapes.masks import (
    boxes_to_masks,
    compress_masks,
    decode_masks,
    encode_masks,
    mask_area,
    mask_boxes_xywh,
    mask_iou,
    merge_masks,
    polygons_to_masks,
)

Mask = dict[str, Any]


def encode(bimask: np.ndarray) -> Any:
    """Masks of images [H, W, N], or the mask of one image [H, W]."""
    if bimask.ndim == 2:
        return encode_masks(bimask[None])[0]
    return encode_masks(np.moveaxis(bimask, 2, 0))


def decode(rleObjs: Any) -> np.ndarray:
    """Images of masks of the same size, uint8 [H, W, N] in Fortran order; [H, W] for one mask."""
    pictures = decode_masks(_as_list(rleObjs)).view(np.uint8)
    return pictures.transpose(1, 2, 0) if isinstance(rleObjs, list) else pictures[0]


def area(rleObjs: Any) -> Any:
    """The number of pixels of each mask, uint32 [N], or of one mask."""
    areas = mask_area(_as_list(rleObjs)).astype(np.uint32)
    return areas if isinstance(rleObjs, list) else areas[0]


def toBbox(rleObjs: Any) -> np.ndarray:
    """The smallest box xywh around each mask, float64 [N, 4], or [4] for one mask."""
    boxes = mask_boxes_xywh(_as_list(rleObjs))
    return boxes if isinstance(rleObjs, list) else boxes[0]


def merge(rleObjs: list[Mask], intersect: Any = 0) -> Mask:
    """The union of masks, or their intersection; without masks, an empty mask."""
    if not rleObjs:
        return {"size": [0, 0], "counts": b""}
    return merge_masks(rleObjs, intersect=bool(intersect))


def iou(dt: Any, gt: Any, pyiscrowd: Sequence[Any]) -> Any:
    """Overlaps [D, G] of masks, or of boxes xywh, in Fortran order; [] where there are none.

    For a crowd, the overlap is the intersection as a share of the detection.
    """
    if len(dt) == 0 or len(gt) == 0:
        return []
    crowd = np.asarray(pyiscrowd) != 0
    if isinstance(dt[0], dict) != isinstance(gt[0], dict):
        raise Exception("`dt` and `gt` must both be masks or both be boxes")
    if isinstance(dt[0], dict):
        return np.asfortranarray(mask_iou(dt, gt, crowd))
    dt, gt = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (dt, gt))
    return np.asfortranarray(_box_overlaps(dt, gt, crowd))


def _box_overlaps(
    dt: np.ndarray,  # [D, 4] xywh
    gt: np.ndarray,  # [G, 4] xywh
    crowd: np.ndarray,  # [G]
) -> np.ndarray:
    """IoU [D, G]; as in pycocotools, NaN or infinite where sides are not finite."""
    with np.errstate(all="ignore"):
        first = np.fmax(dt[:, None, :2], gt[:, :2])
        sides = np.fmin((dt[:, :2] + dt[:, 2:])[:, None], gt[:, :2] + gt[:, 2:]) - first
        inter = sides[..., 0] * sides[..., 1]
        dt_area, gt_area = (dt[:, 2] * dt[:, 3])[:, None], gt[:, 2] * gt[:, 3]
        union = np.where(crowd, dt_area, dt_area + gt_area - inter)
        return np.where((sides <= 0).any(axis=2), 0.0, inter / union)


def frPyObjects(pyobj: Any, h: int, w: int) -> Any:
    """Masks of polygons, boxes xywh or run lengths, or the mask of one of them.

    Four numbers are a box, and more are a ring of a polygon.
    """
    if isinstance(pyobj, dict):
        return compress_masks([pyobj])[0]
    if isinstance(pyobj, np.ndarray):
        return boxes_to_masks(pyobj, h, w)
    if isinstance(pyobj[0], dict):
        return compress_masks(pyobj)
    if not hasattr(pyobj[0], "__len__"):
        return frPyObjects([pyobj], h, w)[0]
    if len(pyobj[0]) == 4:
        return boxes_to_masks(pyobj, h, w)
    if len(pyobj[0]) > 4:
        return polygons_to_masks([[ring] for ring in pyobj], h, w)
    raise Exception("input type is not supported.")


def _as_list(masks: Any) -> list[Mask]:
    return masks if isinstance(masks, list) else [masks]
