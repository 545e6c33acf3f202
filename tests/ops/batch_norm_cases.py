"""Shared by the tests of batch norm: inputs, tolerances, and checks of compiled graphs."""

import torch

from sightline import ops

ACTIVATIONS = (None, "relu", "leaky_relu", "silu")
LAYOUTS = ("contiguous", "channels_last")
# Largest difference from the truth, relative to the largest value: results of a kernel that
# computes in float32 or float64, then rounds to the type of x.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 3e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}
# Odd ones; channels that fold into one row, that fill it, that need tiles; one element a plane.
SHAPES = (
    (4, 3, 5, 7),
    (2, 16, 33, 9),
    (3, 5),
    (2, 3, 700),
    (5, 24, 8, 8),
    (2, 700, 3, 3),
    (70, 600),
    (129, 1, 1, 1),
    (1, 2, 3, 4, 5),
)


def assert_near(got, expected, dtype, what=""):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    scale = expected.abs().max().item() if expected.numel() else 1.0
    torch.testing.assert_close(
        got.detach().double(),
        expected,
        rtol=0,
        atol=TOLERANCE[dtype] * max(scale, 1e-3),
        msg=lambda text: f"{what}: {text}",
    )


def arguments(shape, dtype=torch.float32, layout="contiguous", residual=False, seed=0):
    torch.manual_seed(seed)
    x = (torch.randn(shape) * 2 + 1).to(dtype)
    if layout == "channels_last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    wide = torch.promote_types(dtype, torch.float32)
    weight, bias = torch.randn(shape[1], dtype=wide), torch.randn(shape[1], dtype=wide)
    running_mean, running_var = torch.randn(shape[1], dtype=wide), torch.rand(shape[1]).to(wide)
    return {
        "x": x.requires_grad_(),
        "weight": weight.requires_grad_(),
        "bias": bias.requires_grad_(),
        "running_mean": running_mean,
        "running_var": running_var + 0.5,
        "residual": torch.randn(shape).to(dtype).requires_grad_() if residual else None,
    }


def call(args, **settings):
    return ops.batch_norm_act(**args, **settings)


def assert_compiles(shape, **settings):
    """Into one graph whose y, gradients and running statistics are those of the op."""
    args: dict = {}
    tracked = torch.tensor(0)

    def function(x, weight, residual):
        given = {**args, "x": x, "weight": weight, "residual": residual}
        return call(given, num_batches_tracked=tracked, momentum=None, **settings).sin()

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for layout in LAYOUTS:
        args.update(arguments(shape, layout=layout, residual=True))
        inputs = args["x"], args["weight"], args["residual"]
        start = {k: args[k].clone() for k in ("running_mean", "running_var")}
        results = []
        for f in (function, compiled):
            tracked.zero_()
            for name, value in start.items():
                args[name].copy_(value)
            y = f(*inputs)
            grads = torch.autograd.grad(y.sum(), inputs)
            results.append((y, *grads, args["running_var"].clone(), tracked.clone()))
        for a, b in zip(*results):
            assert torch.equal(a, b) and a.stride() == b.stride()
