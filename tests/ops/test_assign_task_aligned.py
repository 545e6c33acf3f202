"""Task-aligned assignment: hand-worked cases, the reference, batches, and what torch asks."""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .isa import output_of_every_level


def grid(size=128, strides=(8, 16, 32), dtype=np.float32):
    """Points [A, 2] of all levels of a square image."""
    levels = []
    for stride in strides:
        ticks = np.arange(stride / 2, size, stride)
        x, y = np.meshgrid(ticks, ticks)
        levels.append(np.stack([x.ravel(), y.ravel()], 1))
    return np.concatenate(levels).astype(dtype)


def random_boxes(rng, *shape, size=128, dtype=np.float32):
    corner = rng.uniform(-10, size - 10, (*shape, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size, corner.shape)], -1).astype(dtype)


def predictions(rng, images, points, classes=5, dtype=np.float32):
    """Scores [B, A, C] and boxes [B, A, 4] around their points."""
    anchors = len(points)
    scores = rng.uniform(0, 1, (images, anchors, classes)).astype(dtype)
    sides = rng.uniform(2, 60, (images, anchors, 4))
    boxes = np.concatenate([points - sides[..., :2], points + sides[..., 2:]], -1).astype(dtype)
    return scores, boxes


def problem(rng, counts, classes=5, dtype=np.float32, size=128):
    points = grid(size, dtype=dtype)
    scores, boxes = predictions(rng, len(counts), points, classes, dtype)
    gt_boxes = [random_boxes(rng, n, size=size, dtype=dtype) for n in counts]
    gt_labels = [rng.integers(0, classes, n) for n in counts]
    return scores, boxes, points, gt_boxes, gt_labels


def assert_equal_results(got, expected):
    for own, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_assignment_worked_by_hand():
    points = np.array([[1.0, 1], [3, 1], [5, 1], [9, 9]])
    boxes = np.array([[0, 0, 4, 4], [0, 0, 8, 4], [0, 0, 8, 2], [0, 0, 8, 4]])
    scores = np.array([[0.9, 0], [0.5, 0], [0.8, 0], [1, 0]])
    gt = np.array([[0, 0, 8, 4]])
    # Overlaps .5, 1, .5 and a point outside; metrics .45, .5, .4.
    got = ops.assign_task_aligned(scores, boxes, points, gt, np.array([0]), top_k=2, beta=1)
    assert got.index.tolist() == [0, 0, -1, -1]
    np.testing.assert_allclose(got.metric, [0.45, 0.5, 0, 0], rtol=1e-6)
    assert got.iou.tolist() == [0.5, 1, 0, 0]
    np.testing.assert_allclose(got.target_score, [0.9, 1, 0, 0], rtol=1e-6)
    # Squared overlaps: .225, .5, .2; the default power of 6 leaves the order.
    squared = ops.assign_task_aligned(scores, boxes, points, gt, np.array([0]), top_k=2, beta=2)
    np.testing.assert_allclose(squared.metric, [0.225, 0.5, 0, 0], rtol=1e-6)


def test_an_anchor_goes_to_the_object_it_overlaps_most_of_those_that_ask():
    points, boxes = np.array([[2.0, 2.0]]), np.array([[0.0, 0, 4, 4]])
    gt = np.array([[0, 0, 8, 4], [0, 0, 4, 5], [0, 0, 4, 5], [0, 0, 4, 4]])
    scores = np.array([[1.0, 0.1, 0.0]])
    got = ops.assign_task_aligned(scores, boxes, points, gt, np.array([0, 1, 1, 2]))
    # The last one overlaps more, but its score is 0: it does not ask. Of equals the first.
    assert got.index.tolist() == [1]
    np.testing.assert_allclose(got.target_score, [0.8], rtol=1e-6)


