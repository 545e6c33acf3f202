"""Batch norm with its activation against torch, eager and compiled, at the shapes of ResNet-50 and
of a detector's neck.

`python benchmarks/bench_batch_norm.py` prints for every shape the bytes that a training step must
move at least, the time, the bandwidth those bytes come to, the fraction that is of a copy past the
caches measured in the same run, and the memory kept for the backward pass. Contenders take turns,
so that they meet the same machine; before they are timed they are held to one another.

`pytest benchmarks/bench_batch_norm.py --benchmark-enable` times a few of the shapes.
"""

import argparse
import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn

from sightline import _numpy
from sightline.models import BatchNormAct2d

# Channels and sides; ResNet-50 at 224 pixels, and the three levels of a neck at 640.
RESNET50 = (
    (64, 112, 112), (64, 56, 56), (256, 56, 56), (128, 28, 28), (512, 28, 28), (256, 14, 14),
    (1024, 14, 14), (512, 7, 7), (2048, 7, 7),
)  # fmt: skip
NECK = ((128, 80, 80), (256, 40, 40), (512, 20, 20))
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Passes over x that a step needs where what is read twice stays in the caches: x and y forward,
# x, grad and grad_x backward; a residual adds itself and its gradient.
PASSES = {False: 5, True: 7}


class Eager(nn.Module):
    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.act = {"relu": nn.ReLU, "silu": nn.SiLU}[activation]()

    def forward(self, x, residual=None):
        u = self.bn(x)
        return self.act(u if residual is None else u + residual)


def contenders(shape, layout, activation, residual, dtype, compiled):
    """Training steps to time, after a check that they compute the same; and what each keeps."""
    torch.manual_seed(0)
    x, grad, z = (torch.randn(shape).to(dtype, memory_format=FORMATS[layout]) for _ in range(3))
    inputs = [x.requires_grad_()] + ([z.requires_grad_()] if residual else [])
    eager = Eager(shape[1], activation)
    modules = {"sightline": BatchNormAct2d(shape[1], activation=activation), "eager": eager}
    if compiled:
        torch._dynamo.reset()
        modules["compiled"] = torch.compile(Eager(shape[1], activation))

    def step(module):
        wanted = (*inputs, *module.parameters())
        return torch.autograd.grad(module(*inputs), wanted, grad)

    kept = {name: kept_bytes(module, inputs) for name, module in modules.items()}
    truth = [eager(*inputs), *step(eager)]
    room = 1e-3 if dtype == torch.float32 else 6e-2
    for name, module in modules.items():
        for ours, theirs in zip([module(*inputs), *step(module)], truth, strict=True):
            scale = theirs.abs().max().item()
            torch.testing.assert_close(ours, theirs, rtol=0, atol=room * scale, msg=name)
    return {name: lambda m=module: step(m) for name, module in modules.items()}, kept


def kept_bytes(module, inputs) -> int:
    """Bytes that autograd keeps from a forward pass, each storage once."""
    storages = {}

    def pack(t):
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module(*inputs)
    return sum(storages.values())


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of the best of a few copies past the caches."""
    arrays = []
    for _ in range(2):
        memory = np.empty((128 << 20) + 64, np.uint8)
        start = -memory.ctypes.data % 64
        arrays.append(memory[start : start + (128 << 20)].view(np.float32))
        arrays[-1][:] = 1  # pages are there before the clock runs
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        _numpy.copy_memory(*arrays, True)
        best = min(best, time.perf_counter() - start)
    return 2 * arrays[0].nbytes / best


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("shape", [(16, 64, 56, 56), (16, 512, 28, 28)])
@pytest.mark.parametrize("contender", ["sightline", "eager"])
def test_training_step(benchmark, contender, shape, layout, threads):
    torch.set_num_threads(threads)
    benchmark.group = f"BN + ReLU step {shape} {layout}, {threads} threads"
    benchmark.extra_info["bytes"] = PASSES[False] * 4 * torch.Size(shape).numel()
    steps, _ = contenders(shape, layout, "relu", False, torch.float32, False)
    benchmark(steps[contender])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layout", choices=FORMATS, nargs="+", default=list(FORMATS))
    parser.add_argument("--activation", choices=("relu", "silu"), nargs="+", default=["relu"])
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--shapes", choices=("resnet50", "neck"), nargs="+", default=["resnet50"])
    parser.add_argument("--residual", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="torch.compile, too")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--limit", type=int, default=0, help="only so many shapes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    _numpy.set_num_threads(args.threads)
    dtype = DTYPES[args.dtype]
    sides = [s for name in args.shapes for s in {"resnet50": RESNET50, "neck": NECK}[name]]
    if args.limit:
        sides = sides[: args.limit]
    copy = copy_bandwidth()
    print(
        f"training steps, {args.dtype}, {args.threads} threads, {_numpy.isa()}, torch "
        f"{torch.__version__}; copy {copy / 1e9:.1f} GB/s; median of {args.repeats} (spread)"
    )
    for activation in args.activation:
        for layout in args.layout:
            for batch in args.batch:
                for shape in ((batch, *s) for s in sides):
                    show(shape, layout, activation, args, dtype, copy)
    print(f"copy afterwards {copy_bandwidth() / 1e9:.1f} GB/s")


def show(shape, layout, activation, args, dtype, copy) -> None:
    steps, kept = contenders(shape, layout, activation, args.residual, dtype, args.compiled)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    least = PASSES[args.residual] * torch.Size(shape).numel() * dtype.itemsize
    what = f"bn{' + add' * args.residual} + {activation}"
    print(f"{what} {'x'.join(map(str, shape))} {layout}: {least / 1e6:.1f} MB at least")
    eager = statistics.median(times["eager"][1:])
    for name, values in times.items():
        middle = statistics.median(values[1:])
        print(
            f"  {name:10}{1e3 * middle:8.2f} ms ({1e3 * min(values[1:]):.2f} to "
            f"{1e3 * max(values[1:]):.2f})  {least / middle / 1e9:5.1f} GB/s  "
            f"{least / middle / copy:5.0%} of copy  {eager / middle:5.2f} x eager  "
            f"keeps {kept[name] / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
