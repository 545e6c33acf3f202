"""Box helpers against the reference, on arrays and on tensors."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

FORMATS = ("xyxy", "xywh", "cxcywh")


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


def test_box_convert_keeps_integers_and_leading_dimensions():
    boxes = np.array([[[1, 2, 3, 7]]])
    assert ops.box_convert(boxes, "xywh", "xyxy").tolist() == [[[1, 2, 4, 9]]]
    assert ops.box_convert(boxes, "xywh", "xyxy").dtype == boxes.dtype


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


def test_coding_is_the_reference_and_its_own_inverse(boxes, anchors):
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas = reference.encode_boxes(boxes, anchors, weights)
    assert_both_kinds(ops.encode_boxes, deltas, boxes, anchors, weights)
    np.testing.assert_allclose(reference.decode_boxes(deltas, anchors, weights), boxes, atol=1e-10)
    decoded = reference.decode_boxes(deltas, anchors, weights)
    assert_both_kinds(ops.decode_boxes, decoded, deltas, anchors, weights)


def test_deltas_worked_by_hand():
    anchors = np.array([[0.0, 0, 10, 20]])
    boxes = np.array([[5.0, 0, 25, 20]])  # the centre moves by an anchor's width, which doubles
    assert_both_kinds(ops.encode_boxes, [[1, 0, np.log(2), 0]], boxes, anchors)
    assert_both_kinds(ops.decode_boxes, anchors, np.zeros((1, 4)), anchors)


def test_decoding_bounds_the_size(anchors):
    wild = np.full((65, 4), 1e3)
    assert_both_kinds(ops.decode_boxes, reference.decode_boxes(wild, anchors), wild, anchors)


def test_coding_has_the_gradient_of_its_value(boxes, anchors):
    deltas = torch.tensor(reference.encode_boxes(boxes[:5], anchors[:5]), requires_grad=True)
    anchor_tensor = torch.from_numpy(anchors[:5])
    assert torch.autograd.gradcheck(lambda d: ops.decode_boxes(d, anchor_tensor), deltas)


def test_wrong_arguments_are_named(boxes):
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[\.\.\., 4\], got \[2, 5\]"):
        ops.box_convert(np.zeros((2, 5)), "xyxy", "xywh")
    with pytest.raises(ValueError, match="`out_fmt` must be one of"):
        ops.box_convert(boxes, "xyxy", "yxyx")
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        ops.encode_boxes(boxes, torch.from_numpy(boxes))