def test_one_to_one_keeps_the_best_that_is_left_to_an_object():
    points = np.array([[1.0, 1], [2, 1], [3, 1]])
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 3]])
    gt, labels = np.array([[0, 0, 4, 4], [0, 0, 4, 3]]), np.array([0, 0])
    scores = np.array([[0.5], [0.9], [1.0]])
    settings = {"beta": 1, "one_to_one_top_k": 1}
    got = ops.assign_task_aligned(scores, boxes, points, gt, labels, **settings)
    # Anchor 2 aligns best with both, and goes to object 1; object 0 keeps anchor 1.
    assert got.index.tolist() == [-1, 0, 1]
    assert got.iou.tolist() == [0, 1, 1] and got.target_score.tolist() == [0, 1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("counts", [[0], [1, 0, 5], [40, 3], [65]])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3, "one_to_one_top_k": 1, "alpha": 0.5}])
def test_assignment_equals_the_reference(dtype, counts, settings):
    case = problem(np.random.default_rng(sum(counts)), counts, dtype=dtype)
    expected = reference.assign_task_aligned(*case, **settings)
    assert_equal_results(ops.assign_task_aligned(*case, **settings), expected)
    tensors = [
        [torch.from_numpy(v) for v in value] if isinstance(value, list) else torch.from_numpy(value)
        for value in case
    ]
    assert_equal_results(ops.assign_task_aligned(*tensors, **settings), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ciou_and_other_exponents_are_near_the_reference(dtype):
    case = problem(np.random.default_rng(3), [20, 7], dtype=dtype)
    settings = {"overlap": "ciou", "alpha": 0.7, "beta": 2.3}
    got = ops.assign_task_aligned(*case, **settings)
    expected = reference.assign_task_aligned(*case, **settings)
    np.testing.assert_array_equal(got.index, expected[0])
    for own, other in zip(got[1:], expected[1:]):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("exponent", [0.25, 0.7, 1.5, 2.3, 100.0])
def test_powers_are_as_near_as_stated(exponent):
    rng = np.random.default_rng(0)
    box, point = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 2.0]])
    for dtype in (np.float32, np.float64):
        x = rng.uniform(0.5, 1, 512).astype(dtype)
        x[:400] **= 4
        got = ops.assign_task_aligned(
            x[:, None], box.repeat(512, 0).astype(dtype), point.repeat(512, 0).astype(dtype),
            box, np.array([0]), top_k=512, alpha=exponent,
        ).metric  # fmt: skip
        exact = x.astype(np.longdouble) ** np.longdouble(exponent)
        exact = np.where(exact > np.finfo(dtype).tiny, exact, 0)
        got = np.where(exact > 0, got, 0)
        error = np.abs(got - exact)
        if dtype is np.float32:
            assert (error <= np.spacing(exact.astype(np.float32))).all()
        else:
            assert (error <= (np.abs(exponent * np.log(x)) + 1) * 2.0**-50 * exact).all()


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_an_image_does_not_depend_on_padding_or_on_the_others(kind):
    rng = np.random.default_rng(1)
    scores, boxes, points, gt, labels = problem(rng, [6, 6, 6])
    mask = np.array([[1, 0, 1, 1, 0, 1], [0] * 6, [1] * 6], bool)
    gt, labels = np.stack(gt), np.stack(labels)
    labels[~mask] = -7
    together = ops.assign_task_aligned(
        kind(scores), kind(boxes), kind(points), kind(gt), kind(labels), mask=kind(mask)
    )
    for b in range(3):
        rows = np.flatnonzero(mask[b])
        alone = ops.assign_task_aligned(
            *(kind(v) for v in (scores[b], boxes[b], points, gt[b][rows], labels[b][rows]))
        )
        np.testing.assert_array_equal(
            together.index[b], np.array([*rows, -1])[np.asarray(alone.index)]
        )
        for own, other in zip(together[1:], alone[1:]):
            np.testing.assert_array_equal(own[b], other)


def test_predictions_that_are_not_numbers_never_win():
    rng = np.random.default_rng(2)
    scores, boxes, points, gt, labels = problem(rng, [9])
    bad = rng.random(scores.shape[1]) < 0.3
    scores[0, bad[: scores.shape[1]]] = np.nan
    for broken in ([np.nan, 0, 50, 50], [-np.inf, 0, np.inf, 9]):
        boxes[0, 5::7] = broken
        got = ops.assign_task_aligned(scores, boxes, points, gt, labels, alpha=0, beta=0)
        assert (got.index >= 0).any()
        assert (got.index[0, bad] == -1).all() and (got.index[0, 5::7] == -1).all()
        assert all(np.isfinite(value).all() for value in got[1:])


