"""SSD assignment: hand-worked cases, the reference and its rules, batches, torch's demands."""

import numpy as np
import pytest
import torch

from sightline import ops, reference
from sightline.ops.assign_ssd import SSD_RULES

from . import box_cases
from .isa import output_of_every_level


def random_boxes(n, seed=0, dtype=np.float32):
    return box_cases.random_boxes(np.random.default_rng(seed), n, dtype)


def test_assignment_worked_by_hand():
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 7], [30, 30, 40, 40]])
    gt_boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [38, 38, 60, 60]])
    # IoU 1 gives anchor 0 to object 1; object 0 (.9 with it) takes anchor 1 (8 / 9); anchor 2 is
    # left and takes its best, object 0 (7 / 9); object 2 takes anchor 3 though it hardly overlaps.
    assert ops.assign_ssd(anchors, gt_boxes).tolist() == [1, 0, 0, 2]
    assert ops.assign_ssd(anchors, gt_boxes, threshold=0.8).tolist() == [1, 0, -1, 2]


def test_torchvision_lets_a_later_object_take_the_anchor_of_an_earlier():
    anchors = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 4.0]])
    twice = np.array([[0.0, 0.0, 10.0, 9.0]] * 2)
    assert ops.assign_ssd(anchors, twice, rule="torchvision").tolist() == [1, -1]
    assert ops.assign_ssd(anchors, twice).tolist() == [0, 1]


def test_an_object_that_overlaps_nothing_takes_no_anchor():
    anchors = np.array([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    far = np.array([[50.0, 50.0, 60.0, 60.0]])
    assert ops.assign_ssd(anchors, far).tolist() == [-1, -1]
    assert ops.assign_ssd(anchors, far, rule="torchvision").tolist() == [0, -1]


def test_of_equal_pairs_the_lowest_anchor_and_the_first_object_go_first():
    same = np.array([[0.0, 0.0, 10.0, 10.0]] * 3)
    assert ops.assign_ssd(same, same[:2]).tolist() == [0, 1, 0]
    assert ops.assign_ssd(same[:2], same).tolist() == [0, 1]  # more objects than anchors


@pytest.mark.parametrize("rule", SSD_RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_anchors", [0, 1, 63, 64, 65, 1000])
def test_assignment_equals_the_reference(num_anchors, dtype, rule):
    anchors = random_boxes(num_anchors, 99, dtype)
    objects = [random_boxes(n, n, dtype) for n in (0, 1, 40, 130)]
    expected = reference.assign_ssd(anchors, objects, rule=rule)
    np.testing.assert_array_equal(ops.assign_ssd(anchors, objects, rule=rule), expected)
    of_tensors = ops.assign_ssd(
        torch.from_numpy(anchors), [torch.from_numpy(boxes) for boxes in objects], rule=rule
    )
    np.testing.assert_array_equal(of_tensors, expected)


@pytest.mark.parametrize("rule", SSD_RULES)
@pytest.mark.parametrize("threshold", [0, 0.5])
def test_an_image_does_not_depend_on_padding_or_on_the_others(rule, threshold):
    anchors = random_boxes(200, seed=1)
    padded = random_boxes(15, seed=2).reshape(3, 5, 4)
    mask = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    settings = {"rule": rule, "threshold": threshold}
    together = ops.assign_ssd(anchors, padded, mask=mask, **settings)
    for index, boxes, present in zip(together, padded, mask):
        alone = ops.assign_ssd(anchors, boxes[present], **settings)
        np.testing.assert_array_equal(index, np.array([*np.flatnonzero(present), -1])[alone])


def test_boxes_that_are_not_finite_are_neither_anchors_nor_objects():
    bad = np.array([[np.nan, 0, 1, 1], [0, 0, np.inf, 1], [0, 0, 3e38, 3e38]], np.float32)
    good = np.array([[0, 0, 10, 10]], np.float32)
    both = np.concatenate([bad, good])
    for rule in SSD_RULES:
        assert ops.assign_ssd(both, both, rule=rule).tolist() == [-1, -1, -1, 3]


def test_the_same_assignment_at_every_isa_level():
    code = """
import numpy as np
from sightline import ops
rng = np.random.default_rng(5)
corner = rng.integers(0, 60, (700, 2))
boxes = np.concatenate([corner, corner + rng.integers(1, 30, corner.shape)], 1).astype(np.float32)
for rule in ("default", "torchvision"):
    print(ops.assign_ssd(boxes[:600], boxes[600:], rule=rule).tolist())
"""
    output_of_every_level(code)


def test_errors_name_the_argument_and_what_it_needs():
    anchors = random_boxes(4)
    with pytest.raises(ValueError, match=r"`anchors` must have shape \[N, 4\], got \[1, 4, 4\]"):
        ops.assign_ssd(anchors[None], anchors)
    with pytest.raises(ValueError, match=r"`threshold` must lie in \[0, 1\], got -0.1"):
        ops.assign_ssd(anchors, anchors, threshold=-0.1)
    with pytest.raises(ValueError, match="`rule` must be one of 'default', 'torchvision'"):
        ops.assign_ssd(anchors, anchors, rule="caffe")
    with pytest.raises(ValueError, match=r"`gt_boxes` must have shape .*, got \[4\]"):
        ops.assign_ssd(anchors, anchors[0])


def test_torch_knows_the_op():
    anchors = torch.from_numpy(random_boxes(50))
    gt_boxes = torch.from_numpy(random_boxes(10, seed=1).reshape(2, 5, 4))
    for overwrite in (False, True):
        torch.library.opcheck(torch.ops.sightline.assign_ssd, (anchors, gt_boxes, 0.5, overwrite))
    compiled = torch.compile(ops.assign_ssd, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(anchors, gt_boxes), ops.assign_ssd(anchors, gt_boxes))
    half = ops.assign_ssd(anchors.half(), gt_boxes.half())
    assert torch.equal(half, ops.assign_ssd(anchors.half().float(), gt_boxes.half().float()))


@pytest.mark.parametrize("rule", SSD_RULES)
def test_cuda_gives_the_assignment_of_the_cpu(cuda, rule):
    anchors = torch.from_numpy(random_boxes(8732))
    objects = [torch.from_numpy(random_boxes(n, seed=n)) for n in (0, 300, 7)]
    got = ops.assign_ssd(anchors.to(cuda), [b.to(cuda) for b in objects], rule=rule)
    assert torch.equal(got.cpu(), ops.assign_ssd(anchors, objects, rule=rule))
