"""A residual network of plain torch learns the digits as well when it is converted."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sightline.data.digits import digit_images
from sightline.models import convert_batch_norm

pytest.importorskip("sklearn")
SEEDS, EPOCHS, BATCH, WIDTH = 4, 3, 64, 8


class Block(nn.Module):
    """The basic block of ResNet-18 with functions for its activations."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), norm(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), norm(out)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride), norm(out))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


norm = nn.BatchNorm2d


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, WIDTH, 3, 1, 1, bias=False), norm(WIDTH), nn.ReLU()),
        *(Block(WIDTH, WIDTH, 1), Block(WIDTH, 2 * WIDTH, 2), Block(2 * WIDTH, 4 * WIDTH, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * WIDTH, 10)),
    )


def accuracies(convert):
    """Of one network a seed; in the first step, its loss too."""
    images, labels = digit_images()
    x, y = torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels)
    held_out = torch.arange(len(y)) % 4 == 0
    found, first_losses = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = network()
        if convert:
            model, report = convert_batch_norm(model)
            assert len(report.fused) == 7 and len(report.alone) == 2
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        learned = torch.nonzero(~held_out)[:, 0]
        for _ in range(EPOCHS):
            for chosen in learned[torch.randperm(len(learned))].split(BATCH):
                loss = F.cross_entropy(model(x[chosen]), y[chosen])
                if len(first_losses) == seed:
                    first_losses.append(loss.item())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            for group in optimizer.param_groups:
                group["lr"] *= 0.3
        model.eval()
        with torch.no_grad():
            found.append((model(x[held_out]).argmax(1) == y[held_out]).float().mean().item())
    return np.array(found), np.array(first_losses)


def test_converted_network_learns_the_digits_as_well():
    plain, first = accuracies(convert=False)
    ours, our_first = accuracies(convert=True)
    np.testing.assert_allclose(our_first, first, rtol=1e-5)
    assert plain.min() > 0.9
    spread = max(np.ptp(plain), 0.01)
    assert abs(ours.mean() - plain.mean()) <= spread
    assert (np.abs(ours - plain) <= 2 * spread).all()


def test_each_of_100_steps_is_that_of_torch():
    """From the state of torch each time: outputs, gradients and running statistics."""
    torch.manual_seed(0)
    plain = network()
    ours, _ = convert_batch_norm(copy.deepcopy(plain))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9)
    for step in range(100):
        ours.load_state_dict(plain.state_dict())
        x, y = torch.randn(8, 1, 8, 8), torch.arange(8) % 10
        optimizer.zero_grad(), ours.zero_grad()
        a, b = plain(x), ours(x)
        F.cross_entropy(a, y).backward(), F.cross_entropy(b, y).backward()
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4, msg=f"output of step {step}")
        grads = [p.grad for p in plain.parameters()]
        largest = max(g.abs().max() for g in grads)
        for p, g in zip(ours.parameters(), grads, strict=True):
            assert (p.grad - g).abs().max() <= 1e-3 * largest, step
        for value, expected in zip(ours.buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
        optimizer.step()