def test_duplicate_objects_the_first_one_has_the_anchors():
    scores, boxes, points, gt, labels = problem(np.random.default_rng(4), [1])
    twice = [np.repeat(gt[0], 2, 0)], [np.repeat(labels[0], 2)]
    once = ops.assign_task_aligned(scores, boxes, points, gt, labels)
    assert_equal_results(ops.assign_task_aligned(scores, boxes, points, *twice), once)


def test_an_object_without_overlap_and_one_smaller_than_a_stride_get_nothing():
    points = grid(64)
    boxes = np.tile(np.array([0.0, 0, 12, 12], np.float32), (len(points), 1))
    scores = np.ones((len(points), 1), np.float32)
    gt = np.array([[30, 30, 60, 60], [9, 9, 11, 11]])
    got = ops.assign_task_aligned(scores, boxes, points, gt, np.array([0, 0]))
    assert (got.index == -1).all() and not got.target_score.any()


def test_more_objects_than_anchors_and_more_wanted_than_there_are():
    rng = np.random.default_rng(5)
    points = np.array([[20.0, 20.0], [40.0, 40.0]], np.float32)
    scores, boxes = predictions(rng, 1, points)
    gt, labels = [random_boxes(rng, 50)], [rng.integers(0, 5, 50)]
    case = scores, boxes, points, gt, labels
    got = ops.assign_task_aligned(*case, top_k=512)
    assert_equal_results(got, reference.assign_task_aligned(*case, top_k=512))


def test_none_of_everything():
    rng = np.random.default_rng(0)
    scores, boxes, points, _, _ = problem(rng, [0])
    none, label = np.zeros((0, 4)), np.zeros(0, int)
    got = ops.assign_task_aligned(scores[0], boxes[0], points, none, label)
    assert got.index.shape == (len(points),) and (got.index == -1).all()
    padded = ops.assign_task_aligned(
        scores, boxes, points, np.full((1, 3, 4), np.nan), -np.ones((1, 3), int)
    )
    assert (padded.index == -1).all()
    assert ops.assign_task_aligned(scores[:0], boxes[:0], points, [], []).index.shape == (0, 336)
    empty = ops.assign_task_aligned(scores[:, :0], boxes[:, :0], points[:0], [none], [label])
    assert empty.metric.shape == (1, 0)


def test_the_same_assignment_at_every_isa_level():
    code = """
import numpy as np
from sightline import ops
rng = np.random.default_rng(5)
points = rng.uniform(0, 200, (777, 2)).astype(np.float32)
side = rng.uniform(1, 60, (2, 777, 4))
boxes = np.concatenate([points - side[..., :2], points + side[..., 2:]], -1).astype(np.float32)
scores = rng.uniform(0, 1, (2, 777, 7)).astype(np.float32)
corner = rng.uniform(0, 200, (2, 70, 2))
gt = np.concatenate([corner, corner + rng.uniform(1, 90, corner.shape)], -1).astype(np.float32)
case = scores, boxes, points, gt, rng.integers(0, 7, (2, 70))
for settings in ({}, {"overlap": "ciou", "alpha": 0.3, "beta": 2.2}):
    print([value.tobytes().hex() for value in ops.assign_task_aligned(*case, **settings)])
"""
    output_of_every_level(code)


