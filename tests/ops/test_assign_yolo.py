"""YOLO assignment: hand-worked cases, the reference and its rules, batches, torch's demands."""

import numpy as np
import pytest
import torch

from sightline import ops, reference
from sightline.models import grid_anchors
from sightline.ops.assign_yolo import YOLO_RULES

from . import box_cases
from .isa import output_of_every_level

MAPS, STRIDES = [(20, 24), (10, 12), (5, 6)], [8, 16, 32]


def random_boxes(n, seed=0, dtype=np.float32, bad=False):
    return box_cases.random_boxes(np.random.default_rng(seed), n, dtype, bad)


def anchor_sizes(dtype=np.float32):
    sizes = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45]], [[59, 119], [116, 90]]]
    return [np.array(level, dtype) for level in sizes]


def assign(gt_boxes, dtype=np.float32, **settings):
    return ops.assign_yolo(gt_boxes, anchor_sizes(dtype), MAPS, STRIDES, **settings)


def around(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def placed(index, height, width, shapes):
    """(row, column, shape): object, of the anchors that are taken."""
    grid = np.asarray(index).reshape(height, width, shapes)
    return {tuple(map(int, at)): int(grid[tuple(at)]) for at in np.argwhere(grid >= 0)}


def test_the_best_shape_of_the_centre_cell_worked_by_hand():
    sizes = [np.array([[8.0, 8.0], [8.0, 16.0]])]
    gt_boxes = np.array([around(20, 40, 8, 10), around(60, 3, 8, 13), around(20, 40, 7, 16)])
    # Shape IoUs .8 and .625; .615 and .8125; .467 and .875. Cells are 16 pixels: (2, 1), (0, 3).
    for rule in ("v2", "v3"):
        got = ops.assign_yolo(gt_boxes, sizes, [(4, 4)], [16], rule=rule)
        assert placed(got, 4, 4, 2) == {(2, 1, 0): 0, (0, 3, 1): 1, (2, 1, 1): 2}


def test_v2_takes_an_anchor_of_each_level_and_v3_of_the_best_alone():
    sizes = [np.array([[8.0, 8.0]]), np.array([[16.0, 16.0]])]
    gt_boxes = np.array([around(20, 20, 9, 9)])
    assert ops.assign_yolo(gt_boxes, sizes, [(2, 2), (1, 1)], [16, 32], rule="v2").tolist() == [
        *(-1, -1, -1, 0),
        0,
    ]
    assert ops.assign_yolo(gt_boxes, sizes, [(2, 2), (1, 1)], [16, 32], rule="v3").tolist() == [
        *(-1, -1, -1, 0),
        -1,
    ]


def test_v5_takes_all_shapes_within_the_ratio_in_three_cells():
    sizes = [np.array([[8.0, 8.0], [16.0, 8.0], [8.0, 33.0], [100.0, 8.0]])]
    # At (2.75, 1.25) cells: to the right in x, up in y. 8 / 33 is more than a factor of 4.
    got = ops.assign_yolo(np.array([around(44, 20, 8, 8)]), sizes, [(4, 4)], [16], rule="v5")
    cells = [(0, 2), (1, 2), (1, 3)]
    assert placed(got, 4, 4, 4) == {(*cell, k): 0 for cell in cells for k in (0, 1)}
    one = ops.assign_yolo(
        np.array([around(44, 20, 8, 8)]), sizes, [(4, 4)], [16], rule="v5", ratio_threshold=2
    )
    assert placed(one, 4, 4, 4) == {(*cell, 0): 0 for cell in cells}  # the factor 2 is left out


@pytest.mark.parametrize(
    ("x", "y", "cells"),
    [
        (4, 60, {(3, 0)}),  # the nearest neighbours lie beyond the map
        (24, 24, {(1, 1)}),  # just between them
        (16, 24, {(1, 1), (1, 0)}),  # on the border of two cells
        (63, 25, {(1, 3), (2, 3)}),
    ],
)
def test_v5_neighbours_at_borders(x, y, cells):
    got = ops.assign_yolo(
        np.array([around(x, y, 8, 8)]), [np.array([[8.0, 8.0]])], [(4, 4)], [16], rule="v5"
    )
    assert {(row, column) for row, column, _ in placed(got, 4, 4, 1)} == cells


@pytest.mark.parametrize("rule", YOLO_RULES)
def test_an_anchor_goes_to_the_object_of_the_highest_shape_overlap_and_of_equals_to_the_first(rule):
    sizes, where = [np.array([[8.0, 8.0]])], ([(1, 1)], [16])
    gt_boxes = np.array([around(8, 8, 8, h) for h in (5, 7, 7, 6)])
    assert ops.assign_yolo(gt_boxes, sizes, *where, rule=rule).tolist() == [1]
    assert ops.assign_yolo(gt_boxes[::-1].copy(), sizes, *where, rule=rule).tolist() == [1]
    assert ops.assign_yolo(gt_boxes[[0, 0, 0]], sizes, *where, rule=rule).tolist() == [0]


@pytest.mark.parametrize("rule", YOLO_RULES)
def test_hard_cases_give_background(rule):
    none = np.array(
        [
            around(-1, 20, 20, 20),  # its centre lies beyond the map, though it overlaps it
            around(20, 160, 20, 20),
            [40, 40, 40, 80],
            [40, 80, 60, 40],
            [np.nan, 0, 50, 50],
            [0, 0, np.inf, 50],
            [0, 0, 3e38, 3e38],
        ],
        np.float32,
    )
    count = sum(h * w * len(k) for (h, w), k in zip(MAPS, anchor_sizes()))
    assert (assign(none, rule=rule) == -1).all()
    assert assign(none[:0], rule=rule).shape == (count,)
    assert assign([], rule=rule).shape == (0, count)
    good = np.tile(np.array([10, 10, 40, 40], np.float32), (2, 3, 1))
    masked = assign(good, rule=rule, mask=np.zeros((2, 3), bool))
    assert masked.shape == (2, count) and (masked == -1).all()
    no_shapes = [np.zeros((0, 2), np.float32)] * 3
    assert ops.assign_yolo(good, no_shapes, MAPS, STRIDES, rule=rule).shape == (2, 0)
    bad_shapes = [np.array([[0, 9], [-30, 30], [np.nan, 30], [np.inf, 30]], np.float32)]
    assert (ops.assign_yolo(good, bad_shapes, MAPS[:1], [8], rule=rule) == -1).all()


@pytest.mark.parametrize("rule", YOLO_RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_assignment_equals_the_reference(dtype, rule):
    objects = [random_boxes(n, n, dtype, bad=True) for n in (0, 1, 63, 64, 65, 400)]
    expected = reference.assign_yolo(objects, anchor_sizes(dtype), MAPS, STRIDES, rule=rule)
    np.testing.assert_array_equal(assign(objects, dtype, rule=rule), expected)
    of_tensors = ops.assign_yolo(
        list(map(torch.from_numpy, objects)),
        list(map(torch.from_numpy, anchor_sizes(dtype))),
        MAPS,
        STRIDES,
        rule=rule,
    )
    np.testing.assert_array_equal(of_tensors, expected)
    assert (expected[-1] >= 0).any()


@pytest.mark.parametrize("rule", YOLO_RULES)
def test_an_image_does_not_depend_on_padding_or_on_the_others(rule):
    padded = random_boxes(15, seed=2).reshape(3, 5, 4)
    mask = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    together = assign(padded, rule=rule, mask=mask)
    for index, boxes, present in zip(together, padded, mask):
        alone = assign(boxes[present], rule=rule)
        np.testing.assert_array_equal(index, np.array([*np.flatnonzero(present), -1])[alone])


def test_anchors_are_in_the_order_of_grid_anchors():
    boxes = np.concatenate(
        [
            grid_anchors(torch.from_numpy(sizes), stride, *size).numpy()
            for sizes, stride, size in zip(anchor_sizes(), STRIDES, MAPS)
        ]
    )
    wanted = np.array([5, 700, 1440 + 77, 1440 + 240 + 9])
    np.testing.assert_array_equal(assign(boxes[wanted])[wanted], np.arange(4))


def test_half_precision_integers_and_strides():
    gt_boxes = np.round(random_boxes(40, seed=6))
    expected = assign(gt_boxes, rule="v5")
    for dtype in (np.float16, np.int64):
        np.testing.assert_array_equal(assign(gt_boxes.astype(dtype), rule="v5"), expected)
    for layout in box_cases.awkward_layouts(gt_boxes):
        np.testing.assert_array_equal(assign(layout, rule="v5"), expected)


def test_the_same_assignment_at_every_isa_level_and_thread_count():
    code = """
import numpy as np
import torch
from sightline import ops
rng = np.random.default_rng(5)
corner = rng.uniform(0, 100, (400, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 60, corner.shape)], 1).reshape(20, 20, 4)
sizes = [np.array([[10., 12.], [20., 9.]]), np.array([[30., 30.]])]
for rule in ("v2", "v3", "v5"):
    where = ([(20, 20), (10, 10)], [8, 16])
    index = ops.assign_yolo(boxes, sizes, *where, rule=rule)
    print(index.tolist())
    for threads in (1, 3):
        torch.set_num_threads(threads)
        tensors = torch.from_numpy(boxes), list(map(torch.from_numpy, sizes))
        assert ops.assign_yolo(*tensors, *where, rule=rule).tolist() == index.tolist()
"""
    output_of_every_level(code)


def test_errors_name_the_argument_and_what_it_needs():
    boxes, sizes = random_boxes(4), anchor_sizes()

    def refused(error, message, *arguments, **settings):
        with pytest.raises(error, match=message):
            ops.assign_yolo(boxes, *arguments, **settings)

    refused(
        ValueError,
        r"`anchor_sizes\[0\]` must have shape \[K, 2\], got \[4, 4\]",
        [boxes],
        MAPS,
        STRIDES,
    )
    refused(ValueError, "`anchor_sizes` .* got an array", sizes[0], MAPS, STRIDES)
    refused(ValueError, "`anchor_sizes` .* 1 to 16 levels, got 0", [], [], [])
    refused(ValueError, "`feature_sizes` .* each of the 3 .* got 2", sizes, MAPS[:2], STRIDES)
    refused(ValueError, "`strides` .* each of the 3 .* got 4", sizes, MAPS, [4, *STRIDES])
    refused(
        ValueError, r"`strides\[1\]` must be finite and above 0, got 0", sizes, MAPS, [8, 0, 32]
    )
    refused(
        ValueError,
        r"`feature_sizes\[0\]` must be \(height, width\)",
        sizes,
        [(1, 2, 3)] * 3,
        STRIDES,
    )
    refused(
        ValueError, r"`feature_sizes\[2\]` must be at least 0", sizes, [*MAPS[:2], (-1, 3)], STRIDES
    )
    refused(
        ValueError,
        "`ratio_threshold` must be .* above 1, got 1",
        sizes,
        MAPS,
        STRIDES,
        ratio_threshold=1,
    )
    refused(ValueError, "`rule` must be one of 'v2', 'v3', 'v5'", sizes, MAPS, STRIDES, rule="v4")
    refused(TypeError, "do not mix", list(map(torch.from_numpy, sizes)), MAPS, STRIDES)
    refused(ValueError, r"`mask` .* got \[3\]", sizes, MAPS, STRIDES, mask=np.ones(3, bool))


def test_torch_knows_the_op():
    sizes = list(map(torch.from_numpy, anchor_sizes()))
    gt_boxes = torch.from_numpy(random_boxes(10, seed=1).reshape(2, 5, 4))
    heights, widths = map(list, zip(*MAPS))
    strides = list(map(float, STRIDES))
    for rule in (2, 3, 5):
        arguments = (gt_boxes, torch.cat(sizes), [3, 2, 2], heights, widths, strides, rule, 4.0)
        torch.library.opcheck(torch.ops.sightline.assign_yolo, arguments)
    expected = ops.assign_yolo(gt_boxes, sizes, MAPS, STRIDES, rule="v5")
    compiled = torch.compile(ops.assign_yolo, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(gt_boxes, sizes, MAPS, STRIDES, rule="v5"), expected)

    class Assigner(torch.nn.Module):
        def forward(self, gt_boxes, sizes):
            return ops.assign_yolo(gt_boxes, sizes, MAPS, STRIDES, rule="v5")

    exported = torch.export.export(Assigner(), (gt_boxes, sizes)).module()
    assert torch.equal(exported(gt_boxes, sizes), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ops.assign_yolo(gt_boxes, sizes, MAPS, STRIDES, rule="v5"), expected)


@pytest.mark.parametrize("rule", YOLO_RULES)
def test_cuda_gives_the_assignment_of_the_cpu(cuda, rule):
    for dtype in (np.float32, np.float64):
        sizes = list(map(torch.from_numpy, anchor_sizes(dtype)))
        objects = [torch.from_numpy(random_boxes(n, n, dtype, bad=True)) for n in (0, 2000, 7)]
        got = ops.assign_yolo(
            [b.to(cuda) for b in objects], [s.to(cuda) for s in sizes], MAPS, STRIDES, rule=rule
        )
        expected = ops.assign_yolo(objects, sizes, MAPS, STRIDES, rule=rule)
        assert torch.equal(got.cpu(), expected)
