"""Batch norm with its activation against torch's modules, forward and backward in training.

One process measures both, in turn, so that they meet the same machine:
`pytest benchmarks/bench_batch_norm.py --benchmark-enable`, and for a table of ratios on a machine
that is busy with other things, by CPU time of one thread: `python benchmarks/bench_batch_norm.py`.
"""

import statistics
import time

import pytest
import torch
from torch import nn

from sightline.models import BatchNormAct2d

SHAPES = ((8, 32, 120, 160), (8, 64, 60, 80), (8, 128, 30, 40), (128, 16, 32, 32))
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Reads and writes of the input's size that a step needs: forward 2 + 1, backward 4 + 1.
PASSES = 8


def contenders(shape, layout, activation="relu", dtype=torch.float32):
    """The two steps to time, after a check that they compute the same."""
    torch.manual_seed(0)
    x, grad = (torch.randn(shape).to(dtype, memory_format=FORMATS[layout]) for _ in range(2))
    x.requires_grad_()
    plain = nn.Sequential(
        nn.BatchNorm2d(shape[1]), {"relu": nn.ReLU, "silu": nn.SiLU}[activation]()
    )
    fused = BatchNormAct2d(shape[1], activation=activation)

    def step(module):
        inputs = x, *module.parameters()
        return torch.autograd.grad(module(x), inputs, grad)

    torch.testing.assert_close(fused(x), plain(x), rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(step(fused), step(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2 * theirs.abs().max().item())
    return {"fused": lambda: step(fused), "torch": lambda: step(plain)}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("contender", ["fused", "torch"])
def test_training_step(benchmark, contender, shape, layout, threads):
    torch.set_num_threads(threads)
    benchmark.group = f"BN + ReLU step {shape} {layout}, {threads} threads"
    benchmark.extra_info["bytes"] = PASSES * 4 * torch.Size(shape).numel()
    benchmark(contenders(shape, layout)[contender])


def main() -> None:
    torch.set_num_threads(1)
    print("CPU time of a training step in ms, median of 15 and spread; one thread")
    for activation in ("relu", "silu"):
        for shape in SHAPES:
            for layout in FORMATS:
                times: dict[str, list[float]] = {"torch": [], "fused": []}
                steps = contenders(shape, layout, activation)
                for name in ["torch", "fused"] * 17:
                    start = time.process_time()
                    steps[name]()
                    times[name].append(1e3 * (time.process_time() - start))
                middle = {name: statistics.median(values[2:]) for name, values in times.items()}
                spread = {name: (min(v[2:]), max(v[2:])) for name, v in times.items()}
                rate = PASSES * 4e-6 * torch.Size(shape).numel() / middle["fused"]
                print(
                    f"{activation:5}{'x'.join(map(str, shape)):15}{layout:14}"
                    + "".join(
                        f"{name} {middle[name]:6.2f} ({low:.2f} to {high:.2f})  "
                        for name, (low, high) in spread.items()
                    )
                    + f"ratio {middle['torch'] / middle['fused']:.2f}  {rate:.1f} GB/s"
                )


if __name__ == "__main__":
    main()
