"""A training step of ResNet-50, its batch norms as they are and converted."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.models import convert_batch_norm

from ..silent import silent
from ..text import held_to, timed
from ..threads import sampler, threads_of
from ..timing import Times, take_turns
from .plain_resnet import resnet50
from .work import LAYOUTS

PLAIN, CONVERTED = "torch", "converted"
_SIZE = 224  # pixels
# What the conversion is about, as the profiler names it. Adds are of residuals and of gradients.
_COUNTED = ("batch_norm", "BatchNorm", "relu", "clamp_min", "threshold_backward", "aten::add")
_PROFILED = 3  # steps, of which the least counts
# Of the norm of a parameter's gradient. Rounding chooses on which side of the kink some elements of
# 49 ReLUs lie: from float64, torch's gradients were up to .054 off (channels-last), ours .020.
_ROOM = 0.15


@dataclass(frozen=True)
class Step:
    batch: int = 4
    layout: str = "contiguous"

    @property
    def name(self) -> str:
        return f"resnet50 step of {self.batch} images {self.layout}"


@dataclass(frozen=True)
class Outcome:
    """Times of the steps, and of each the seconds of batch norm, add and activation."""

    step: Step
    times: dict[str, Times]
    norms: dict[str, float]

    @property
    def gain(self) -> float:
        return self.times[PLAIN].median / self.times[CONVERTED].median

    def share(self, name: str) -> float:
        return self.norms[name] / self.times[name].median

    @property
    def allowed(self) -> float:
        """The gain of a step of which nothing else changes."""
        saved = self.norms[PLAIN] - self.norms[CONVERTED]
        return self.times[PLAIN].median / (self.times[PLAIN].median - saved)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.step.name,
            **vars(self.step),
            "times": {name: times.as_json() for name, times in self.times.items()},
            "seconds of batch norm, add and relu": self.norms,
            "shares": {name: self.share(name) for name in self.norms},
            "gain": self.gain,
            "gain that the share allows": self.allowed,
        }


def block(outcome: Outcome) -> str:
    lines = [outcome.step.name]
    for name, times in outcome.times.items():
        took = f"{outcome.norms[name]:.3g} s ({outcome.share(name):.0%})"
        lines.append(f"  {name:<24}{timed(times):>15} | batch norm, add and relu {took}")
    lines.append(held_to(outcome.gain, 1, "times as fast as torch"))
    lines.append(f"  what batch norm, add and relu save allows {outcome.allowed:.3g}")
    return "\n".join(lines)


def run(
    steps: Sequence[Step], *, device: str = "cpu", threads: int = 1, seconds: float = 1.0
) -> Iterator[Outcome]:
    """An outcome for each step.

    Raises:
        ValueError: the converted network has another loss or other gradients.
    """
    with threads_of(threads):
        for step in steps:
            programs = _programs(step, device)
            norms = {name: _seconds_of_norms(program) for name, program in programs.items()}
            samples = {name: sampler(program, device) for name, program in programs.items()}
            yield Outcome(step, take_turns(samples, seconds=seconds), norms)


def _programs(step: Step, device: str) -> dict[str, Callable[[], Tensor]]:
    """The two steps, after a check that they give the same loss and gradients."""
    torch.manual_seed(0)
    layout = LAYOUTS[step.layout]
    plain: Any = resnet50()
    plain = plain.to(device, memory_format=layout)
    images = torch.randn(step.batch, 3, _SIZE, _SIZE).to(device, memory_format=layout)
    labels = torch.arange(step.batch, device=device)
    models = {PLAIN: plain, CONVERTED: convert_batch_norm(copy.deepcopy(plain))[0]}

    def program(model: nn.Module) -> Callable[[], Tensor]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def train() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return train

    programs = {name: program(model) for name, model in models.items()}
    results = [
        [programs[name](), *(p.grad for p in model.parameters() if p.grad is not None)]
        for name, model in models.items()
    ]
    for i, (theirs, ours) in enumerate(zip(*results, strict=True)):
        if not (theirs - ours).norm() <= _ROOM * theirs.norm():
            what = f"the gradient of parameter {i - 1}" if i else "the loss"
            raise ValueError(f"{step.name}: converted, {what} is another one")
    return programs


def _seconds_of_norms(program: Callable[[], object]) -> float:
    found = []
    for _ in range(_PROFILED):
        with silent(2), torch.profiler.profile() as profile:
            program()
        counted = [
            event
            for event in profile.key_averages()
            if event.device_type == torch.autograd.DeviceType.CPU
            and any(word in event.key for word in _COUNTED)
        ]
        on_cuda = any(event.self_device_time_total for event in counted)
        time = "self_device_time_total" if on_cuda else "self_cpu_time_total"
        found.append(sum(getattr(event, time) for event in counted) / 1e6)
    return min(found)
