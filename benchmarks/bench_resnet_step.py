"""A training step of ResNet-50 on the CPU, its batch norms as they are and converted.

`python benchmarks/bench_resnet_step.py` prints the medians of steps taken in turns, and how much of
either step is batch norm, add and activation, by the profiler. With pytest:
`pytest benchmarks/bench_resnet_step.py --benchmark-enable`.
"""

import argparse
import copy
import statistics
import time

import pytest
import torch
from torch import nn

from sightline.models import convert_batch_norm

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# What the conversion is about, as the profiler names it. Adds are of residuals and of gradients.
COUNTED = ("batch_norm", "BatchNorm", "relu", "clamp_min", "threshold_backward", "aten::add")


class Bottleneck(nn.Module):
    """As torchvision writes it: one ReLU for three places, and an add in place."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


def resnet50() -> nn.Sequential:
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
    layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for i, count in enumerate((3, 4, 6, 3)):
        width = 64 << i
        for k in range(count):
            layers.append(Bottleneck(channels, width, 2 if i > 0 and k == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def contenders(layout: str, batch: int, size: int):
    """The two steps, after a check that they give the same loss and gradients."""
    plain = resnet50().to(memory_format=FORMATS[layout])
    images = torch.randn(batch, 3, size, size).to(memory_format=FORMATS[layout])
    labels = torch.arange(batch)
    fused, report = convert_batch_norm(copy.deepcopy(plain))
    assert len(report.fused) == 49 and len(report.alone) == 4, str(report)

    def step_of(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def step():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

        return step

    steps = {"torch": step_of(plain), "converted": step_of(fused)}
    torch.testing.assert_close(steps["converted"](), steps["torch"](), rtol=1e-3, atol=1e-3)
    return steps


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("contender", ["torch", "converted"])
def test_resnet50_step(benchmark, contender, layout):
    benchmark.group = f"ResNet-50 step of 2 images, {layout}, one thread"
    benchmark(contenders(layout, 2, 224)[contender])


def seconds_of_norms(step) -> float:
    """What batch norms, activations and adds take of a step; the least of three."""
    found = []
    for _ in range(3):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
        counted = [e for e in profile.key_averages() if any(word in e.key for word in COUNTED)]
        found.append(sum(e.self_cpu_time_total for e in counted) / 1e6)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layout", choices=FORMATS, nargs="*", default=list(FORMATS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    # The processor's time of one thread leaves out what else the machine does.
    clock = time.process_time if given.threads == 1 else time.perf_counter
    print(f"ResNet-50 training step, {given.batch} x {given.size}^2, {given.threads} thread(s)")
    for layout in given.layout:
        steps = contenders(layout, given.batch, given.size)
        norms = [seconds_of_norms(step) for step in steps.values()]
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(given.repeats):
            for name, step in steps.items():
                start = clock()
                step()
                times[name].append(clock() - start)
        plain, fused = (statistics.median(t) for t in times.values())
        gains = [a / b for a, b in zip(*times.values(), strict=True)]
        print(
            f"  {layout}: torch {plain:.2f} s, converted {fused:.2f} s, {plain / fused:.2f} times "
            f"(pairs {min(gains):.2f} to {max(gains):.2f}); batch norm, add and ReLU take "
            f"{norms[0]:.3f} s of torch's step ({norms[0] / plain:.0%}), {norms[1]:.3f} s converted"
        )


if __name__ == "__main__":
    main()
