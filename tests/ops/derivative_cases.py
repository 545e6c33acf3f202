"""How the tests judge the derivatives of a function of tensors."""

from torch.autograd import gradcheck, gradgradcheck


def leaves(*tensors):
    return tuple(t.clone().requires_grad_() for t in tensors)


def assert_differentiable(function, *tensors):
    """First and second derivatives in reverse mode, first and first of first in forward mode."""
    inputs = leaves(*tensors)
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, fast_mode=True)