def test_the_same_assignment_by_any_number_of_threads():
    scores, boxes, points, gt, labels = problem(np.random.default_rng(6), [60] * 8, size=256)
    case = [torch.from_numpy(np.asarray(v)) for v in (scores, boxes, points, gt, labels)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = ops.assign_task_aligned(*case)
        torch.set_num_threads(3)
        assert_equal_results(ops.assign_task_aligned(*case), alone)
    finally:
        torch.set_num_threads(before)


def test_errors_name_the_argument_and_what_it_needs():
    scores, boxes, points, gt, labels = problem(np.random.default_rng(0), [2, 3])

    def assign(scores=scores, boxes=boxes, points=points, gt=gt, labels=labels, **settings):
        return ops.assign_task_aligned(scores, boxes, points, gt, labels, **settings)

    with pytest.raises(ValueError, match=r"`scores` must have shape \[B, A, C\] .* got \[336, 5\]"):
        assign(scores=scores[0])
    with pytest.raises(ValueError, match="`scores` must have one element for each of the 2 images"):
        assign(scores=scores[:1], boxes=boxes[:1])
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[2, 336, 4\]"):
        assign(boxes=boxes[:, :5])
    with pytest.raises(ValueError, match=r"`points` must have shape \[336, 2\]"):
        assign(points=points[:5])
    with pytest.raises(ValueError, match=r"`gt_labels` must lie in \[0, 5\).* got 5 for object 1"):
        assign(labels=[np.array([0, 5]), np.zeros(3, int)])
    with pytest.raises(ValueError, match=r"`gt_labels` must lie in \[0, 5\).* of image 0"):
        assign(
            *(torch.from_numpy(v) for v in (scores[0], boxes[0], points, gt[0])),
            torch.tensor([0, -1]),
        )
    with pytest.raises(ValueError, match=r"`gt_labels\[0\]` must have shape \[2\]"):
        assign(labels=[np.zeros(3, int)] * 2)
    with pytest.raises(ValueError, match="`top_k` must be at most 512, got 513"):
        assign(top_k=513)
    with pytest.raises(ValueError, match="`top_k` must be at least 1, got 0"):
        assign(top_k=0)
    with pytest.raises(ValueError, match="`one_to_one_top_k` must be at least 1"):
        assign(one_to_one_top_k=0)
    with pytest.raises(ValueError, match="`beta` must be finite and not negative, got -1"):
        assign(beta=-1)
    with pytest.raises(ValueError, match="`overlap` must be one of 'iou', 'ciou', got 'giou'"):
        assign(overlap="giou")
    with pytest.raises(TypeError, match=r"`gt_labels\[0\]` must hold integers"):
        assign(labels=[np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="tensors and arrays do not mix"):
        assign(points=torch.from_numpy(points))


def test_torch_knows_the_op():
    rng = np.random.default_rng(0)
    scores, boxes, points, gt, labels = problem(rng, [5, 5])
    case = [torch.from_numpy(np.asarray(v)) for v in (scores, boxes, points, gt, labels)]
    torch.library.opcheck(torch.ops.sightline.assign_task_aligned, (*case, 13, 13, 1.0, 6.0, False))
    expected = ops.assign_task_aligned(*case)
    compiled = torch.compile(ops.assign_task_aligned, fullgraph=True, backend="aot_eager")
    for own, other in zip(compiled(*case), expected):
        assert torch.equal(own, other)

    class Module(torch.nn.Module):
        def forward(self, *case):
            return tuple(ops.assign_task_aligned(*case))

    exported = torch.export.export(Module(), tuple(case)).module()
    assert torch.equal(exported(*case)[3], expected.target_score)
    case[0].requires_grad_()
    assert not ops.assign_task_aligned(*case).target_score.requires_grad
    strided = case[0].detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(ops.assign_task_aligned(strided, *case[1:]).metric, expected.metric)
    half = [case[0].detach().half(), case[1].bfloat16(), *case[2:]]
    wide = [half[0].float(), half[1].float(), *case[2:]]
    with torch.autocast("cpu", torch.bfloat16):
        got = ops.assign_task_aligned(*half)
    assert_equal_results(got, ops.assign_task_aligned(*wide))


def test_cuda_gives_the_assignment_of_the_cpu(cuda):
    for dtype in (np.float32, np.float64):
        case = problem(np.random.default_rng(3), [0, 90, 300], dtype=dtype, size=512)
        tensors = [
            [torch.from_numpy(v) for v in value]
            if isinstance(value, list)
            else torch.from_numpy(value)
            for value in case
        ]
        there = [
            [v.to(cuda) for v in value] if isinstance(value, list) else value.to(cuda)
            for value in tensors
        ]
        for settings in ({}, {"overlap": "ciou", "beta": 2.5, "one_to_one_top_k": 2}):
            expected = ops.assign_task_aligned(*tensors, **settings)
            for own, other in zip(ops.assign_task_aligned(*there, **settings), expected):
                assert torch.equal(own.cpu(), other)
