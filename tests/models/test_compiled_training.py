"""Training steps within `torch.compile(fullgraph=True)`, which takes no look at values."""

import pytest
import torch
from torch import nn

from sightline.models import AnchorDetector, AnchorObjective, ResNet, convert_batch_norm


def scene(boxes, labels):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


IMAGES = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
# Objects in both images, and in none.
SCENES = (
    [scene([[4, 4, 20, 22], [10, 3, 32, 30]], [0, 2]), scene([[8, 3, 28, 25]], [1])],
    [scene([], []), scene([], [])],
)


class PlainTrunk(nn.Module):
    """With batch norm and activation apart, as `convert_batch_norm` finds them elsewhere."""

    def __init__(self):
        super().__init__()
        self.feature_channels = {8: 8}
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 8, 8, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )

    def features(self, images):
        return {8: self.body(images)}


def detector():
    torch.manual_seed(0)
    anchors = [[(12, 12), (20, 20)]]
    model = AnchorDetector(
        PlainTrunk(),
        3,
        anchors=anchors,
        strides=(8,),
        fpn_channels=8,
        objective=AnchorObjective(box_loss="ciou"),
    )
    return convert_batch_norm(model)[0]


def classifier():
    torch.manual_seed(0)
    return ResNet((1, 1), (4, 8), num_classes=3, stem="small")


CASES = {
    "detector": (detector, SCENES),
    "classifier": (classifier, [torch.tensor([0, 2])]),
}
BAD = {  # in shapes that are compiled already
    "detector": [scene([[4, 4, 20, 22], [10, 3, 32, 30]], [0, 3]), SCENES[0][1]],
    "detector of boxes": [SCENES[0][0], scene([[8, 3, 2, 25]], [1])],
    "classifier": torch.tensor([0, 3]),
}


def losses_of(model):
    return lambda images, targets: model.loss(model(images), targets)


@pytest.mark.parametrize("name", CASES)
def test_training_step_compiles_into_one_graph(name):
    make, batches = CASES[name]
    torch.compiler.reset()
    model, twin = make(), make()
    step = torch.compile(losses_of(model), fullgraph=True, backend="aot_eager")
    for targets in batches:
        losses, expected = step(IMAGES, targets), losses_of(twin)(IMAGES, targets)
        assert {k: float(v.detach()) for k, v in losses.items()} == pytest.approx(
            {k: float(v.detach()) for k, v in expected.items()}, rel=1e-6
        )
        for terms, of in ((losses, model), (expected, twin)):
            of.zero_grad()
            sum(terms.values()).backward()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
    for bad in (targets for key, targets in BAD.items() if key.startswith(name)):
        with pytest.raises(RuntimeError, match=r"`targets` must have .*label.*in 0\.\.2"):
            step(IMAGES, bad)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detector", r"`targets\[0\]\['labels'\]\[1\]` must be in 0..2 for 3 classes, got 3"),
        ("detector of boxes", r"`targets\[1\]\['boxes'\]\[0\]` must be finite xyxy"),
        ("classifier", r"`targets\[1\]` must be in 0..2 for 3 classes, got 3"),
    ],
)
def test_eager_step_names_the_bad_target(name, said):
    make, _ = CASES[name.split()[0]]
    with pytest.raises(ValueError, match=said):
        losses_of(make())(IMAGES, BAD[name])
