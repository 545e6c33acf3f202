"""Results past 2 MiB, which the CPU writes around its caches: by lines, or from a buffer where rows
do not begin lines."""

import pytest
import torch

from sightline import reference

from .batch_norm_bits import assert_same_at_every_level
from .batch_norm_cases import LAYOUTS, TOLERANCE, arguments, assert_near, call

# Contiguous: rows of whole lines, and not; channels-last, likewise; the last ones' rows are longer
# than a buffer.
SHAPES = ((5, 64, 60, 56), (3, 100, 59, 61), (3, 41, 95, 97), (300, 3600))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_large_results_are_those_of_the_reference(shape, layout, dtype):
    assert 2 * torch.Size(shape).numel() > 2 << 20
    for activation, residual in (("relu", True), ("silu", False), ("leaky_relu", False)):
        args = arguments(shape, dtype, layout, residual)
        arrays = {k: v if v is None else v.detach().double().numpy() for k, v in args.items()}
        inputs = [args[k] for k in ("x", "weight", "bias", "residual") if args[k] is not None]
        grad = torch.randn(shape).to(dtype)
        y = call(args, activation=activation)
        got = torch.autograd.grad(y, inputs, grad)
        expected = reference.batch_norm_act_backward(
            grad.double().numpy(), **arrays, activation=activation
        )
        assert_near(y, reference.batch_norm_act(**arrays, activation=activation), dtype, activation)
        for a, b, name in zip(got, expected, ("x", "weight", "bias", "residual")):
            assert_near(a, b, dtype, f"{activation} gradient of {name}")


def test_every_isa_level_gives_the_same_bits_of_large_results():
    assert_same_at_every_level([((3, 100, 59, 61), 1)], ["relu"])
