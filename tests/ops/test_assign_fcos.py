"""FCOS assignment: hand-worked cases, the reference, batches, and what torch asks of an op."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .isa import output_of_every_level

STRIDES = [8.0, 16.0]
RANGES = [(0.0, 64.0), (64.0, np.inf)]


def pyramid(size=128, strides=STRIDES, dtype=np.float32):
    """Points [A, 2] of each level of a square image."""
    levels = []
    for stride in strides:
        ticks = np.arange(stride / 2, size, stride)
        x, y = np.meshgrid(ticks, ticks)
        levels.append(np.stack([x.ravel(), y.ravel()], 1).astype(dtype))
    return levels


def random_objects(rng, n, size=128, dtype=np.float32):
    corner = rng.uniform(-10, size - 10, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size, (n, 2))], 1).astype(dtype)


def test_assignment_worked_by_hand():
    points = [np.array([[4.0, 4.0], [12.0, 4.0], [60.0, 60.0]]), np.array([[50.0, 50.0]])]
    small, large = [0.0, 0.0, 16.0, 8.0], [0.0, 0.0, 100.0, 100.0]
    got = ops.assign_fcos(points, np.array([large, small]), strides=STRIDES)
    # (60, 60) is 60 from the far sides of the large one, 10 from its centre; (4, 4) and (12, 4) lie
    # in both, too far from the centre of the large; (50, 50) is 50 from the sides: level 0.
    assert got.tolist() == [1, 1, 0, -1]
    whole = ops.assign_fcos(points, np.array([large, small]), strides=STRIDES, center_radius=np.inf)
    assert whole.tolist() == [1, 1, 0, -1]


def test_the_smallest_object_wins_and_the_first_of_equals():
    points = [np.array([[5.0, 5.0]])]
    boxes = np.array([[0, 0, 20, 10], [0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10.5]])
    assert ops.assign_fcos(points, boxes, strides=[8]).tolist() == [1]


def test_a_point_on_the_border_or_at_the_radius_is_outside():
    points = [np.array([[0.0, 5.0], [10.0, 5.0], [5.0, 5.0]])]
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    assert ops.assign_fcos(points, box, strides=[8]).tolist() == [-1, -1, 0]
    points = [np.array([[54.0, 50.0], [53.0, 50.0]])]
    box = np.array([[0.0, 0.0, 100.0, 100.0]])
    assert ops.assign_fcos(points, box, strides=[4], center_radius=1).tolist() == [-1, 0]


def test_both_ends_of_a_size_range_are_included():
    points = [np.array([[32.0, 5.0]])] * 2
    box = np.array([[-32.0, 0.0, 40.0, 10.0]])  # 64 from its left side
    index = ops.assign_fcos(points, box, strides=[8, 16], center_radius=np.inf)
    assert index.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("counts", [[0], [1, 0, 5], [40, 3], [65]])
def test_assignment_equals_the_reference(dtype, counts):
    rng = np.random.default_rng(sum(counts))
    points = pyramid(96, dtype=dtype)
    objects = [random_objects(rng, n, 96, dtype) for n in counts]
    expected = reference.assign_fcos(points, objects, strides=STRIDES, size_ranges=RANGES)
    np.testing.assert_array_equal(ops.assign_fcos(points, objects, strides=STRIDES), expected)
    of_tensors = ops.assign_fcos(
        [torch.from_numpy(level) for level in points],
        [torch.from_numpy(boxes) for boxes in objects],
        strides=STRIDES,
    )
    np.testing.assert_array_equal(of_tensors, expected)


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_an_image_does_not_depend_on_padding_or_on_the_others(kind):
    rng = np.random.default_rng(1)
    points = [kind(level) for level in pyramid()]
    padded = kind(random_objects(rng, 12).reshape(3, 4, 4))
    mask = kind(np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool))
    together = ops.assign_fcos(points, padded, mask=mask, strides=STRIDES)
    for index, boxes, present in zip(together, padded, mask):
        alone = ops.assign_fcos(points, boxes[present], strides=STRIDES)
        rows = np.flatnonzero(np.asarray(present))
        expected = np.array([*rows, -1])[np.asarray(alone)]
        np.testing.assert_array_equal(index, expected)


def test_objects_that_are_not_finite_are_none():
    points = [np.array([[5.0, 5.0]], np.float32)]
    bad = [[0, 0, np.nan, 10], [-np.inf, 0, 10, 10], [0, 0, 3e38, 3e38], [10, 10, 0, 0]]
    boxes = np.array([*bad, [0, 0, 10, 10]], np.float32)
    assert ops.assign_fcos(points, boxes, strides=[8], center_radius=np.inf).tolist() == [4]
    nan = [np.array([[np.nan, 5.0], [5.0, 5.0]], np.float32)]
    assert ops.assign_fcos(nan, boxes, strides=[8]).tolist() == [-1, 4]


def test_no_points_no_images_and_no_objects():
    none = np.zeros((0, 4), np.float32)
    assert ops.assign_fcos([np.zeros((0, 2))], none, strides=[8]).shape == (0,)
    assert ops.assign_fcos(pyramid(), [], strides=STRIDES).shape == (0, 320)
    assert (ops.assign_fcos(pyramid(), none, strides=STRIDES) == -1).all()


def test_the_same_assignment_at_every_isa_level():
    code = """
