"""ATSS assignment: hand-worked cases, the reference, hard cases, batches, torch's demands."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from . import box_cases
from .isa import output_of_every_level


def random_boxes(n, seed=0, dtype=np.float32, bad=False):
    return box_cases.random_boxes(np.random.default_rng(seed), n, dtype, bad)


def grid(stride, height, width, size, dtype=np.float32):
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    centre = (np.stack([column, row], -1).reshape(-1, 2) + 0.5) * stride
    return np.concatenate([centre - size / 2, centre + size / 2], 1).astype(dtype)


def pyramid(dtype=np.float32):
    """Levels of strides 8, 16 and 32 over 160 x 160 pixels."""
    return [grid(s, 160 // s, 160 // s, 8 * s, dtype) for s in (8, 16, 32)]


def test_assignment_worked_by_hand():
    # Candidates are all three; their IoUs with the object are 1, 1/3 and 0: the mean is 4/9 and the
    # deviation .5092, so that only the first reaches .9536.
    anchors = np.array([[0.0, 0, 8, 8], [4, 0, 12, 8], [8, 0, 16, 8]])
    gt_boxes = np.array([[0.0, 0, 8, 8]])
    assert ops.assign_atss([anchors], gt_boxes).tolist() == [0, -1, -1]
    # With k = 2 the mean is 2/3 and the deviation .4714: above 1, and no anchor is left.
    assert ops.assign_atss([anchors], gt_boxes, top_k=2).tolist() == [-1, -1, -1]
    # Two levels of one candidate each, .5 and .5: the deviation is 0 and both are taken.
    halves = [np.array([[0.0, 0, 8, 4]]), np.array([[0.0, 2, 8, 6]])]
    assert ops.assign_atss(halves, gt_boxes, top_k=1).tolist() == [0, 0]


def test_a_single_candidate_is_its_own_threshold():
    # The deviation of one number, n - 1 = 0 in its denominator, is NaN for others: no anchor.
    one = np.array([[0.0, 0, 8, 8]])
    assert ops.assign_atss([one], np.array([[1.0, 1, 9, 9]])).tolist() == [0]
    nowhere = np.array([[0.0, 0, 8, 8], [np.nan, 0, 8, 8]])
    assert ops.assign_atss([nowhere], np.array([[1.0, 1, 9, 9]])).tolist() == [0, -1]


def test_a_centre_on_the_border_is_not_within():
    anchor = np.array([[0.0, 0, 8, 8]])
    assert ops.assign_atss([anchor], np.array([[4.0, 0, 12, 8]])).tolist() == [-1]
    assert ops.assign_atss([anchor], np.array([[3.9999, 0, 12, 8]])).tolist() == [0]


def test_an_anchor_goes_to_the_object_of_the_highest_overlap_and_of_equals_to_the_first():
    anchor = np.array([[0.0, 0, 8, 8]])
    gt_boxes = np.array([[0.0, 0, 8, 6], [0, 0, 8, 7], [0, 1, 8, 8], [0, 0, 8, 5]])
    assert ops.assign_atss([anchor], gt_boxes).tolist() == [1]
    assert ops.assign_atss([anchor], gt_boxes[[2, 1]]).tolist() == [0]
    assert ops.assign_atss([anchor], gt_boxes[[0, 0, 0]]).tolist() == [0]


def test_of_anchors_just_as_far_the_first_are_candidates():
    # Around the object's centre (16, 16) four centres are equally far; IoUs are the same for all.
    anchors = grid(8, 4, 4, 24)
    gt_boxes = np.array([[4, 4, 28, 28]], np.float32)
    assert np.flatnonzero(ops.assign_atss([anchors], gt_boxes, top_k=3) == 0).tolist() == [5, 6, 9]


def test_k_above_the_anchors_of_a_level_takes_them_all():
    levels = pyramid()
    gt_boxes = random_boxes(20, seed=3)
    expected = reference.assign_atss(levels, [gt_boxes], top_k=400)[0]
    for top_k in (400, 401, 2**40):
        np.testing.assert_array_equal(ops.assign_atss(levels, gt_boxes, top_k=top_k), expected)


def test_an_object_smaller_than_a_stride_between_the_centres_takes_none():
    levels = pyramid()
    assert (ops.assign_atss(levels, np.array([[0, 0, 3, 3]], np.float32)) == -1).all()
    small = np.array([[66, 66, 70, 70]], np.float32)  # around the centre (68, 68) of a cell
    assert np.flatnonzero(ops.assign_atss(levels, small) == 0).tolist() == [8 * 20 + 8]


def test_hard_cases_give_background():
    levels = pyramid()
    count = sum(map(len, levels))
    none = [
        np.zeros((0, 4), np.float32),
        np.array([[900, 900, 950, 950]], np.float32),  # overlaps no anchor
        np.array([[40, 40, 40, 80], [40, 40, 30, 30]], np.float32),  # no area
        np.array([[np.nan, 0, 50, 50], [0, 0, np.inf, 50], [0, 0, 3e38, 3e38]], np.float32),
    ]
    assert (ops.assign_atss(levels, none) == -1).all()
    padded = np.tile(np.array([40, 40, 90, 90], np.float32), (2, 3, 1))
    masked = ops.assign_atss(levels, padded, mask=np.zeros((2, 3), bool))
    assert masked.shape == (2, count) and (masked == -1).all()
    assert ops.assign_atss(levels, []).shape == (0, count)
    empty = np.zeros((0, 4), np.float32)
    assert ops.assign_atss([empty, empty], padded).shape == (2, 0)


def test_more_objects_than_anchors():
    levels = [grid(16, 2, 2, 40), grid(32, 1, 1, 60)]
    gt_boxes = random_boxes(300, seed=4)
    expected = reference.assign_atss(levels, [gt_boxes])[0]
    np.testing.assert_array_equal(ops.assign_atss(levels, gt_boxes), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_anchors", [0, 1, 63, 64, 65, 1000])
def test_assignment_equals_the_reference(num_anchors, dtype):
    levels = [
        random_boxes(num_anchors, 99, dtype),
        random_boxes(70, 98, dtype, bad=True),
        *pyramid(dtype),
    ]
    objects = [random_boxes(n, n, dtype, bad=True) for n in (0, 1, 40, 130)]
    for top_k in (1, 9, 70):
        expected = reference.assign_atss(levels, objects, top_k=top_k)
        np.testing.assert_array_equal(ops.assign_atss(levels, objects, top_k=top_k), expected)
    of_tensors = ops.assign_atss(
        list(map(torch.from_numpy, levels)), list(map(torch.from_numpy, objects)), top_k=70
    )
    np.testing.assert_array_equal(of_tensors, expected)
    assert (expected >= 0).any()


def test_an_image_does_not_depend_on_padding_or_on_the_others():
    levels = pyramid()
    padded = random_boxes(15, seed=2).reshape(3, 5, 4)
    mask = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    together = ops.assign_atss(levels, padded, mask=mask)
    for index, boxes, present in zip(together, padded, mask):
        alone = ops.assign_atss(levels, boxes[present])
        np.testing.assert_array_equal(index, np.array([*np.flatnonzero(present), -1])[alone])


def test_moving_and_scaling_by_powers_of_two_changes_nothing():
    levels, gt_boxes = pyramid(), np.round(random_boxes(60, seed=5))
    expected = ops.assign_atss(levels, gt_boxes)
    moved = ops.assign_atss([4 * (level + 64) for level in levels], 4 * (gt_boxes + 64))
    np.testing.assert_array_equal(moved, expected)


def test_half_precision_integers_and_strides():
    levels, gt_boxes = pyramid(), np.round(random_boxes(30, seed=6))
    expected = ops.assign_atss(levels, gt_boxes)
    for dtype in (np.float16, np.int64):
        same = ops.assign_atss([level.astype(dtype) for level in levels], gt_boxes.astype(dtype))
        np.testing.assert_array_equal(same, expected)
    for layout in box_cases.awkward_layouts(gt_boxes):
        np.testing.assert_array_equal(ops.assign_atss(levels, layout), expected)
    single = ops.assign_atss(np.concatenate(levels), gt_boxes)
    np.testing.assert_array_equal(
        single, ops.assign_atss([torch.from_numpy(np.concatenate(levels))], torch.tensor(gt_boxes))
    )


def test_the_same_assignment_at_every_isa_level_and_thread_count():
    code = """
