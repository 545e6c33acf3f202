"""Residual networks of plain torch learn as well when they are converted."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sightline.bench.batch_norm import plain_resnet
from sightline.models import convert_batch_norm, resnet18

from .train_resnet18 import accuracies

WIDTH = 8


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


def test_plain_resnet18_has_the_weights_of_its_checkpoints():
    plain, ours = plain_resnet.resnet18(10).state_dict(), resnet18(10).state_dict()
    assert {name: v.shape for name, v in plain.items()} == {n: v.shape for n, v in ours.items()}


def test_converted_resnet18_learns_the_digits_as_well():
    pytest.importorskip("sklearn")
    plain, ours = accuracies(seeds=3, epochs=2, size=16, width=24)
    assert min(plain.mean(), ours.mean()) > 0.95
    # 0.016 is twice the standard error of one accuracy near 0.97 over 450 digits.
    spread = max(np.ptp(plain), np.ptp(ours), 0.016)
    assert abs(ours.mean() - plain.mean()) <= spread, (plain, ours)


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
