"""IoU of rotated boxes: hand-worked cases, what peers got wrong, the reference, gradients."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import ops, reference

from .box_cases import awkward_layouts
from .isa import output_of_every_level
from .rotated_cases import exact_iou, random_rotated_boxes

DTYPES = (np.float32, np.float64)
OPS = ("box_iou_rotated", "aligned_box_iou_rotated")
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


def one(a, b, dtype=np.float64, **settings):
    return float(ops.box_iou_rotated(np.array([a], dtype), np.array([b], dtype), **settings)[0, 0])


def test_a_square_and_itself_turned_by_45_degrees_share_an_octagon():
    octagon = 8 * (math.sqrt(2) - 1)
    expected = octagon / (4 + 4 - octagon)
    assert one([0, 0, 2, 2, 0], [0, 0, 2, 2, 45]) == pytest.approx(expected, abs=1e-15)
    radians = one([0, 0, 2, 2, 0], [0, 0, 2, 2, math.pi / 4], unit="radians")
    assert radians == pytest.approx(expected, abs=1e-15)


def test_boxes_that_cross_share_the_square_of_their_crossing():
    assert one([0, 0, 10, 2, 0], [0, 0, 10, 2, 90]) == 4 / 36
    crossing = 4 / math.sin(math.radians(60))
    expected = crossing / (40 - crossing)
    assert one([5, 5, 10, 2, 10], [5, 5, 10, 2, 70]) == pytest.approx(expected, abs=1e-15)


def test_angles_turn_counter_clockwise_in_an_image():
    # The right arm of a bar that is turned counter-clockwise points up, to smaller y.
    x, y = 4 * math.cos(math.radians(30)), 4 * math.sin(math.radians(30))
    bar, up, down = [0, 0, 10, 2, 30], [x, -y, 0.1, 0.1, 0], [x, y, 0.1, 0.1, 0]
    assert one(bar, up) == pytest.approx(0.01 / 20, rel=1e-12)
    assert one(bar, down) == 0


def test_upright_boxes_have_the_iou_of_upright_boxes():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 40, (200, 2, 2)), 1).reshape(200, 4).astype(np.float32)
    boxes = ops.box_convert(corners, "xyxy", "cxcywh")
    expected = ops.box_iou(corners, corners)
    for turns in (0, 1, 2, 3, -1, 400):
        sides = boxes[:, [0, 1, 3, 2]] if turns % 2 else boxes
        turned = np.concatenate([sides, np.full((200, 1), 90.0 * turns)], 1, dtype=np.float32)
        assert (ops.box_iou_rotated(turned, turned) == expected).all()


# What a public issue reported: two boxes, their unit, the right IoU by the exact polygon.
REPORTED = {
    "mmcv_2621_identical_boxes_gave_a_third": (
        [0.0, 0.0, 180.6422271729, 136.3633728027, 0.9559648633],
        [0.0, 0.0, 180.6422271729, 136.3633728027, 0.9559648633],
        "radians",
    ),
    "mmcv_2952_a_box_without_width_gave_minus_twelve_million": (
        [135.07, 406.72, 7.9445e-7, 1971.1, 1.7708],
        [151.0080, 436.2173, 302.0159, 313.7347, 3.1184],
        "radians",
    ),
    "mmcv_2952_a_long_box_without_width_gave_six": (
        [135.07, 406.72, 7.9445e-7, 1.9711e10, 1.7708],
        [151.0080, 436.2173, 302.0159, 313.7347, 3.1184],
        "radians",
    ),
    "detectron2_1207_boxes_that_are_apart_gave_a_quarter": (
        [160.0, 153.0, 230.0, 23.0, -37.0],
        [190.0, 127.0, 80.0, 21.0, -46.0],
        "degrees",
    ),
    "detectron2_2154_almost_identical_boxes_gave_0_6": (
        [296.6620178222656, 458.73883056640625, 23.515729904174805, 47.677001953125, 0.08795166015],
        [296.66201, 458.73882000000003, 23.51573, 47.67702, 0.087951],
        "degrees",
    ),
    "detectron2_2167_almost_identical_long_boxes_gave_0_58": (
        [2563.744628906, 1436.790161132, 2174.703369140, 214.095001220, 115.118347167],
        [2563.744628906, 1436.790283203, 2174.702880859, 214.094955444, 115.118354797],
        "degrees",
    ),
    "detectron2_4961_boxes_that_are_apart_gave_0_37": (
        [1010.5, 860.00012207, 12.20655537, 48.82622528, 55.00798035],
        [1022, 870.49993896, 10.81665134, 43.26660919, 56.30992889],
        "degrees",
    ),
    "rrpn_44_small_boxes_gave_1_35": (
        [46.83, 44.03, 3.9, 1.63, 0],
        [46.83, 44.03, 1.63, 3.9, 1.45],
        "radians",
    ),
    "rotated_maskrcnn_46_identical_boxes_gave_a_third": (
        [672.4067, 290.7776, 791.0275, 38.9333, 34.1454],
        [672.4067, 290.7776, 791.0275, 38.9333, 34.1454],
        "degrees",
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REPORTED)
def test_reported_case(name, dtype):
    a, b, unit = REPORTED[name]
    a, b = np.array(a, dtype), np.array(b, dtype)
    expected = exact_iou(a, b, unit)
    tolerance = 1e-5 if dtype is np.float32 else 1e-9
    for first, second in ((a, b), (b, a)):
        got = one(first, second, dtype, unit=unit)
        assert 0 <= got <= 1 and got == pytest.approx(expected, abs=tolerance)
        if (a == b).all():
            assert got == 1


def test_tiny_boxes_far_from_others_have_iou_zero():
    # mmrotate 26: infinite; torchvision 0.29: 1.
    tiny = [903.34, 1034.4, 1.81e-7, 1e-7, -0.312]
    others = [
        [215.25, 75.75, 33.204, 12.649, 0.32175],
        [300.13, 771.44, 492.22, 313.68, -1.3978],
        [848.87, 699.89, 468.54, 307.43, -1.4008],
        [852.5, 702.5, 761.81, 382.0, -1.3984],
    ]
    for dtype in DTYPES:
        got = ops.box_iou_rotated(np.array([tiny], dtype), np.array(others, dtype), unit="radians")
        assert (got < 1e-15).all() and (got[0, :2] == 0).all()
        assert one(tiny, tiny, dtype, unit="radians") == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("unit", ["degrees", "radians"])
def test_pairs_equal_the_reference(unit, dtype):
    rng = np.random.default_rng(1)
    for n, m in ((0, 3), (3, 0), (1, 1), (2, 63), (17, 64), (5, 300), (40, 65)):
        a = random_rotated_boxes(rng, n, dtype, bad=n > 1, unit=unit)
        b = random_rotated_boxes(rng, m, dtype, bad=m > 1, unit=unit)
        expected = reference.box_iou_rotated(a, b, unit=unit)
        got = ops.box_iou_rotated(a, b, unit=unit)
        assert got.dtype == dtype and got.shape == (n, m)
        assert (got >= 0).all() and (got <= 1).all()
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype])
        tensors = torch.from_numpy(a), torch.from_numpy(b)
        assert (ops.box_iou_rotated(*tensors, unit=unit).numpy() == got).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_aligned_pairs_are_the_diagonal(dtype):
    rng = np.random.default_rng(2)
    for n in (0, 1, 2, 63, 64, 65, 1000):
        a, b = (random_rotated_boxes(rng, n, dtype, bad=n > 0) for _ in range(2))
        got = ops.box_iou_rotated(a, b, aligned=True)
        assert got.dtype == dtype and (got == np.diag(ops.box_iou_rotated(a, b))).all()
        tensors = torch.from_numpy(a), torch.from_numpy(b)
        assert (ops.box_iou_rotated(*tensors, aligned=True).numpy() == got).all()
    expected = reference.box_iou_rotated(a[:65], b[:65], aligned=True)
    np.testing.assert_allclose(got[:65], expected, rtol=0, atol=TOLERANCE[dtype])


def test_sparse_and_dense_rows_give_the_same_numbers():
    # A row is computed whole, or only where hulls overlap; a box decides by its neighbours.
    rng = np.random.default_rng(3)
    a = random_rotated_boxes(rng, 40)
    b = random_rotated_boxes(rng, 700)
    far = b + np.float32([1e4, 0, 0, 0, 0])
    whole = ops.box_iou_rotated(a, b)
    mixed = np.concatenate([b, far, far, far, far])[
        np.argsort(np.arange(3500) % 700, kind="stable")
    ]
    assert (ops.box_iou_rotated(a, mixed)[:, ::5] == whole).all()
    assert (whole > 0).mean() > 0.2


def test_reference_equals_the_exact_polygon():
    rng = np.random.default_rng(4)
    a = random_rotated_boxes(rng, 150, np.float64)
    b = random_rotated_boxes(rng, 150, np.float64)
    b[50:] = a[50:]
    b[50:100] += rng.normal(0, 1e-6, (50, 5))
    b[100:, 4] += rng.uniform(-1, 1, 50)
    got = reference.box_iou_rotated(a, b, aligned=True)
    expected = [exact_iou(p, q) for p, q in zip(a, b)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        ops.box_iou_rotated(a, b, aligned=True), expected, rtol=0, atol=1e-14
    )


def test_identical_boxes_have_iou_exactly_one_whatever_their_turns():
    rng = np.random.default_rng(5)
    for dtype in DTYPES:
        boxes = random_rotated_boxes(rng, 500, dtype)
        boxes[:, 4] = np.round(boxes[:, 4] * 64) / 64  # whole turns leave its bits
        assert (ops.box_iou_rotated(boxes, boxes, aligned=True) == 1).all()
        for turns in (1, 2, 3, 4, -1, -6):
            same = boxes[:, [0, 1, 3, 2, 4]] if turns % 2 else boxes.copy()
            same[:, 4] += 90 * turns
            assert (ops.box_iou_rotated(boxes, same, aligned=True) == 1).all()
    boxes[:, 4] = rng.choice([45, -45, 135, 225], 500)
    same = boxes[:, [0, 1, 3, 2, 4]] + [0, 0, 0, 0, 90]
    assert (ops.box_iou_rotated(boxes, same, aligned=True) == 1).all()


def test_radians_wrap_within_rounding():
    rng = np.random.default_rng(6)
    boxes = random_rotated_boxes(rng, 300, np.float64, unit="radians")
    for turns in (1, 2, -2, 4):
        same = boxes[:, [0, 1, 3, 2, 4]] if turns % 2 else boxes.copy()
        same[:, 4] += turns * np.pi / 2
        got = ops.box_iou_rotated(boxes, same, unit="radians", aligned=True)
        np.testing.assert_allclose(got, 1, atol=1e-13)


def test_boxes_that_touch_share_nothing():
    centre = [10, 10, 4, 6, 0]
    for other in (
        [14, 10, 4, 6, 0],
        [10, 16, 4, 6, 180],
        [14, 16, 4, 6, 90 * 4],
        [10, 15, 4, 4, 90],
    ):
        assert one(centre, other) == 0 or other[1] == 15
    assert one(centre, [13, 10, 2, 6, 0]) == 0
    # A corner on a side, turned by 45 degrees: within rounding.
    assert one(centre, [12 + math.sqrt(2), 10, 2, 2, 45]) < 1e-15


def test_a_box_within_another_has_the_ratio_of_the_areas():
    outer = [5, 5, 100, 60, 33]
    for angle in (0, 12, 33, 90, 123):
        assert one(outer, [6, 4, 10, 5, angle]) == pytest.approx(50 / 6000, rel=1e-12)
        assert one([6, 4, 10, 5, angle], outer) == pytest.approx(50 / 6000, rel=1e-12)


def test_far_from_the_origin_nothing_is_lost():
    for dtype, offset in ((np.float32, 2.0**16), (np.float64, 2.0**40)):
        rng = np.random.default_rng(7)
        near = random_rotated_boxes(rng, 60, dtype)
        near[:, :2] = np.round(near[:, :2])
        far = near.copy()
        far[:, :2] += dtype(offset)
        assert (ops.box_iou_rotated(far, far) == ops.box_iou_rotated(near, near)).all()


def test_slivers_stay_within_what_a_last_bit_of_the_angle_moves():
    rng = np.random.default_rng(8)
    a = random_rotated_boxes(rng, 300, np.float64)
    a[:, 2], a[:, 3] = rng.uniform(100, 1000, 300), 1
    b = a + rng.uniform(-1, 1, (300, 5)) * [1, 1, 10, 0.1, 0.3]
    expected = reference.box_iou_rotated(a, b, aligned=True)
    got = ops.box_iou_rotated(a, b, aligned=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    a, b = a.astype(np.float32), b.astype(np.float32)
    expected = reference.box_iou_rotated(a.astype(np.float64), b.astype(np.float64), aligned=True)
    got = ops.box_iou_rotated(a, b, aligned=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4)


def test_bad_boxes_overlap_nothing():
    whole = np.array([[0, 0, 10, 10, 0]], np.float32)
    nan, inf = np.nan, np.inf
    bad = [[nan, 0, 9, 9, 0], [0, inf, 9, 9, 0], [0, 0, inf, 9, 0], [0, 0, 9, nan, 0]]
    bad += [[0, 0, 9, 9, nan], [0, 0, 9, 9, inf], [0, 0, -9, 9, 0], [0, 0, -9, -9, 0]]
    bad += [[0, 0, 0, 9, 0], [0, 0, 9, 0, 0], [0, 0, 3e38, 3e38, 0], [0, 0, 1e-30, 1e-30, 0]]
    bad = np.array(bad, np.float32)
    assert (ops.box_iou_rotated(whole, bad) == 0).all()
    assert (ops.box_iou_rotated(bad, bad) == 0).all()
    huge = np.array([[3e38, -3e38, 1, 1, 0], [0, 0, 3e38, 1e-3, 45]], np.float32)
    assert np.isfinite(ops.box_iou_rotated(huge, np.concatenate([huge, whole]))).all()


def test_huge_angles_are_reduced_exactly():
    angle = np.float64(2.0**60 + 4096)
    expected = one([0, 0, 4, 2, math.fmod(angle, 360)], [1, 0, 4, 2, 10])
    assert one([0, 0, 4, 2, angle], [1, 0, 4, 2, 10]) == expected
    assert one([0, 0, 4, 2, -angle], [1, 0, 4, 2, 10]) != expected
    assert 0 <= one([0, 0, 4, 2, 1e300], [1, 0, 4, 2, 10], unit="radians") <= 1


def test_bars_that_cross_share_what_the_sine_of_their_angle_says():
    angle = np.concatenate([np.linspace(3, 90, 500), 90 - np.geomspace(1e-9, 80, 200)])
    bars = np.zeros((len(angle), 5))
    bars[:, 2:4] = 40, 1
    turned = bars.copy()
    turned[:, 4] = angle
    crossing = 1 / np.sin(np.radians(angle))
    got = ops.box_iou_rotated(turned, bars, aligned=True)
    np.testing.assert_allclose(got, crossing / (80 - crossing), rtol=2e-14)


boxes_of_integers = st.lists(
    st.tuples(
        *[st.integers(-4, 4)] * 2,
        *[st.integers(0, 6)] * 2,
        st.integers(-24, 24).map(lambda k: 15 * k),
    ),
    min_size=1,
    max_size=5,
).map(lambda rows: np.array(rows, np.float64))


@settings(deadline=None, max_examples=60)
@given(boxes_of_integers, boxes_of_integers, st.integers(-9, 9), st.integers(-180, 180))
def test_iou_is_symmetric_bounded_and_moves_with_the_boxes(a, b, shift, turn):
    iou = ops.box_iou_rotated(a, b)
    assert (iou >= 0).all() and (iou <= 1).all()
    close = {"rtol": 0, "atol": 1e-14}
    np.testing.assert_allclose(ops.box_iou_rotated(b, a).T, iou, **close)
    offset = np.array([shift, -shift, 0, 0, 0])
    assert (ops.box_iou_rotated(a + offset, b + offset) == iou).all()
    scale = np.array([4, 4, 4, 4, 1])
    assert (ops.box_iou_rotated(a * scale, b * scale) == iou).all()
    mirror = np.array([-1, 1, 1, 1, -1])
    np.testing.assert_allclose(ops.box_iou_rotated(a * mirror, b * mirror), iou, **close)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))

    def turned(boxes):
        x, y = boxes[:, 0], boxes[:, 1]
        return np.stack(
            [c * x + s * y, c * y - s * x, boxes[:, 2], boxes[:, 3], boxes[:, 4] + turn], 1
        )

    np.testing.assert_allclose(ops.box_iou_rotated(turned(a), turned(b)), iou, rtol=0, atol=1e-13)


def test_types_widen_and_float64_stays():
    boxes = np.array([[100, 100, 50, 20, 30], [110, 95, 60, 30, 75]])
    expected = ops.box_iou_rotated(boxes.astype(np.float32), boxes.astype(np.float32))
    for dtype in (np.uint8, np.int16, np.int64, np.float16):
        got = ops.box_iou_rotated(boxes.astype(dtype), boxes.astype(dtype))
        assert got.dtype == np.float32 and (got == expected).all()
    for dtype in (torch.uint8, torch.int32, torch.float16):
        tensor = torch.from_numpy(boxes).to(dtype)
        got = ops.box_iou_rotated(tensor, tensor)
        assert got.dtype == torch.float32 and (got.numpy() == expected).all()
    assert ops.box_iou_rotated(torch.rand(2, 5).bfloat16(), torch.rand(2, 5)).dtype == torch.float32
    assert ops.box_iou_rotated(boxes.astype(np.float32), boxes * 1.0).dtype == np.float64


def test_arrays_of_any_layout_give_the_same_result():
    rng = np.random.default_rng(10)
    a, b = random_rotated_boxes(rng, 65), random_rotated_boxes(rng, 33)
    expected = ops.box_iou_rotated(a, b)
    for same in awkward_layouts(a):
        assert (ops.box_iou_rotated(same, b) == expected).all()
    tensor = torch.from_numpy(a).t().contiguous().t()
    assert (ops.box_iou_rotated(tensor, torch.from_numpy(b)).numpy() == expected).all()


def test_out_is_filled_and_returned_and_refused_where_it_does_not_fit():
    rng = np.random.default_rng(11)
    a, b = random_rotated_boxes(rng, 5), random_rotated_boxes(rng, 7)
    for array in (np.asarray, torch.from_numpy):
        p, q = array(a), array(b)
        out = array(np.empty((5, 7), np.float32))
        assert ops.box_iou_rotated(p, q, out=out) is out
        assert (out == ops.box_iou_rotated(p, q)).all()
        out = array(np.empty(5, np.float32))
        assert ops.box_iou_rotated(p, q[:5], aligned=True, out=out) is out
        assert (out == ops.box_iou_rotated(p, q[:5], aligned=True)).all()
        with pytest.raises(
            ValueError, match=r"`out` must be a contiguous .*float32 of shape \[5, 7"
        ):
            ops.box_iou_rotated(p, q, out=out)
    with pytest.raises(ValueError, match="is not differentiable"):
        grad = torch.from_numpy(a).requires_grad_()
        ops.box_iou_rotated(grad, grad, out=torch.empty(5, 5))


def test_wrong_arguments_are_named():
    good = np.zeros((2, 5))
    with pytest.raises(ValueError, match=r"`boxes1` must have shape \[N, 5\], .*got \[3, 4\]"):
        ops.box_iou_rotated(np.zeros((3, 4)), good)
    with pytest.raises(ValueError, match=r"`boxes2` must have shape \[N, 5\], .*got \[5\]"):
        ops.box_iou_rotated(good, np.zeros(5))
    with pytest.raises(ValueError, match="`unit` must be one of 'degrees', 'radians', got 'deg'"):
        ops.box_iou_rotated(good, good, unit="deg")
    with pytest.raises(ValueError, match="must have the same length where `aligned`, got 2 and 3"):
        ops.box_iou_rotated(good, np.zeros((3, 5)), aligned=True)
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        ops.box_iou_rotated(torch.zeros(2, 5), good)
    with pytest.raises(TypeError, match="`boxes1` must hold real numbers, got dtype bool"):
        ops.box_iou_rotated(good.astype(bool), good)


@pytest.mark.parametrize("unit", ["degrees", "radians"])
@pytest.mark.parametrize("aligned", [False, True])
def test_gradients_are_those_of_the_value(unit, aligned):
    rng = np.random.default_rng(12)
    a, b = (
        torch.tensor(random_rotated_boxes(rng, 12, np.float64, unit=unit), requires_grad=True)
        for _ in range(2)
    )
    assert (ops.box_iou_rotated(a, b, unit=unit) > 0).sum() > 20

    def function(p, q):
        return ops.box_iou_rotated(p, q, unit=unit, aligned=aligned)

    assert torch.autograd.gradcheck(function, (a, b))


def test_at_ties_each_box_gets_half_of_the_gradient():
    a = torch.tensor([[3.0, 4.0, 6.0, 2.0, 30.0]], dtype=torch.float64, requires_grad=True)
    b = a.detach().clone().requires_grad_()
    ops.box_iou_rotated(a, b).sum().backward()
    # Growing alone, a box loses IoU at 1 / w; shrinking, it loses as much: the mean is 0.
    assert torch.equal(a.grad, torch.zeros(1, 5, dtype=torch.float64))
    assert torch.equal(b.grad, a.grad)
    inner = torch.tensor([[0.0, 0, 2, 2, 0]], dtype=torch.float64, requires_grad=True)
    outer = torch.tensor([[1.0, 0, 4, 4, 0]], dtype=torch.float64)  # shares the left side
    ops.box_iou_rotated(inner, outer).sum().backward()
    # From the right, one half of moves to the left: IoU = 4 / 16, dI / d cx = 2 - 2 / 2.
    assert inner.grad[0, 0] == pytest.approx(1 * (1 / 16 + 4 / 256), abs=1e-15)


def test_gradients_are_finite_wherever_boxes_are_bad_or_tie():
    rng = np.random.default_rng(13)
    rows = random_rotated_boxes(rng, 120, np.float32, bad=True)
    a = torch.tensor(rows, requires_grad=True)
    b = torch.tensor(rows[::-1].copy(), requires_grad=True)
    for aligned in (False, True):
        iou = ops.box_iou_rotated(a, b, aligned=aligned)
        for grad in torch.autograd.grad(iou.sum(), (a, b)):
            assert torch.isfinite(grad).all()


def arguments_of(name, requires_grad):
    rng = np.random.default_rng(14)
    a, b = (
        torch.tensor(random_rotated_boxes(rng, 5), requires_grad=requires_grad) for _ in range(2)
    )
    return a, b, True


@pytest.mark.parametrize("name", OPS)
def test_opcheck(name):
    torch.library.opcheck(getattr(torch.ops.sightline, name).default, arguments_of(name, True))
    arguments = arguments_of(name, False)
    result = torch.ones(5, 5) if name == "box_iou_rotated" else torch.ones(5)
    backward = getattr(torch.ops.sightline, f"{name}_backward").default
    torch.library.opcheck(backward, (result, *arguments))
    out = getattr(torch.ops.sightline, f"{name}_out").default
    torch.library.opcheck(out, (*arguments, result))


@pytest.mark.parametrize("aligned", [False, True])
def test_compiles_and_exports_in_one_graph(aligned):
    def function(p, q):
        return ops.box_iou_rotated(p, q, aligned=aligned)

    a, b, _ = arguments_of("", True)
    expected = function(a, b)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a, b), expected)
    grad = torch.autograd.grad(expected.sum(), a)[0]
    assert torch.equal(torch.autograd.grad(compiled(a, b).sum(), a)[0], grad)

    class Module(torch.nn.Module):
        def forward(self, p, q):
            return function(p, q)

    a, b = a.detach(), b.detach()
    exported = torch.export.export(Module(), (a, b))
    assert torch.equal(exported.module()(a, b), expected)


def test_autocast_computes_in_float32():
    a = torch.rand(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.box_iou_rotated(a, a).dtype == torch.float32
        op = torch.ops.sightline.box_iou_rotated
        assert op(a.bfloat16(), a.bfloat16(), True).dtype == torch.float32


@pytest.mark.parametrize("aligned", [False, True])
def test_vmap_equals_a_loop(aligned):
    rng = np.random.default_rng(15)
    a = torch.tensor(random_rotated_boxes(rng, 15, np.float64)).reshape(3, 5, 5)
    b = torch.tensor(random_rotated_boxes(rng, 15, np.float64)).reshape(5, 3, 5)

    def function(p, q):
        return ops.box_iou_rotated(p, q, aligned=aligned)

    expected = torch.stack([function(a[i], b[:, i]) for i in range(3)])
    assert torch.equal(torch.vmap(function, in_dims=(0, 1))(a, b), expected)
    shared = torch.stack([function(a[i], b[:, 0]) for i in range(3)])
    assert torch.equal(torch.vmap(function, in_dims=(0, None))(a, b[:, 0]), shared)


BITS = """
import hashlib
import numpy as np
from tests.ops.rotated_cases import random_rotated_boxes
from sightline import ops
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for unit in ("degrees", "radians"):
        boxes = random_rotated_boxes(rng, 700, dtype, bad=True, unit=unit)
        boxes[350:, 0] += 500
        for aligned in (False, True):
            iou = ops.box_iou_rotated(boxes, boxes[::-1], unit=unit, aligned=aligned)
            print(unit, aligned, hashlib.sha256(iou.tobytes()).hexdigest())
