"""Run-length masks: encode, decode, merge, measure and overlap; masks from polygons and boxes.

A mask is a dict as in COCO files, `{"size": [height, width], "counts": ...}`: the lengths of its
runs down the columns, background first. `counts` is COCO's compressed string (bytes or str) or the
list of lengths. Returned masks have bytes, as those of `pycocotools.mask`.

Masks must be complete: runs that do not add up to height * width, a byte that is not a digit of
COCO's strings, or a string that ends within a number raise ValueError, where pycocotools reads
beyond its memory or does not return.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics._native import native
from sightline.metrics.shapes.mask_columns import (
    native_table,
    read_masks,
    strings_to_masks,
)

Mask = dict[str, Any]

# Detections that one thread compares with all objects before it takes more work.
_ROWS_PER_GROUP = 64


def encode_masks(pixels: Any) -> list[Mask]:
    """Masks of images; values other than 0 are foreground.

    Args:
        pixels: [N, H, W], bool or integers, any strides. Bytes and bools are not copied.

    Returns:
        N masks of size [H, W].

    Raises:
        TypeError: pixels that are neither bool nor integers.
        ValueError: another number of axes, or an image of 2^32 pixels or more.

    Example:
        >>> encode_masks(np.array([[[0, 1], [0, 1]]]))
        [{'size': [2, 2], 'counts': b'22'}]
    """
    array = np.asarray(pixels)
    if array.dtype.kind not in "biu":
        raise TypeError(f"`pixels` must be bool or integers, got dtype {array.dtype}")
    if array.ndim != 3:
        raise ValueError(f"`pixels` must have shape [N, H, W], got {list(array.shape)}")
    if array.shape[1] * array.shape[2] >= 2**32:
        raise ValueError(f"`pixels` must have fewer than 2**32 per mask, got {list(array.shape)}")
    if array.itemsize != 1:
        array = array != 0
    strings, offsets = native.encode_masks(array, True)
    return strings_to_masks(_sizes(array.shape[1:], len(array)), strings, offsets)


def decode_masks(masks: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Images of masks.

    Args:
        masks: N masks of the same size.

    Returns:
        bool [N, H, W], column after column in memory; [0, 0, 0] without masks.

    Raises:
        ValueError: masks of different sizes, or one that is incomplete.

    Example:
        >>> decode_masks([{"size": [2, 2], "counts": b"22"}]).astype(int)
        array([[[0, 1],
                [0, 1]]])
    """
    columns = native.decode_masks(native_table(read_masks(masks, "masks")))
    return columns.view(bool).swapaxes(1, 2)


def merge_masks(masks: Sequence[Mapping[str, Any]], *, intersect: bool = False) -> Mask:
    """The union of masks, or their intersection.

    Args:
        masks: one or more, of the same size.
        intersect: take the pixels that are in all masks instead of those in any.

    Raises:
        ValueError: no mask, different sizes, or one that is incomplete.

    Example:
        >>> merge_masks([{"size": [1, 4], "counts": [0, 2, 2]}, {"size": [1, 4], "counts": [3, 1]}])
        {'size': [1, 4], 'counts': b'021O'}
    """
    columns = read_masks(masks, "masks")
    if not len(columns):
        raise ValueError("`masks` must hold at least one mask, got none")
    offsets = np.array([0, len(columns)])
    strings, ends = native.merge_masks(native_table(columns), offsets, bool(intersect), True)
    return strings_to_masks(columns.size[:1], strings, ends)[0]


