import copy

import torch
from torch import nn

from sightline.models import BatchNormAct2d, convert_batch_norm


def torch_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4, momentum=None)),
        nn.BatchNorm2d(4, affine=False),
        nn.LeakyReLU(0.2),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.SiLU(),
    )


def test_converted_model_gives_the_same_outputs_gradients_and_buffers():
    theirs = torch_model()
    ours = convert_batch_norm(copy.deepcopy(theirs))
    norms = [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.activation for m in norms] == ["relu", None, "leaky_relu", "silu"]
    assert all(type(m) is BatchNormAct2d for m in norms) and norms[2].negative_slope == 0.2
    for training in (True, True, False):
        theirs.train(training), ours.train(training)
        x = torch.randn(4, 3, 9, 9)
        a, b = theirs(x), ours(x)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        theirs.zero_grad(), ours.zero_grad()
        (a**2).sum().backward(), (b**2).sum().backward()
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-3)
        assert theirs.state_dict().keys() == ours.state_dict().keys()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(value, ours.state_dict()[name], msg=name)