"""


def test_every_isa_level_gives_the_same_bits():
    output_of_every_level(BITS)


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(16)
    a = torch.tensor(random_rotated_boxes(rng, 400), requires_grad=True)
    b = torch.tensor(random_rotated_boxes(rng, 300), requires_grad=True)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            matrix = ops.box_iou_rotated(a, b)
            results.append((matrix, *torch.autograd.grad(matrix.sum(), (a, b))))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], others))


def test_works_without_torch_imported():
    code = (
        "import numpy as np, sightline.reference, sys\n"
        "assert 'torch' not in sys.modules\n"
        "box = np.array([[0, 0, 2, 2, 45.0]])\n"
        "assert sightline.reference.box_iou_rotated(box, box)[0, 0] > 1 - 1e-15"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cuda_gives_what_the_cpu_gives(cuda):
    rng = np.random.default_rng(17)
    for dtype in DTYPES:
        for n, m in ((0, 5), (1, 1), (65, 300), (300, 1000)):
            a = torch.from_numpy(random_rotated_boxes(rng, n, dtype, bad=n > 1))
            b = torch.from_numpy(random_rotated_boxes(rng, m, dtype, bad=m > 1))
            for unit in ("degrees", "radians"):
                on_cpu = ops.box_iou_rotated(a, b, unit=unit)
                on_gpu = ops.box_iou_rotated(a.to(cuda), b.to(cuda), unit=unit)
                assert torch.equal(on_gpu.cpu(), on_cpu)
                k = min(n, m)
                aligned = ops.box_iou_rotated(
                    a[:k].to(cuda), b[:k].to(cuda), unit=unit, aligned=True
                )
                assert torch.equal(aligned.cpu(), on_cpu.diagonal())
            grads = []
            for device in ("cpu", cuda):
                p, q = (x.detach().to(device).requires_grad_() for x in (a, b))
                matrix = ops.box_iou_rotated(p, q)
                grads.append([g.cpu() for g in torch.autograd.grad(matrix.sum(), (p, q))])
            for got, expected in zip(*grads[::-1]):
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