def mask_area(masks: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The number of pixels of each mask, int64 [N].

    Example:
        >>> mask_area([{"size": [2, 3], "counts": [1, 2, 3]}])
        array([2])
    """
    return native.measure_masks(native_table(read_masks(masks, "masks")))[0]


def mask_boxes_xywh(masks: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The smallest boxes around the masks, float64 [N, 4] xywh in pixels.

    An empty mask has the box (0, 0, 0, 0).

    Example:
        >>> mask_boxes_xywh([{"size": [2, 3], "counts": [1, 2, 3]}])
        array([[0., 0., 2., 2.]])
    """
    return native.measure_masks(native_table(read_masks(masks, "masks")))[1]


def mask_iou(
    masks1: Sequence[Mapping[str, Any]],
    masks2: Sequence[Mapping[str, Any]],
    iscrowd: Any = None,
) -> np.ndarray:
    """IoU of every pair of masks.

    Args:
        masks1: D masks.
        masks2: G masks.
        iscrowd: bool [G]; for a crowd, the result is the share of the first mask that it covers.

    Returns:
        float64 [D, G], equal to pycocotools bit for bit: 0 where masks do not intersect or are
        empty, and -1 where two masks whose boxes intersect have different sizes.

    Raises:
        ValueError: an incomplete mask, or an `iscrowd` of another length.

    Example:
        >>> whole, half = {"size": [1, 4], "counts": [0, 4]}, {"size": [1, 4], "counts": [2, 2]}
        >>> mask_iou([whole], [half, half], [False, True])
        array([[0.5, 0.5]])
        >>> mask_iou([half], [whole, whole], [False, True])
        array([[0.5, 1. ]])
    """
    dt, gt = read_masks(masks1, "masks1"), read_masks(masks2, "masks2")
    crowd = np.zeros(len(gt), bool) if iscrowd is None else np.asarray(iscrowd) != 0
    if crowd.shape != (len(gt),):
        raise ValueError(
            f"`iscrowd` must have one entry for each of {len(gt)} masks, "
            f"got shape {list(crowd.shape)}"
        )
    # the rows of the matrix are shared among threads in groups; each thread decodes the objects
    starts = np.append(np.arange(0, len(dt), _ROWS_PER_GROUP), len(dt))
    groups = len(starts) - 1
    overlaps, _ = native.mask_overlaps(
        native_table(dt, "masks1"),
        native_table(gt, "masks2"),
        np.arange(len(dt)),
        starts,
        np.tile(np.arange(len(gt)), groups),
        np.arange(groups + 1) * len(gt),
        np.ascontiguousarray(crowd),
    )
    return overlaps.reshape(len(dt), len(gt))


def polygons_to_masks(
    polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int
) -> list[Mask]:
    """Masks of objects outlined by polygons.

    Args:
        polygons: for each object its rings, each `[x, y, x, y, ...]` in pixels.
        height, width: size of the masks; what lies outside is cut off.

    Returns:
        One mask per object: the pixels inside any of its rings, by the even-odd rule.
        They equal those of pycocotools 2.0.11, which draws edges on a grid five times as fine
        as the pixels, bit for bit.
        A ring of fewer than three points is empty; where the number of coordinates is odd, the
        last one is dropped.

    Raises:
        ValueError: a coordinate that is not finite or lies beyond +-1e8, or a size that is
            negative or of 2^32 pixels.

    Example:
        >>> masks = polygons_to_masks([[[1, 1, 3, 1, 3, 3, 1, 3]]], 4, 4)
        >>> decode_masks(masks)[0].astype(int)
        array([[0, 0, 0, 0],
               [0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    sizes = _sizes((height, width), len(polygons))
    columns = read_masks([list(rings) for rings in polygons], "polygons", sizes)
    return strings_to_masks(sizes, *native.mask_counts(native_table(columns, "polygons"), True))


def boxes_to_masks(boxes_xywh: Any, height: int, width: int) -> list[Mask]:
    """Masks of boxes [N, 4] xywh, drawn as the polygon of their corners.

    Raises:
        ValueError: boxes of another shape, or for the reasons of `polygons_to_masks`.

    Example:
        >>> mask_area(boxes_to_masks([[1, 1, 2, 2]], 4, 4))
        array([4])
    """
    boxes = np.asarray(boxes_xywh, np.float64)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"`boxes_xywh` must have shape [N, 4], got {list(boxes.shape)}")
    x1, y1 = boxes[:, 0], boxes[:, 1]
    x2, y2 = x1 + boxes[:, 2], y1 + boxes[:, 3]
    rings = np.stack([x1, y1, x1, y2, x2, y2, x2, y1], axis=1)
    return polygons_to_masks([[ring] for ring in rings], height, width)


def compress_masks(masks: Sequence[Mapping[str, Any]]) -> list[Mask]:
    """The same masks, with their runs unchanged, and counts as COCO's compressed strings.

    Example:
        >>> compress_masks([{"size": [2, 3], "counts": [1, 2, 3]}])
        [{'size': [2, 3], 'counts': b'123'}]
    """
    columns = read_masks(masks, "masks")
    return strings_to_masks(columns.size, *native.mask_counts(native_table(columns), True))


def mask_counts(masks: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """The run lengths of each mask, unchanged, as uint32; the first one is background.

    Example:
        >>> mask_counts([{"size": [2, 3], "counts": b"123"}])
        [array([1, 2, 3], dtype=uint32)]
    """
    columns = read_masks(masks, "masks")
    counts, offsets = native.mask_counts(native_table(columns), False)
    return np.split(counts, offsets[1:-1]) if len(columns) else []


def _sizes(size: Sequence[int], count: int) -> np.ndarray:
    return np.tile(np.asarray(size, np.int64), (count, 1))
