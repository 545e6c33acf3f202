"""Run-length masks: pixels, polygons and malformed strings, against pixels and pycocotools."""

import contextlib

import numpy as np

from sightline.metrics import (
    compress_masks,
    decode_masks,
    encode_masks,
    mask_area,
    mask_boxes_xywh,
    mask_counts,
    mask_iou,
    merge_masks,
    polygons_to_masks,
)
from sightline.reference import masks as reference

pycocotools = None
with contextlib.suppress(ImportError):
    from pycocotools import mask as pycocotools

CASES = 6_000
SHORT = 60


def pictures(rng: np.random.Generator, n: int, height: int, width: int) -> np.ndarray:
    density = rng.choice([0, 0.02, 0.3, 0.7, 1])
    pixels = rng.random((n, height, width)) < density
    for picture in pixels[rng.random(n) < 0.5]:  # one block, the rest empty
        y, x = rng.integers(0, height + 1, 2), rng.integers(0, width + 1, 2)
        keep = np.zeros_like(picture)
        keep[min(y) : max(y), min(x) : max(x)] = True
        picture[...] = keep
    layout = rng.integers(3)
    if layout == 0:
        return np.ascontiguousarray(pixels.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.repeat(pixels, 2, axis=2)[:, :, ::2] if layout == 1 else pixels


def rings(rng: np.random.Generator, height: int, width: int) -> list[list[float]]:
    out = []
    for _ in range(int(rng.integers(0, 4))):
        points = int(rng.integers(0, 3) if rng.random() < 0.1 else rng.integers(3, 12))
        xy = rng.uniform(-0.4, 1.4, (points, 2)) * (width, height)
        style = rng.integers(4)
        if style == 0:
            xy = np.round(xy)
        elif style == 1:
            xy = np.round(xy, 1)
        elif style == 2:
            xy = np.round(xy * 5) / 5 + 0.1  # on the half steps of the fine grid
        out.append(xy.ravel().tolist())
    return out


def check_pixels(rng: np.random.Generator) -> None:
    n, (height, width) = int(rng.integers(0, 5)), rng.integers(0, 40, 2).tolist()
    pixels = pictures(rng, n, height, width)
    said = f"{n} masks of {height} x {width}"
    masks = encode_masks(pixels)
    counts = [reference.counts_from_mask(picture) for picture in pixels]
    strings = [reference.string_from_counts(c) for c in counts]
    assert [m["counts"] for m in masks] == strings, said
    assert all(reference.counts_from_string(s) == c for s, c in zip(strings, counts)), said
    assert [c.tolist() for c in mask_counts(masks)] == counts, said
    lists = [{"size": [height, width], "counts": c} for c in counts]
    assert compress_masks(lists) == masks, said
    if n:
        np.testing.assert_array_equal(decode_masks(masks), pixels, said)
        merged = [np.logical_or.reduce(pixels), np.logical_and.reduce(pixels)]
        for intersect, picture in enumerate(merged):
            got = merge_masks(masks, intersect=bool(intersect))
            assert got == encode_masks(picture[None])[0], said
    np.testing.assert_array_equal(mask_area(masks), pixels.sum(axis=(1, 2)), said)
    boxes = [reference.mask_box_xywh(picture) for picture in pixels]
    np.testing.assert_array_equal(mask_boxes_xywh(masks), np.reshape(boxes, (-1, 4)), said)

    split = int(rng.integers(0, n + 1))
    crowd = rng.random(n - split) < 0.4
    got = mask_iou(masks[:split], lists[split:], crowd)
    expected = [
        [reference.mask_iou(a, b, c) for b, c in zip(pixels[split:], crowd)] for a in pixels[:split]
    ]
    np.testing.assert_array_equal(got, np.reshape(expected, (split, n - split)), said)
    if pycocotools is not None and height and width and 0 < split < n:
        expected = pycocotools.iou(masks[:split], masks[split:], crowd.astype(np.uint8))
        np.testing.assert_array_equal(got, expected, said)


def check_polygons(rng: np.random.Generator) -> None:
    height, width = rng.integers(0, 60, 2).tolist()
    polygons = [rings(rng, height, width) for _ in range(int(rng.integers(0, 4)))]
    masks = polygons_to_masks(polygons, height, width)
    said = f"{height} x {width}, {polygons}"
    for got, polygon in zip(masks, polygons, strict=True):
        picture = reference.mask_from_polygons(polygon, height, width)
        assert got == encode_masks(picture[None])[0], said
        if pycocotools is not None and polygon and all(len(ring) > 4 for ring in polygon):
            assert got == pycocotools.merge(pycocotools.frPyObjects(polygon, height, width)), said


def check_strings(rng: np.random.Generator) -> None:
    """Any bytes: an error, or what the plain reading of them gives."""
    height, width = rng.integers(0, 9, 2).tolist()
    whole = encode_masks(pictures(rng, 1, height, width))[0]["counts"]
    string = bytearray(whole if rng.random() < 0.7 else rng.integers(40, 120, 20).tolist())
    for _ in range(int(rng.integers(0, 3))):
        where = int(rng.integers(0, len(string) + 1))
        string[where : where + int(rng.integers(0, 2))] = rng.integers(44, 115, 1).tolist()
    if rng.random() < 0.3:
        del string[int(rng.integers(0, len(string) + 1)) :]
    mask = {"size": [height, width], "counts": bytes(string)}
    good = all(48 <= c < 112 for c in string) and not (string and string[-1] - 48 & 32)
    counts = reference.counts_from_string(string) if good else []
    good = good and all(0 <= c < 2**32 for c in counts) and sum(counts) == height * width
    try:
        picture = decode_masks([mask])[0]
    except ValueError as error:
        assert not good, f"{mask}: {error}"
        return
    assert good, f"{mask} is malformed"
    expected = reference.mask_from_counts(counts, height, width)
    np.testing.assert_array_equal(picture, expected, f"{mask}")
    assert mask_area([mask])[0] == expected.sum(), f"{mask}"
    np.testing.assert_array_equal(
        mask_boxes_xywh([mask])[0], reference.mask_box_xywh(expected), f"{mask}"
    )
    assert merge_masks([mask, mask])["counts"] == encode_masks(expected[None])[0]["counts"], mask


def check(rng: np.random.Generator) -> None:
    check_pixels(rng)
    check_polygons(rng)
    for _ in range(4):
        check_strings(rng)
