"""SimOTA assignment: hand-worked cases, the reference, batches, and what torch asks of an op."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .isa import output_of_every_level


def grid(size=128, strides=(8, 16, 32), dtype=np.float32):
    """Points [A, 2] and strides [A] of all levels of a square image."""
    points, cells = [], []
    for stride in strides:
        ticks = np.arange(stride / 2, size, stride)
        x, y = np.meshgrid(ticks, ticks)
        points.append(np.stack([x.ravel(), y.ravel()], 1))
        cells.append(np.full(x.size, stride))
    return np.concatenate(points).astype(dtype), np.concatenate(cells).astype(dtype)


def problem(rng, counts, classes=21, dtype=np.float32, size=128):
    points, strides = grid(size, dtype=dtype)
    images, anchors = len(counts), len(points)
    scores = (rng.uniform(0, 1, (images, anchors, classes)) ** 4).astype(dtype)
    sides = rng.uniform(0.5, 3, (images, anchors, 4)) * strides[:, None]
    boxes = np.concatenate([points - sides[..., :2], points + sides[..., 2:]], -1).astype(dtype)
    gt_boxes = []
    for n in counts:
        corner = rng.uniform(-10, size - 10, (n, 2))
        sides = rng.uniform(1, size, (n, 2)) ** rng.choice([0.5, 1], (n, 1))
        gt_boxes.append(np.concatenate([corner, corner + sides], 1).astype(dtype))
    gt_labels = [rng.integers(0, classes, n) for n in counts]
    return scores, boxes, points, strides, gt_boxes, gt_labels


def as_tensors(case):
    return [
        [torch.from_numpy(v) for v in value] if isinstance(value, list) else torch.from_numpy(value)
        for value in case
    ]


def assert_equal_results(got, expected):
    for own, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_assignment_worked_by_hand():
    points, strides = np.array([[2.0, 2], [6, 2], [2, 6], [30, 30]]), np.full(4, 4.0)
    box = np.array([[0, 0, 8, 8]])
    boxes = np.array([[0, 0, 8, 8], [0, 0, 8, 6], [0, 0, 8, 5], [0, 0, 8, 8]])
    scores = np.array([[0.5], [0.5], [0.9], [1.0]])
    # The last anchor is far from all. IoUs 1 + 0.75 + 0.625: two anchors. Costs: log 2 = .69;
    # .69 + 3 * .288 = 1.56; .105 + 3 * .47 = 1.52.
    got = ops.assign_sim_ota(scores, boxes, points, strides, box, np.array([0]))
    assert got.index.tolist() == [0, -1, 0, -1]
    assert got.iou.tolist() == [1, 0, 0.625, 0]
    # Without the class the second best IoU is next; one IoU alone makes one anchor.
    by_iou = ops.assign_sim_ota(scores, boxes, points, strides, box, np.array([0]), class_weight=0)
    assert by_iou.index.tolist() == [0, 0, -1, -1]
    one = ops.assign_sim_ota(scores, boxes, points, strides, box, np.array([0]), top_k=1)
    assert one.index.tolist() == [0, -1, -1, -1]


def test_anchors_near_the_centre_of_the_object_come_first():
    points, strides = np.array([[1.0, 20], [20.0, 20]]), np.full(2, 4.0)
    box = np.array([[0, 0, 40, 40]])
    boxes = np.array([[0, 0, 40, 40], [0, 0, 10, 10]])
    got = ops.assign_sim_ota(np.ones((2, 1)), boxes, points, strides, box, np.array([0]))
    assert got.index.tolist() == [-1, 0]
    wide = ops.assign_sim_ota(
        np.ones((2, 1)), boxes, points, strides, box, np.array([0]), center_radius=5
    )
    assert wide.index.tolist() == [0, -1]


def test_an_anchor_goes_to_the_object_it_costs_least_and_the_first_of_equals():
    points, strides = np.array([[4.0, 4.0]]), np.array([8.0])
    boxes, scores = np.array([[0, 0, 8, 8]]), np.array([[0.5, 0.9]])
    gt = np.array([[0, 0, 8, 7], [0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 8, 8]])
    got = ops.assign_sim_ota(scores, boxes, points, strides, gt, np.array([1, 0, 1, 1]))
    assert got.index.tolist() == [2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("counts", [[0], [1, 0, 5], [40, 3], [65]])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3, "center_radius": 1.5, "class_weight": 2}])
def test_assignment_equals_the_reference(dtype, counts, settings):
    case = problem(np.random.default_rng(sum(counts)), counts, dtype=dtype)
    expected = reference.assign_sim_ota(*case, **settings)
    assert_equal_results(ops.assign_sim_ota(*case, **settings), expected)
    assert_equal_results(ops.assign_sim_ota(*as_tensors(case), **settings), expected)


@pytest.mark.parametrize("classes", [1, 15, 16, 17, 80])
def test_any_number_of_classes(classes):
    case = problem(np.random.default_rng(classes), [9], classes)
    assert_equal_results(ops.assign_sim_ota(*case), reference.assign_sim_ota(*case))


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_an_image_does_not_depend_on_padding_or_on_the_others(kind):
    scores, boxes, points, strides, gt, labels = problem(np.random.default_rng(1), [6, 6, 6])
    mask = np.array([[1, 0, 1, 1, 0, 1], [0] * 6, [1] * 6], bool)
    gt, labels = np.stack(gt), np.stack(labels)
    labels[~mask] = -7
    together = ops.assign_sim_ota(
        *(kind(v) for v in (scores, boxes, points, strides, gt, labels)), mask=kind(mask)
    )
    for b in range(3):
        rows = np.flatnonzero(mask[b])
        of_image = scores[b], boxes[b], points, strides, gt[b][rows], labels[b][rows]
        alone = ops.assign_sim_ota(*(kind(v) for v in of_image))
        expected = np.array([*rows, -1])[np.asarray(alone.index)]
        np.testing.assert_array_equal(together.index[b], expected)
        np.testing.assert_array_equal(together.iou[b], alone.iou)


def test_predictions_that_are_not_numbers_never_win():
    scores, boxes, *rest = problem(np.random.default_rng(2), [9])
    scores[0, ::3, 4], scores[0, 1::9, 0] = np.nan, 1.5
    boxes[0, 2::9] = [np.nan, 0, 50, 50]
    got = ops.assign_sim_ota(scores, boxes, *rest)
    assert (got.index >= 0).any() and np.isfinite(got.iou).all()
    for bad in (np.s_[::3], np.s_[1::9], np.s_[2::9]):
        assert (got.index[0, bad] == -1).all()


def test_an_object_without_overlap_or_smaller_than_a_stride_gets_one_anchor():
    points, strides = grid(64)
    boxes = np.tile(np.array([0.0, 0, 2, 2], np.float32), (len(points), 1))
    scores = np.full((len(points), 1), 0.5, np.float32)
    gt, label = np.array([[33, 33, 35, 35.0]]), np.array([0])
    got = ops.assign_sim_ota(scores, boxes, points, strides, gt, label)
    # No point inside: the lowest of the anchors near its centre, all of one cost.
    offset = np.abs(points - 34).max(1)
    assert np.flatnonzero(got.index == 0).tolist() == [np.flatnonzero(offset < 2.5 * strides)[0]]


def test_duplicate_objects_more_objects_than_anchors_and_none_of_everything():
    scores, boxes, points, strides, gt, labels = problem(np.random.default_rng(4), [50])
    few = scores[:, :3], boxes[:, :3], points[:3] + 40, strides[:3], gt, labels
    assert_equal_results(
        ops.assign_sim_ota(*few, top_k=512), reference.assign_sim_ota(*few, top_k=512)
    )
    rest = points, strides
    once = ops.assign_sim_ota(scores, boxes, *rest, [gt[0][:1]], [labels[0][:1]])
    twice = [np.repeat(gt[0][:1], 2, 0)], [np.repeat(labels[0][:1], 2)]
    assert_equal_results(ops.assign_sim_ota(scores, boxes, *rest, *twice), once)
    none, label = np.zeros((0, 4)), np.zeros(0, int)
    got = ops.assign_sim_ota(scores[0], boxes[0], *rest, none, label)
    assert got.index.shape == (336,) and (got.index == -1).all()
    padded = np.full((1, 3, 4), np.nan), np.full((1, 3), -1)
    assert (ops.assign_sim_ota(scores, boxes, *rest, *padded).index == -1).all()
    assert ops.assign_sim_ota(scores[:0], boxes[:0], *rest, [], []).iou.shape == (0, 336)
    empty = ops.assign_sim_ota(
        scores[:, :0], boxes[:, :0], points[:0], strides[:0], [none], [label]
    )
    assert empty.index.shape == (1, 0)


def test_the_same_assignment_at_every_isa_level():
    code = """
