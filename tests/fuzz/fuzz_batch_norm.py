"""Batch norm with its activation, and its gradients, of random shapes, layouts and settings."""

import numpy as np
import torch

from sightline import ops, reference

CASES = 3_000

_ACTIVATIONS = (None, "relu", "leaky_relu", "silu")
_TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 2e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}
_LENGTHS = (1, 2, 7, 31, 32, 33, 49, 100, 196, 784, 2048, 2049, 5000)


def check(rng: np.random.Generator) -> None:
    channels = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 65, 130]))
    length = int(rng.choice(_LENGTHS))
    most = max(2, 40_000 // (channels * length))
    ghosts = int(rng.choice([1, 1, 2, 3]))
    batch = ghosts * int(rng.integers(1, max(min(most, 40) // ghosts, 1) + 1))
    shape: tuple[int, ...] = (batch, channels, length)
    if length == 1 and rng.random() < 0.5:
        shape = (batch, channels)
    elif length % 7 == 0:
        shape = (batch, channels, length // 7, 7)
    training = bool(rng.random() < 0.7)
    if training and batch // ghosts * length < 2:
        return
    dtype = list(_TOLERANCE)[rng.integers(4)]
    has_residual, last = rng.random(2) < 0.5
    activation = _ACTIVATIONS[rng.integers(4)]
    mean = float(rng.choice([0.0, 1.0, 30.0]))
    arrays = {
        "x": rng.normal(mean, 1, shape),
        "weight": rng.normal(1, 0.5, channels) if rng.random() < 0.8 else None,
        "bias": rng.normal(0, 0.5, channels) if rng.random() < 0.8 else None,
        "running_mean": rng.normal(mean, 0.3, channels),
        "running_var": rng.uniform(0.5, 2, channels),
        "residual": rng.normal(size=shape) if has_residual else None,
    }
    wide = torch.promote_types(dtype, torch.float32)
    types = {"x": dtype, "residual": dtype}
    tensors = {
        k: v if v is None else torch.from_numpy(v).to(types.get(k, wide)) for k, v in arrays.items()
    }
    truth = {k: v if v is None else v.double().numpy().copy() for k, v in tensors.items()}
    if last:
        tensors["x"] = tensors["x"].movedim(1, -1).contiguous().movedim(-1, 1)
    names = [k for k in ("x", "weight", "bias", "residual") if tensors[k] is not None]
    for name in names:
        tensors[name].requires_grad_()
    runs = {"training": training, "ghost_batches": ghosts}
    settings = {"activation": activation, "negative_slope": 0.2, **runs}
    what = f"{shape} {dtype} last={last} residual={has_residual} {settings}"

    grad = torch.from_numpy(rng.normal(size=shape)).to(dtype)
    y = ops.batch_norm_act(**tensors, **settings)
    found = torch.autograd.grad(y, [tensors[k] for k in names], grad)
    expected = reference.batch_norm_act_backward(grad.double().numpy(), **truth, **settings)
    u = reference.batch_norm_act(**{k: v if v is None else v.copy() for k, v in truth.items()},
                                 **runs)  # fmt: skip
    values = reference.batch_norm_act(**truth, **settings)
    room = _TOLERANCE[dtype]
    _near(y.detach(), values, room, f"{what}: y")
    if activation in ("relu", "leaky_relu") and np.abs(u).min() < 50 * room:
        return  # an element near the kink may fall to either side
    for name, got in zip(names, found):
        _near(got, expected[("x", "weight", "bias", "residual").index(name)], room,
              f"{what}: gradient of {name}")  # fmt: skip
    for name in ("running_mean", "running_var"):
        _near(tensors[name], truth[name], 2e-6 if wide == torch.float32 else 1e-12, what + name)


def _near(got, expected, room, what):
    expected = np.asarray(expected)
    error = np.abs(got.double().numpy() - expected).max(initial=0)
    scale = max(np.abs(expected).max(initial=0), 1.0)
    assert error <= room * scale, f"{what}: off by {error} of {scale}"