import numpy as np
from sightline import ops
rng = np.random.default_rng(5)
points = [rng.uniform(0, 200, (n, 2)).astype(np.float32) for n in (1, 257, 300)]
corner = rng.uniform(0, 200, (70, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 90, corner.shape)], 1).astype(np.float32)
print(ops.assign_fcos(points, boxes, strides=[8, 16, 32]).tolist())
"""
    output_of_every_level(code)


def test_errors_name_the_argument_and_what_it_needs():
    points, boxes = pyramid(), np.zeros((2, 3, 4), np.float32)

    def assign(points=points, boxes=boxes, **settings):
        return ops.assign_fcos(points, boxes, **{"strides": STRIDES, **settings})

    with pytest.raises(ValueError, match="`strides` must have one entry for each of the 2 levels"):
        assign(strides=[8])
    with pytest.raises(ValueError, match=r"`strides\[1\]` must be positive, got 0"):
        assign(strides=[8, 0])
    with pytest.raises(ValueError, match=r"`size_ranges.1.` must be a pair .* got \(4, 2\)"):
        assign(size_ranges=[(0, 4), (4, 2)])
    with pytest.raises(ValueError, match="`center_radius` must be positive, got nan"):
        assign(center_radius=float("nan"))
    with pytest.raises(ValueError, match=r"`points\[1\]` must have shape \[A, 2\], got \[5, 4\]"):
        assign(points=[points[0], np.zeros((5, 4))])
    with pytest.raises(ValueError, match=r"`gt_boxes\[1\]` must have shape \[G, 4\], got \[2, 5\]"):
        assign(boxes=[np.zeros((2, 4)), np.zeros((2, 5))])
    with pytest.raises(ValueError, match=r"`mask` .* shape \[B, G\], got \[2, 2\]"):
        assign(mask=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="with a list, which needs no mask"):
        assign(boxes=list(boxes), mask=np.ones((2, 3), bool))
    with pytest.raises(TypeError, match="`mask` must hold bool"):
        assign(mask=np.ones((2, 3)))
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        assign(boxes=torch.zeros(1, 4))


def test_torch_knows_the_op():
    points = [torch.from_numpy(level) for level in pyramid()]
    boxes = torch.from_numpy(random_objects(np.random.default_rng(0), 10).reshape(2, 5, 4))
    torch.library.opcheck(
        torch.ops.sightline.assign_fcos, (points[0], boxes, 12.0, 0.0, float("inf"))
    )

    def assign(points, boxes):
        return ops.assign_fcos(points, boxes, strides=STRIDES)

    compiled = torch.compile(assign, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(points, boxes), assign(points, boxes))
    assert torch.equal(compiled(points, list(boxes)), assign(points, boxes))
    half = assign([level.half() for level in points], boxes.bfloat16())
    assert torch.equal(half, assign(points, boxes.bfloat16().float()))


def test_cuda_gives_the_assignment_of_the_cpu(cuda):
    rng = np.random.default_rng(3)
    points = [torch.from_numpy(level) for level in pyramid(512)]
    objects = [torch.from_numpy(random_objects(rng, n, 512)) for n in (0, 300, 7)]
    got = ops.assign_fcos(
        [level.to(cuda) for level in points], [b.to(cuda) for b in objects], strides=STRIDES
    )
    assert torch.equal(got.cpu(), ops.assign_fcos(points, objects, strides=STRIDES))
