"""The IoU forms that the table of `sightline bench` leaves out, and the losses with gradients."""

import pytest
import torch

from sightline import ops


@pytest.mark.parametrize(
    "name", ["box_ioa", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
)
def test_other_forms(benchmark, random_boxes, name):
    a, b = torch.from_numpy(random_boxes(1_000)), torch.from_numpy(random_boxes(8_400, seed=1))
    out = torch.empty(1_000, 8_400)
    benchmark.group = "other forms, 1,000 x 8,400, into a given output"
    benchmark(getattr(ops, name), a, b, out=out)


@pytest.mark.parametrize(
    "name", ["generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss"]
)
def test_loss_forward_and_backward(benchmark, random_boxes, name):
    a = torch.from_numpy(random_boxes(100_000)).requires_grad_()
    b = torch.from_numpy(random_boxes(100_000, seed=1))

    def step():
        a.grad = None
        getattr(ops, name)(a, b, "sum").backward()

    benchmark.group = "losses with gradient, 100,000 pairs"
    benchmark(step)