import numpy as np
import torch
from sightline import ops
rng = np.random.default_rng(5)
corner = rng.uniform(0, 60, (900, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 30, corner.shape)], 1)
for dtype in (np.float32, np.float64):
    levels = [boxes[:300].astype(dtype), boxes[300:500].astype(dtype)]
    objects = boxes[500:].reshape(20, 20, 4).astype(dtype)
    print(ops.assign_atss(levels, objects).tolist())
    for threads in (1, 3):
        torch.set_num_threads(threads)
        same = ops.assign_atss(list(map(torch.from_numpy, levels)), torch.from_numpy(objects))
        assert same.tolist() == ops.assign_atss(levels, objects).tolist()
"""
    output_of_every_level(code)


def test_errors_name_the_argument_and_what_it_needs():
    boxes = random_boxes(4)
    with pytest.raises(ValueError, match=r"`anchors\[1\]` must have shape \[N, 4\], got \[4\]"):
        ops.assign_atss([boxes, boxes[0]], boxes)
    for levels in ([], [boxes] * 17):
        with pytest.raises(ValueError, match=r"`anchors` .* 1 to 16 levels, got (0|17)"):
            ops.assign_atss(levels, boxes)
    with pytest.raises(ValueError, match="`top_k` must be at least 1, got 0"):
        ops.assign_atss([boxes], boxes, top_k=0)
    with pytest.raises(TypeError, match="`top_k` must be an integer, got float"):
        ops.assign_atss([boxes], boxes, top_k=9.0)
    with pytest.raises(ValueError, match=r"`gt_boxes` must have shape .*, got \[4\]"):
        ops.assign_atss([boxes], boxes[0])
    with pytest.raises(ValueError, match=r"`mask` .* has shape \[B, G\], got \[1, 3\]"):
        ops.assign_atss([boxes], boxes[None], mask=np.ones((1, 3), bool))
    with pytest.raises(TypeError, match="do not mix"):
        ops.assign_atss([boxes], torch.from_numpy(boxes))


def test_torch_knows_the_op():
    levels = list(map(torch.from_numpy, pyramid()))
    gt_boxes = torch.from_numpy(random_boxes(10, seed=1).reshape(2, 5, 4))
    sizes = [len(level) for level in levels]
    torch.library.opcheck(torch.ops.sightline.assign_atss, (torch.cat(levels), sizes, gt_boxes, 9))
    expected = ops.assign_atss(levels, gt_boxes)
    compiled = torch.compile(ops.assign_atss, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(levels, gt_boxes), expected)

    class Assigner(torch.nn.Module):
        def forward(self, levels, gt_boxes):
            return ops.assign_atss(levels, gt_boxes)

    exported = torch.export.export(Assigner(), (levels, gt_boxes)).module()
    assert torch.equal(exported(levels, gt_boxes), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ops.assign_atss(levels, gt_boxes), expected)


def test_cuda_gives_the_assignment_of_the_cpu(cuda):
    for dtype in (np.float32, np.float64):
        levels = [
            torch.from_numpy(level) for level in (*pyramid(dtype), random_boxes(900, 7, dtype))
        ]
        objects = [torch.from_numpy(random_boxes(n, n, dtype, bad=True)) for n in (0, 300, 7)]
        for top_k in (1, 9, 300):
            got = ops.assign_atss(
                [level.to(cuda) for level in levels], [b.to(cuda) for b in objects], top_k=top_k
            )
            assert torch.equal(got.cpu(), ops.assign_atss(levels, objects, top_k=top_k))
