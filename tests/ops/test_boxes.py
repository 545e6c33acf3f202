"""Box helpers against the reference, on arrays and on tensors."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

FORMATS = ("xyxy", "xywh", "cxcywh")
ROTATED = ("xywhr", "cxcywhr", "xyxyxyxy")


@pytest.fixture
def boxes():
    rng = np.random.default_rng(0)
    corner = rng.uniform(-50, 100, (65, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, 60, (65, 2))], 1)


@pytest.fixture
def anchors():
    rng = np.random.default_rng(1)
    corner = rng.uniform(-50, 100, (65, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 40, (65, 2))], 1)


def assert_both_kinds(function, expected, *arguments, **keywords):
    """The op gives `expected` for arrays, and for the same arguments as tensors."""
    got = function(*arguments, **keywords)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-12)
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    got = function(*tensors, **keywords)
    assert isinstance(got, torch.Tensor)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("in_fmt", FORMATS)
@pytest.mark.parametrize("out_fmt", FORMATS)
def test_box_convert_is_the_reference(boxes, in_fmt, out_fmt):
    given = reference.box_convert(boxes, "xyxy", in_fmt)
    expected = reference.box_convert(boxes, "xyxy", out_fmt)
    assert_both_kinds(ops.box_convert, expected, given, in_fmt, out_fmt)


def test_box_convert_of_integers_neither_wraps_nor_loses_halves():
    boxes = np.array([[[1, 2, 3, 7]]])
    assert ops.box_convert(boxes, "xywh", "xyxy").tolist() == [[[1, 2, 4, 9]]]
    assert ops.box_convert(boxes, "xywh", "xyxy").dtype == boxes.dtype
    wide = ops.box_convert(np.array([[200, 9, 100, 5]], np.uint8), "xywh", "xyxy")
    assert wide.dtype == np.int32 and wide.tolist() == [[200, 9, 300, 14]]
    wide = ops.box_convert(torch.tensor([[9, 9, 3, 12]], dtype=torch.uint8), "xyxy", "xywh")
    assert wide.dtype == torch.int32 and wide.tolist() == [[9, 9, -6, 3]]
    centred = ops.box_convert(torch.tensor([[0, 0, 3, 5]]), "xyxy", "cxcywh")
    assert centred.dtype == torch.float32 and centred.tolist() == [[1.5, 2.5, 3, 5]]


@pytest.fixture
def rotated(boxes):
    """[65, 5] centre, size and degrees, all quadrants among them."""
    angle = np.random.default_rng(2).uniform(-179, 179, (len(boxes), 1))
    return np.concatenate([reference.box_convert(boxes, "xyxy", "cxcywh"), angle], 1)


def test_rotated_formats_worked_by_hand():
    # A quarter turn counter-clockwise: what was the top left corner lies at the bottom left.
    box = np.array([[10.0, 10, 4, 2, 90]])
    corners = [[9, 12, 9, 8, 11, 8, 11, 12]]
    np.testing.assert_allclose(ops.box_convert(box, "cxcywhr", "xyxyxyxy"), corners, atol=1e-14)
    np.testing.assert_allclose(
        ops.box_convert(box, "cxcywhr", "xywhr"), [[9, 12, 4, 2, 90]], atol=1e-14
    )


@pytest.mark.parametrize("in_fmt", ROTATED)
@pytest.mark.parametrize("out_fmt", ROTATED)
def test_rotated_formats_are_the_reference(rotated, in_fmt, out_fmt):
    given = reference.box_convert(rotated, "cxcywhr", in_fmt)
    expected = reference.box_convert(rotated, "cxcywhr", out_fmt)
    assert_both_kinds(ops.box_convert, expected, given, in_fmt, out_fmt)


def test_rotated_formats_round_integers_and_keep_the_dtype(rotated):
    whole = rotated.round().astype(np.int64)
    expected = reference.box_convert(whole, "cxcywhr", "xyxyxyxy").round()
    got = ops.box_convert(torch.from_numpy(whole), "cxcywhr", "xyxyxyxy")
    assert got.dtype == torch.int64 and got.tolist() == expected.tolist()
    half = torch.from_numpy(rotated).half()
    assert ops.box_convert(half, "cxcywhr", "xywhr").dtype == torch.float16


@pytest.mark.parametrize("fmt", FORMATS)
def test_box_area_of_every_format_is_the_reference(boxes, fmt):
    given = reference.box_convert(boxes, "xyxy", fmt)
    assert_both_kinds(ops.box_area, reference.box_area(given, fmt), given, fmt)


def test_clip_boxes_of_narrow_integers_to_a_large_image():
    boxes = np.array([[1, 2, 250, 30]], np.uint8)
    assert ops.clip_boxes_to_image(boxes, (20, 1000)).tolist() == [[1, 2, 250, 20]]
    assert ops.clip_boxes_to_image(torch.from_numpy(boxes), (20.9, 1e9)).tolist() == [
        [1, 2, 250, 20]
    ]


def test_remove_small_boxes_of_unsigned_integers_sees_inverted_ones():
    boxes = np.array([[9, 9, 3, 3], [0, 0, 250, 250]], np.uint8)
    assert ops.remove_small_boxes(boxes, 5).tolist() == [1]
    assert ops.remove_small_boxes(torch.from_numpy(boxes), 5).tolist() == [1]


BAD = np.array(
    [
        [0, 0, 2, 2],
        [np.nan, 0, 1, 1],
        [0, 0, np.inf, 1],
        [3, 3, 1, 4],
        [3, 3, 3, 4],
        [-1e200, -1e200, 1e200, 1e200],
        [0, 0, 50, 2],
        [np.inf, 0, np.nan, 1],
    ]
)


@pytest.mark.parametrize("size", [None, (10, 40)])
def test_check_boxes_says_what_the_reference_says(size):
    for rows in (BAD, BAD[:2], np.repeat(BAD, 7, 0)):
        with pytest.raises(ValueError) as expected:
            reference.check_boxes(rows, size=size)
        for boxes in (rows, torch.from_numpy(rows)):
            with pytest.raises(ValueError) as got:
                ops.check_boxes(boxes, size=size)
            assert str(got.value) == str(expected.value)


def test_check_boxes_names_the_rows_of_every_reason():
    with pytest.raises(ValueError) as error:
        ops.check_boxes(BAD, size=(10, 40))
    assert str(error.value) == (
        "`boxes` has 7 bad rows of 8: 2 with NaN (rows 1, 7); 1 infinite (row 2); "
        "1 inverted (row 3); 1 without area (row 4); 1 whose area overflows (row 5); "
        "1 outside the image of 10 x 40 (row 6)"
    )


def test_check_boxes_returns_good_boxes_themselves(boxes):
    assert ops.check_boxes(boxes) is boxes
    assert ops.check_boxes(np.zeros((0, 4)), size=(1, 1)).shape == (0, 4)
    whole = torch.tensor([[0, 0, 9, 9]], dtype=torch.bfloat16)
    assert ops.check_boxes(whole, size=(9, 9)) is whole


def test_check_boxes_computes_areas_in_the_type_of_the_ops():
    with pytest.raises(ValueError, match="1 whose area overflows"):
        ops.check_boxes(np.array([[0, 0, 1e30, 1e30]], np.float32))
    ops.check_boxes(np.array([[0, 0, 1e30, 1e30]]))


def test_area_clip_and_small_boxes_are_the_reference(boxes):
    assert_both_kinds(ops.box_area, reference.box_area(boxes), boxes)
    expected = reference.clip_boxes_to_image(boxes, (60, 80))
    assert_both_kinds(ops.clip_boxes_to_image, expected, boxes, (60, 80))
    expected = reference.remove_small_boxes(boxes, 20)
    assert 0 < len(expected) < len(boxes)
    assert_both_kinds(ops.remove_small_boxes, expected, boxes, 20)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_box_area_does_not_overflow_narrow_types(dtype):
    assert ops.box_area(np.array([[0, 0, 250, 250], [9, 9, 3, 3]], dtype)).tolist() == [62500, 0]


def test_wrong_arguments_are_named(boxes):
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[\.\.\., 4\], got \[2, 5\]"):
        ops.box_convert(np.zeros((2, 5)), "xyxy", "xywh")
    with pytest.raises(ValueError, match="`out_fmt` must be one of"):
        ops.box_convert(boxes, "xyxy", "yxyx")
    with pytest.raises(ValueError, match="must be both aligned or both rotated"):
        ops.box_convert(boxes, "xyxy", "cxcywhr")
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[\.\.\., 5\], got \[65, 4\]"):
        ops.box_convert(boxes, "xywhr", "cxcywhr")
    with pytest.raises(ValueError, match="`fmt` must be one of"):
        ops.box_area(boxes, "cxcywhr")
    for size in ((1,), 5, (-1, 2), (float("nan"), 2)):
        with pytest.raises(ValueError, match="`size` must be"):
            ops.clip_boxes_to_image(boxes, size)
    for function in (ops.check_boxes, lambda b: ops.remove_small_boxes(b, 1)):
        with pytest.raises(ValueError, match=r"`boxes` must have shape \[N, 4\], got \[4\]"):
            function(boxes[0])
    with pytest.raises(TypeError, match="real numbers"):
        ops.box_convert(boxes > 0, "xyxy", "xywh")
