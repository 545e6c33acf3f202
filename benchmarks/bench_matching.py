"""match_anchors against the tensor program over the matrix of IoUs."""

import pytest
import torch

from sightline import ops

HIGH, LOW = 0.7, 0.3


def tensor_program(anchors: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
    """The rule "torchvision" on the matrix [objects, anchors], which needs 4 bytes a pair."""
    iou = ops.box_iou(gt_boxes, anchors)
    best, best_object = iou.max(0)
    matches = torch.where(best < LOW, -1, torch.where(best < HIGH, -2, best_object))
    restored = torch.where(iou == iou.max(1, keepdim=True).values)[1]
    matches[restored] = best_object[restored]
    return matches


def kernel(anchors: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
    return ops.match_anchors(
        anchors, gt_boxes, high_threshold=HIGH, low_threshold=LOW, rule="torchvision"
    )


@pytest.mark.parametrize("contender", ["kernel", "tensor_program"])
@pytest.mark.parametrize(("num_anchors", "objects"), [(8_400, 20), (100_000, 100)])
def test_match_anchors(benchmark, random_boxes, num_anchors, objects, contender):
    anchors = torch.from_numpy(random_boxes(num_anchors))
    gt_boxes = torch.from_numpy(random_boxes(objects, seed=1))
    assert torch.equal(kernel(anchors, gt_boxes), tensor_program(anchors, gt_boxes))
    benchmark.group = f"match_anchors, {num_anchors} anchors x {objects} objects"
    benchmark.extra_info["bytes"] = 24 * num_anchors + 16 * objects
    contenders = {"kernel": kernel, "tensor_program": tensor_program}
    benchmark(contenders[contender], anchors, gt_boxes)