import numpy as np
from sightline import ops
rng = np.random.default_rng(5)
points = rng.uniform(0, 200, (777, 2)).astype(np.float32)
strides = rng.choice([4, 8, 16], 777).astype(np.float32)
side = rng.uniform(1, 60, (2, 777, 4))
boxes = np.concatenate([points - side[..., :2], points + side[..., 2:]], -1).astype(np.float32)
scores = rng.uniform(0, 1, (2, 777, 37)).astype(np.float32)
corner = rng.uniform(0, 200, (2, 70, 2))
gt = np.concatenate([corner, corner + rng.uniform(1, 90, corner.shape)], -1).astype(np.float32)
out = ops.assign_sim_ota(scores, boxes, points, strides, gt, rng.integers(0, 37, (2, 70)))
print([value.tobytes().hex() for value in out])
"""
    output_of_every_level(code)


def test_the_same_assignment_by_any_number_of_threads():
    case = as_tensors(problem(np.random.default_rng(6), [60] * 8, size=256))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = ops.assign_sim_ota(*case)
        torch.set_num_threads(3)
        assert_equal_results(ops.assign_sim_ota(*case), alone)
    finally:
        torch.set_num_threads(before)


def test_errors_name_the_argument_and_what_it_needs():
    scores, boxes, points, strides, gt, labels = problem(np.random.default_rng(0), [2, 3])

    def assign(scores=scores, boxes=boxes, strides=strides, gt=gt, labels=labels, **settings):
        return ops.assign_sim_ota(scores, boxes, points, strides, gt, labels, **settings)

    with pytest.raises(
        ValueError, match=r"`scores` must have shape \[B, A, C\] .* got \[336, 21\]"
    ):
        assign(scores=scores[0])
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[2, 336, 4\]"):
        assign(boxes=boxes[:, :5])
    with pytest.raises(ValueError, match=r"`strides` must have shape \[336\].* got \[3\]"):
        assign(strides=strides[:3])
    with pytest.raises(
        ValueError, match=r"`gt_labels` must lie in \[0, 21\).* got 21 for object 1"
    ):
        assign(labels=[np.array([0, 21]), np.zeros(3, int)])
    with pytest.raises(ValueError, match="`top_k` must be at most 512, got 513"):
        assign(top_k=513)
    with pytest.raises(ValueError, match="`center_radius` must be positive, got 0"):
        assign(center_radius=0)
    with pytest.raises(ValueError, match="`iou_weight` must be finite and not negative, got -1"):
        assign(iou_weight=-1)
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        assign(strides=torch.from_numpy(strides))


def test_torch_knows_the_op():
    scores, boxes, points, strides, gt, labels = problem(np.random.default_rng(0), [5, 5])
    case = [torch.from_numpy(np.asarray(v)) for v in (scores, boxes, points, strides, gt, labels)]
    torch.library.opcheck(torch.ops.sightline.assign_sim_ota, (*case, 10, 2.5, 3.0, 1.0))
    expected = ops.assign_sim_ota(*case)
    compiled = torch.compile(ops.assign_sim_ota, fullgraph=True, backend="aot_eager")
    assert_equal_results(compiled(*case), expected)

    class Module(torch.nn.Module):
        def forward(self, *case):
            return tuple(ops.assign_sim_ota(*case))

    exported = torch.export.export(Module(), tuple(case)).module()
    assert_equal_results(exported(*case), expected)
    half = [case[0].half(), case[1].bfloat16(), *case[2:]]
    wide = [half[0].float(), half[1].float(), *case[2:]]
    with torch.autocast("cpu", torch.bfloat16):
        got = ops.assign_sim_ota(*half)
    assert_equal_results(got, ops.assign_sim_ota(*wide))


def test_cuda_gives_the_assignment_of_the_cpu(cuda):
    for dtype in (np.float32, np.float64):
        case = as_tensors(problem(np.random.default_rng(3), [0, 90, 300], dtype=dtype, size=512))
        there = [
            [v.to(cuda) for v in value] if isinstance(value, list) else value.to(cuda)
            for value in case
        ]
        for own, other in zip(ops.assign_sim_ota(*there), ops.assign_sim_ota(*case)):
            assert torch.equal(own.cpu(), other)
