import pytest
import torch
from torch import nn

from sightline.train import EMA


def test_average_follows_the_written_formula():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    ema = EMA(model, decay=0.2)
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 3.0]):
        nn.init.constant_(model.weight, value)
        ema.step(model)
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert ema.model.weight.item() == pytest.approx(expected, rel=1e-6)


def test_average_of_constant_weights_is_those_weights():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ema = EMA(model)
    for _ in range(5):
        ema.step(model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ema.model.state_dict()[name], value)


def test_float_buffers_are_averaged_and_counters_copied():
    model = nn.BatchNorm2d(2)
    ema = EMA(model, decay=0.9)
    model(torch.randn(4, 2, 3, 3) + 5)
    ema.step(model)
    assert ema.model.num_batches_tracked == 1
    expected = 0.9 * model.running_mean  # the first decay is 1 / 10, and the average began at 0
    torch.testing.assert_close(ema.model.running_mean, expected)


def test_averaged_model_is_in_evaluation_mode_and_asks_no_gradient():
    ema = EMA(nn.Linear(2, 2))
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_outside_its_range_is_named(decay):
    with pytest.raises(ValueError, match="`decay` must be in"):
        EMA(nn.Linear(1, 1), decay=decay)
