"""Converts masks of callers (run-length dicts, polygons) to columns for the kernels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics._native import native
from sightline.metrics.shapes.segmentations import (
    KIND_NONE,
    KIND_POLYGONS,
    KIND_RLE_COUNTS,
    KIND_RLE_STRING,
    Segmentations,
)


def native_table(masks: Segmentations, name: str = "masks") -> Any:
    """The columns in the form of the kernels, checked and kept alive; `name` is for errors."""
    contiguous = np.ascontiguousarray
    return native.MaskTable(
        contiguous(masks.size, np.int64).reshape(-1, 2),
        contiguous(masks.kind, np.uint8),
        contiguous(masks.first, np.int64),
        contiguous(masks.count, np.int64),
        contiguous(masks.ring_offsets, np.int64),
        contiguous(masks.coordinates, np.float64),
        contiguous(masks.strings, np.uint8),
        contiguous(masks.counts, np.uint32),
        name,
    )


def read_masks(
    masks: Sequence[Any], name: str, sizes: Sequence[tuple[int, int]] | np.ndarray | None = None
) -> Segmentations:
    """Columns of masks, each a run-length dict, a list of rings, or None.

    Args:
        masks: `{"size": [height, width], "counts": ...}` with counts as bytes, str or run lengths,
            or rings `[x, y, x, y, ...]` of polygons.
        name: name of the argument, for errors.
        sizes: height and width for each, which polygons need.

    Raises:
        TypeError, ValueError: a mask in another form, or polygons without `sizes`.
    """
    kind, count = np.zeros(len(masks), np.uint8), np.zeros(len(masks), np.int64)
    size = np.zeros((len(masks), 2), np.int64)
    strings: list[bytes] = []
    runs: list[np.ndarray] = []
    rings: list[np.ndarray] = []
    for i, mask in enumerate(masks):
        place = f"`{name}[{i}]`"
        if mask is None:
            kind[i] = KIND_NONE
        elif isinstance(mask, Mapping):
            size[i], counts = _rle(mask, place)
            if isinstance(counts, bytes):
                kind[i], count[i] = KIND_RLE_STRING, len(counts)
                strings.append(counts)
            else:
                kind[i], count[i] = KIND_RLE_COUNTS, len(counts)
                runs.append(counts)
        else:
            if sizes is None:
                raise TypeError(
                    f"{place} must be a dict with size and counts, got {type(mask).__name__}; "
                    "polygons become masks by `polygons_to_masks`"
                )
            size[i], kind[i], count[i] = sizes[i], KIND_POLYGONS, len(mask)
            rings.extend(_ring(ring, place) for ring in mask)
    first = np.zeros(len(masks), np.int64)
    for k in (KIND_POLYGONS, KIND_RLE_STRING, KIND_RLE_COUNTS):
        rows = kind == k
        first[rows] = np.cumsum(count[rows]) - count[rows]
    return Segmentations(
        size,
        kind,
        first,
        count,
        np.concatenate([[0], np.cumsum([len(ring) for ring in rings], dtype=np.int64)]),
        np.concatenate([np.zeros(0), *rings]),
        np.frombuffer(b"".join(strings), np.uint8),
        np.concatenate([np.zeros(0, np.uint32), *runs]),
    )


def strings_to_masks(sizes: np.ndarray, strings: np.ndarray, offsets: np.ndarray) -> list[dict]:
    """Run-length dicts of sizes [N, 2], and strings as one buffer of bytes with offsets [N + 1]."""
    joined, ends = strings.tobytes(), offsets.tolist()
    return [
        {"size": size, "counts": joined[begin:end]}
        for size, begin, end in zip(sizes.tolist(), ends, ends[1:])
    ]


def _rle(mask: Mapping[str, Any], place: str) -> tuple[Any, bytes | np.ndarray]:
    if "size" not in mask or "counts" not in mask:
        raise ValueError(f"{place} must have size and counts, got {sorted(map(str, mask))}")
    size, counts = mask["size"], mask["counts"]
    if len(size) != 2:
        raise ValueError(f"{place} must have size [height, width], got {size}")
    if isinstance(counts, bytes):
        return size, counts
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError(f"{place} has counts with a character outside '0' to 'o'")
        return size, counts.encode()
    runs = np.asarray(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise TypeError(f"{place} must have counts as bytes, str or integers, got {counts!r}")
    if runs.size and not (runs.min() >= 0 and runs.max() < 2**32):
        raise ValueError(f"{place} must have counts in 0 ... 2**32 - 1, got {counts!r}")
    return size, runs.astype(np.uint32)


def _ring(ring: Any, place: str) -> np.ndarray:
    values = np.asarray(ring, np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"{place} must be rings [x, y, x, y, ...], got one of shape {list(values.shape)}"
        )
    return values
