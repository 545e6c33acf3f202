import pytest
import torch
from torch import nn

from sightline.train import OPTIMIZERS, make_optimizer


def model():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))


def test_biases_and_norms_do_not_decay():
    network = model()
    decaying, plain = make_optimizer(network, "sgd", lr=0.1, weight_decay=0.5).param_groups
    assert decaying["weight_decay"] == 0.5 and plain["weight_decay"] == 0.0
    assert {id(p) for p in decaying["params"]} == {id(network[0].weight), id(network[3].weight)}
    assert len(plain["params"]) == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_name_lowers_a_loss(name):
    torch.manual_seed(0)
    network, images = model(), torch.randn(8, 1, 4, 4)
    optimizer = make_optimizer(network, name, lr=0.01)
    losses = []
    for _ in range(20):
        loss = network(images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_frozen_parameters_are_left_out():
    network = model()
    network[0].requires_grad_(False)
    groups = make_optimizer(network, "adamw", lr=0.1).param_groups
    assert sum(len(group["params"]) for group in groups) == 4
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(network.requires_grad_(False), "adamw", lr=0.1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sdg", {}, "optimizer must be one of sgd, .*got 'sdg'"),
        ("sgd", {"lr": 0.0}, "`lr` must be > 0, got 0.0"),
        ("sgd", {"weight_decay": -1.0}, "`weight_decay` must be >= 0, got -1.0"),
        ("nesterov", {"momentum": 1.0}, r"`momentum` must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_arguments_are_named(name, change, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(model(), name, **({"lr": 0.1} | change))
