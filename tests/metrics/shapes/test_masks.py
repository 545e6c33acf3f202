"""Run-length masks by hand, compared with pycocotools, and errors of malformed ones."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as pycocotools

from sightline import _numpy
from sightline.metrics import (
    boxes_to_masks,
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


def rle(height, width, counts):
    return {"size": [height, width], "counts": counts}


def random_pixels(rng, n, height, width):
    return rng.random((n, height, width)) < rng.choice([0.05, 0.5, 0.9], (n, 1, 1))


def test_runs_go_down_the_columns_and_begin_with_background():
    pixels = np.array([[0, 1, 1], [0, 0, 1]])
    (mask,) = encode_masks(pixels[None])
    assert mask == rle(2, 3, b"2111")
    assert mask_counts([mask])[0].tolist() == [2, 1, 1, 2]
    assert mask_counts(encode_masks(1 - pixels[None]))[0].tolist() == [0, 2, 1, 1, 2]
    np.testing.assert_array_equal(decode_masks([mask])[0], pixels)


@pytest.mark.parametrize(
    ("shape", "value", "counts"),
    [
        ((3, 4), 0, [12]),
        ((3, 4), 1, [0, 12]),
        ((1, 1), 0, [1]),
        ((1, 1), 1, [0, 1]),
        ((0, 4), 0, [0]),
        ((4, 0), 0, [0]),
        ((0, 0), 0, [0]),
    ],
)
def test_masks_of_one_value_and_of_no_pixels(shape, value, counts):
    pixels = np.full((2, *shape), value, np.uint8)
    masks = encode_masks(pixels)
    assert [m["size"] for m in masks] == [list(shape)] * 2
    assert mask_counts(masks)[1].tolist() == counts
    assert masks[0]["counts"] == pycocotools.encode(np.asfortranarray(pixels[0]))["counts"]
    np.testing.assert_array_equal(decode_masks(masks), pixels)
    assert mask_area(masks).tolist() == [value * shape[0] * shape[1]] * 2
    box = [0, 0, shape[1], shape[0]] if value else [0] * 4
    assert mask_boxes_xywh(masks)[0].tolist() == box
    assert mask_iou(masks, masks).tolist() == [[float(value)] * 2] * 2
    assert merge_masks(masks) == masks[0] == merge_masks(masks, intersect=True)


def test_no_masks():
    assert encode_masks(np.zeros((0, 3, 4), bool)) == [] == polygons_to_masks([], 3, 4)
    assert decode_masks([]).shape == (0, 0, 0)
    assert mask_area([]).shape == (0,) and mask_boxes_xywh([]).shape == (0, 4)
    assert mask_iou([], [rle(1, 1, [1])]).shape == (0, 1)
    assert mask_iou([rle(1, 1, [1])], []).shape == (1, 0)
    assert mask_counts([]) == [] == compress_masks([])
    with pytest.raises(ValueError, match="`masks` must hold at least one mask"):
        merge_masks([])


@pytest.mark.parametrize("size", [(1, 1), (1, 65), (63, 2), (64, 64), (65, 33), (1000, 3)])
def test_masks_equal_pycocotools(size):
    rng = np.random.default_rng(size[0])
    pixels = random_pixels(rng, 7, *size)
    theirs = pycocotools.encode(np.asfortranarray(pixels.transpose(1, 2, 0).astype(np.uint8)))
    masks = encode_masks(pixels)
    assert masks == theirs
    assert mask_area(masks).tolist() == pycocotools.area(theirs).tolist()
    np.testing.assert_array_equal(mask_boxes_xywh(masks), pycocotools.toBbox(theirs))
    for intersect in (False, True):
        assert merge_masks(masks, intersect=intersect) == pycocotools.merge(theirs, intersect)
    crowd = np.array([0, 1, 0])
    np.testing.assert_array_equal(
        mask_iou(masks[:4], masks[4:], crowd), pycocotools.iou(theirs[:4], theirs[4:], crowd)
    )


def test_pixels_of_any_layout_and_type_are_the_same_masks():
    rng = np.random.default_rng(0)
    pixels = random_pixels(rng, 3, 21, 34)
    expected = encode_masks(pixels)
    columns_first = np.ascontiguousarray(pixels.transpose(0, 2, 1)).transpose(0, 2, 1)
    spread = np.zeros((3, 42, 68), np.uint8)
    spread[:, ::2, ::2] = pixels * np.uint8(255)
    for same in (columns_first, pixels.astype(np.int64) * 3, spread[:, ::2, ::2]):
        assert encode_masks(same) == expected
    assert encode_masks(pixels[:, ::-1, ::-1]) == encode_masks(pixels[:, ::-1, ::-1].copy())
    assert encode_masks(np.asfortranarray(pixels)) == expected


def test_counts_may_be_bytes_text_or_run_lengths():
    mask = rle(2, 3, b"2111")
    same = [mask, rle(2, 3, "2111"), rle(2, 3, [2, 1, 1, 2]), rle(2, 3, np.array([2, 1, 1, 2]))]
    assert compress_masks(same) == [mask] * 4
    assert mask_iou(same, same).tolist() == [[1.0] * 4] * 4


def test_long_runs_take_every_number_of_characters():
    # up to seven characters, and differences that are negative
    rng = np.random.default_rng(3)
    for digits in range(1, 32):
        counts = rng.integers(0, 2**digits, int(rng.integers(1, 7)))
        counts = [*(counts // 4).tolist(), 1]  # at most 2^32 pixels
        mask = rle(1, sum(counts), counts)
        (packed,) = compress_masks([mask])
        assert packed["counts"] == reference.string_from_counts(counts)
        assert mask_counts([packed])[0].tolist() == counts


def test_empty_runs_inside_a_mask_change_nothing():
    plain, padded = rle(2, 3, [2, 3, 1]), rle(2, 3, [2, 1, 0, 2, 1, 0, 0])
    assert mask_area([padded]).tolist() == [3]
    assert mask_boxes_xywh([padded]).tolist() == mask_boxes_xywh([plain]).tolist()
    assert mask_iou([padded], [plain]).tolist() == [[1.0]]
    assert merge_masks([padded, padded]) == compress_masks([plain])[0]
    # as they stand, like pycocotools
    assert mask_counts([padded])[0].tolist() == padded["counts"]


def test_an_empty_mask_has_an_empty_box():
    assert mask_boxes_xywh([rle(4, 5, [20, 0])]).tolist() == [[0] * 4]  # pycocotools: 4294967292


def test_iou_over_a_crowd_is_the_share_of_the_first_mask():
    whole, half = rle(2, 4, [0, 8]), rle(2, 4, [4, 4])
    assert mask_iou([half], [whole, whole], [0, 1]).tolist() == [[0.5, 1.0]]
    assert mask_iou([whole], [half, half], [0, 1]).tolist() == [[0.5, 0.5]]


def test_masks_of_different_sizes_overlap_by_minus_one_where_their_boxes_meet():
    small, large = rle(2, 2, [0, 4]), rle(2, 3, [0, 6])
    far = rle(2, 3, [4, 2])
    assert mask_iou([small], [large, far]).tolist() == [[-1.0, 0.0]]
    theirs = compress_masks([small, large, far])
    assert pycocotools.iou(theirs[:1], theirs[1:], [0, 0]).tolist() == [[-1.0, 0.0]]


def blocks_of_noise():
    rng = np.random.default_rng(5)
    pixels = np.zeros((70, 300, 220), bool)
    for picture in pixels:
        y, x = np.sort(rng.integers(0, 300, 2)), np.sort(rng.integers(0, 220, 2))
        picture[y[0] : y[1], x[0] : x[1]] = rng.random((y[1] - y[0], x[1] - x[0])) < 0.8
    return encode_masks(pixels)


def test_every_way_of_intersecting_equals_pycocotools():
    masks = blocks_of_noise()
    theirs = pycocotools.iou(masks, masks[:9], [0] * 9)
    for count in (1, 70):  # one is walked along, many are looked up in bits
        np.testing.assert_array_equal(mask_iou(masks[:count], masks[:9]), theirs[:count])
    # too many pixels for bits
    spread = [rle(3000, 2000, [5, 100, 5_000_000, 7, 999_888]), rle(3000, 2000, [0, 6_000_000])]
    np.testing.assert_array_equal(mask_iou(spread, spread), [[1, 107 / 6e6], [107 / 6e6, 1]])


def test_every_instruction_set_gives_the_same_bits():
    code = (
        "from tests.metrics.shapes.test_masks import blocks_of_noise, mask_iou;"
        "masks = blocks_of_noise();"
        "print(hash(mask_iou(masks, masks[:9], [1, 0] * 4 + [0]).tobytes()))"
    )
    ended = {
        isa: subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "SIGHTLINE_ISA": isa, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
        for isa in ("baseline", "avx2", "avx512")
    }
    printed = {
        isa: run.stdout for isa, run in ended.items() if "this CPU has no more" not in run.stderr
    }
    assert "baseline" in printed and len(set(printed.values())) == 1, ended


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(6)
    masks = encode_masks(random_pixels(rng, 300, 20, 31))
    before = _numpy.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 7):
            _numpy.set_num_threads(threads)
            results.append((mask_iou(masks, masks[:5]), mask_area(masks), decode_masks(masks)))
            assert encode_masks(results[-1][2]) == masks
    finally:
        _numpy.set_num_threads(before)
    for result in results[1:]:
        for got, expected in zip(result, results[0]):
            np.testing.assert_array_equal(got, expected)


def test_a_square_covers_the_pixels_whose_middles_it_holds():
    (mask,) = polygons_to_masks([[[1, 1, 3, 1, 3, 3, 1, 3]]], 4, 4)
    expected = np.zeros((4, 4), bool)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(decode_masks([mask])[0], expected)
    assert boxes_to_masks([[1, 1, 2, 2]], 4, 4) == [mask]
    assert boxes_to_masks([[1, 1, 2, 2]], 4, 4) == pycocotools.frPyObjects(
        np.array([[1.0, 1, 2, 2]]), 4, 4
    )


def test_polygons_equal_pycocotools():
    rng = np.random.default_rng(7)
    for case in range(300):
        height, width = rng.integers(1, 90, 2).tolist()
        polygon = [
            (rng.uniform(-0.5, 1.5, (int(rng.integers(3, 20)), 2)) * (width, height))
            .round(int(rng.integers(0, 4)))
            .ravel()
            .tolist()
            for _ in range(int(rng.integers(1, 4)))
        ]
        theirs = pycocotools.merge(pycocotools.frPyObjects(polygon, height, width))
        assert polygons_to_masks([polygon], height, width) == [theirs], f"case {case}: {polygon}"


def test_polygons_of_real_objects_equal_pycocotools(shared_data):
    truth = json.loads((shared_data / "coco100" / "instances_val2014_100.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    seen = 0
    for annotation in truth["annotations"]:
        size, polygon = sizes[annotation["image_id"]], annotation["segmentation"]
        if isinstance(polygon, dict):
            ours, theirs = compress_masks([polygon])[0], pycocotools.frPyObjects(polygon, *size)
        else:
            ours = polygons_to_masks([polygon], *size)[0]
            theirs = pycocotools.merge(pycocotools.frPyObjects(polygon, *size))
            seen += 1
        assert ours == theirs
    assert seen > 500


def test_points_and_lines_hold_nothing_and_the_outside_is_cut_off():
    masks = polygons_to_masks(
        [[], [[]], [[1, 1]], [[0, 0, 9, 9]], [[-9, -9, 99, -9, 99, 99]]], 5, 6
    )
    assert mask_area(masks).tolist()[:4] == [0] * 4
    assert 0 < mask_area(masks)[4] < 30
    far = polygons_to_masks([[[-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8]]], 5, 6)
    assert mask_area(far).tolist() == [30]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (b"", "do not add up"),
        (b"5", "do not add up"),
        (b"7", "do not add up"),
        (b"P", "end inside a number"),
        (b"1P", "end inside a number"),
        (b"oooooooooooooooooooooooo", "end inside a number"),
        (b"PPPPPPPP0", "2\\^32 pixels"),
        (b"1PPPPPPPPPPPPPP0", "2\\^32 pixels"),
        (b"1N", "negative run"),
        (b"oooooo7", "2\\^32 pixels"),
        (b"1 2", "character outside"),
        (b"1\x002", "character outside"),
        (b"1\xff2", "character outside"),
        (b"p", "character outside"),
        ([2, 3], "do not add up"),
        ([2**32 - 1, 2**32 - 1], "do not add up"),
    ],
)
def test_malformed_counts_are_named(counts, reason):
    good, bad = rle(2, 3, [6]), rle(2, 3, counts)
    for call in (mask_area, mask_boxes_xywh, decode_masks, merge_masks, mask_counts):
        with pytest.raises(ValueError, match=rf"`masks\[1\]`: .*{reason}"):
            call([good, bad])
    with pytest.raises(ValueError, match=rf"`masks1\[1\]`: .*{reason}"):
        mask_iou([good, bad], [good])
    with pytest.raises(ValueError, match=rf"`masks2\[1\]`: .*{reason}"):
        mask_iou([good], [good, bad])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode_masks(np.zeros((2, 2))), TypeError, "bool or integers, got dtype float64"),
        (lambda: encode_masks(np.zeros((2, 2), bool)), ValueError, r"\[N, H, W\], got \[2, 2\]"),
        (lambda: mask_area([[1, 2]]), TypeError, r"`masks\[0\]` must be a dict"),
        (lambda: mask_area([{"size": [1, 1]}]), ValueError, r"`masks\[0\]` must have size and"),
        (lambda: mask_area([rle(1, 1, "ä")]), ValueError, "character outside"),
        (lambda: mask_area([rle(1, 1, [0.5, 0.5])]), TypeError, "counts as bytes, str or integers"),
        (lambda: mask_area([rle(1, 1, [-1, 2])]), ValueError, r"counts in 0 \.\.\."),
        (lambda: mask_area([{"size": [1], "counts": b"1"}]), ValueError, r"size \[height, width\]"),
        (lambda: mask_area([rle(-1, 1, [1])]), ValueError, "sides must be at least 0"),
        (lambda: mask_area([rle(2**16, 2**16, [1])]), ValueError, r"fewer than 2\^32"),
        (lambda: mask_area([rle(2**40, 2**40, [1])]), ValueError, r"fewer than 2\^32"),
        (lambda: decode_masks([rle(2**40, 2**40, [1])]), ValueError, r"fewer than 2\^32"),
        (lambda: decode_masks([rle(1, 2, [2]), rle(2, 1, [2])]), ValueError, r"\[1\]`: its size"),
        (lambda: merge_masks([rle(1, 2, [2]), rle(2, 1, [2])]), ValueError, r"\[1\]`: its size"),
        (lambda: mask_iou([rle(1, 1, [1])], [], [True]), ValueError, "`iscrowd` must have one"),
        (lambda: polygons_to_masks([[[0, 0, np.nan, 1, 2, 2]]], 3, 3), ValueError, "not finite"),
        (lambda: polygons_to_masks([[[0, 0, 1e9, 1, 2, 2]]], 3, 3), ValueError, "beyond"),
        (lambda: polygons_to_masks([[0, 0, 1, 1, 2, 2]], 3, 3), ValueError, "must be rings"),
        (lambda: polygons_to_masks([[[0, 0, 1, 1, 2, 2]]], -3, 3), ValueError, "at least 0"),
        (lambda: boxes_to_masks([[0, 0, 1]], 3, 3), ValueError, r"\[N, 4\], got \[1, 3\]"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
