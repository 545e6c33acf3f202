"""A training step of the detector, its matcher against the same rule in plain torch."""

import pytest
import torch
from bench_matching import box_iou, objects_within

from sightline.models import create_model
from sightline.models.detectors import anchor

IMAGES, OBJECTS, SIZE = 4, 7, 320


def tensor_program(anchors, gt_boxes, *, high_threshold, low_threshold, allow_low_quality):
    """`match_anchors` of a list, image after image, each over its matrix of IoUs."""
    images = []
    for boxes in gt_boxes:
        iou = box_iou(boxes, anchors)
        best, best_object = iou.max(0)
        between = torch.where(best < high_threshold, -2, best_object)
        matches = torch.where(best < low_threshold, -1, between)
        highest = iou.max(1, keepdim=True).values
        restored = torch.where((iou == highest) & (highest > 0))[1]
        matches[restored] = best_object[restored]
        images.append(matches)
    return torch.stack(images)


MATCHERS = {"kernel": anchor.match_anchors, "tensor_program": tensor_program}


class Step:
    """Forward, backward and update; `match` alone on the same anchors and objects."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = create_model("light_detector", 20).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4)
        self.images = torch.rand(IMAGES, 3, SIZE, SIZE)
        self.boxes = list(objects_within(IMAGES, OBJECTS, SIZE, SIZE))
        labels = torch.randint(20, (IMAGES, OBJECTS))
        self.targets = [{"boxes": b, "labels": c} for b, c in zip(self.boxes, labels)]
        with torch.no_grad():
            self.anchors = self.model(self.images).anchors

    def match(self, matcher) -> torch.Tensor:
        rule = {"high_threshold": 0.5, "low_threshold": 0.4, "allow_low_quality": True}
        return matcher(self.anchors, self.boxes, **rule)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        sum(self.model.loss(self.model(self.images), self.targets).values()).backward()
        self.optimizer.step()


@pytest.mark.parametrize("part", ["step", "matcher alone"])
@pytest.mark.parametrize("matcher", MATCHERS)
def test_training_step(benchmark, monkeypatch, matcher, part):
    step = Step()
    assert torch.equal(*(step.match(contender) for contender in MATCHERS.values()))
    monkeypatch.setattr(anchor, "match_anchors", MATCHERS[matcher])
    benchmark.group = f"{part}: {IMAGES} images, {len(step.anchors):,} anchors x {OBJECTS} objects"
    if part == "step":
        benchmark(step)
    else:
        benchmark(step.match, MATCHERS[matcher])
