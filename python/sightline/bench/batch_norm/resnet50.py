"""A training step of ResNet-50, with its batch norms as they are and converted."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.models import convert_batch_norm

from ..outcome import Benchmark, Outcome, times_as_json
from ..run import Contest
from ..silent import silent
from ..text import block, verdicts
from ..timing import sampler
from .benchmark import LAYOUTS
from .plain_resnet import resnet50

PLAIN, CONVERTED = "torch", "converted"
_SIZE = 224  # pixels
# Names in the profiler of what the conversion replaces. Adds are of residuals and of gradients.
_COUNTED = ("batch_norm", "BatchNorm", "relu", "clamp_min", "threshold_backward", "aten::add")
_PROFILED = 3  # steps, of which the fastest counts
# Relative to the norm of a parameter's gradient. Rounding decides on which side of the kink some
# elements of 49 ReLUs lie: torch differs from float64 by up to .054 (channels-last), ours by .020.
_ROOM = 0.15


@dataclass(frozen=True)
class StepBenchmark(Benchmark):
    """A training step on a batch of images."""

    batch: int = 4
    layout: str = "contiguous"

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"resnet50 step of {self.batch} images {self.layout}"

    def text(self, outcome: Outcome) -> str:
        def columns(name: str) -> list[str]:
            took = f"{outcome.parts[name]:.3g} s ({share_of_norms(outcome, name):.0%})"
            return [f"batch norm, add and relu {took}"]

        gain = f"  what batch norm, add and relu save allows {allowed_gain(outcome):.3g}"
        return block(outcome, self.name, columns, [*verdicts(outcome), gain])

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        return {
            **vars(self),
            "times": times_as_json(outcome.times),
            "seconds of batch norm, add and relu": outcome.parts,
            "shares": {name: share_of_norms(outcome, name) for name in outcome.parts},
            "gain": outcome.ratio(PLAIN),
            "gain that the share allows": allowed_gain(outcome),
        }


def share_of_norms(outcome: Outcome, name: str) -> float:
    return outcome.parts[name] / outcome.times[name].median


def allowed_gain(outcome: Outcome) -> float:
    """The gain if nothing else in the step changes."""
    plain = outcome.times[PLAIN].median
    return plain / (plain - (outcome.parts[PLAIN] - outcome.parts[CONVERTED]))


def prepare(
    step: StepBenchmark, stack: ExitStack, device: str, threads: int
) -> Contest[StepBenchmark]:
    programs = _programs(step, device)
    parts = {name: _seconds_of_norms(program) for name, program in programs.items()}
    outcome = Outcome(step, goals={PLAIN: 1}, own_name=CONVERTED, parts=parts)
    return Contest(outcome, {name: sampler(own, device) for name, own in programs.items()})


def _programs(step: StepBenchmark, device: str) -> dict[str, Callable[[], Tensor]]:
    """Both steps, after a check that loss and gradients agree."""
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
            raise ValueError(f"{step.name}: {what} differs after the conversion")
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
