import math

import torch
from torch.nn import functional as F

from sightline.models import sigmoid_focal_loss


def test_focal_loss_by_hand():
    # p = .5: cross-entropy log 2, modulation .5^2, weight .25 for a one and .75 for a zero.
    loss = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    expected = torch.tensor([0.25, 0.75]) * 0.25 * math.log(2)
    torch.testing.assert_close(loss, expected)


def test_without_gamma_and_alpha_it_is_cross_entropy():
    logits, targets = torch.randn(7, 3), torch.randint(0, 2, (7, 3)).float()
    torch.testing.assert_close(
        sigmoid_focal_loss(logits, targets, alpha=-1, gamma=0),
        F.binary_cross_entropy_with_logits(logits, targets, reduction="none"),
    )


def test_gradient_is_right_and_finite_for_extreme_logits():
    logits = torch.tensor([-1.5, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, targets), logits)
    extreme = torch.tensor([-200.0, 200.0, 200.0], requires_grad=True)
    sigmoid_focal_loss(extreme, targets.float()).sum().backward()
    assert extreme.grad.isfinite().all()
