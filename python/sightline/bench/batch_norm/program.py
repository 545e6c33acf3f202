"""A contender with the tensors of a benchmark, and the check that all contenders agree."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .benchmark import DTYPES, LAYOUTS, LayerBenchmark

# Relative to the largest element. torch sums channels-last in float32, with an error of 7e-5 at
# 32x64x112x112, and rounds to the storage type between its operations.
_ROOM = {"float32": 5e-4, "float16": 4e-3, "bfloat16": 3e-2}
# Within this distance of the kink, rounding decides whether a gradient passes.
_NEAR_KINK = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


class Tensors:
    """x, a residual if there is one, the gradient of the result, parameters and statistics."""

    def __init__(self, layer: LayerBenchmark, device: str) -> None:
        generator = torch.Generator(device).manual_seed(0)
        drawn: Any = {"generator": generator, "device": device}
        dtype, layout = DTYPES[layer.dtype], LAYOUTS[layer.layout]
        channels = layer.shape[1]
        self.state = {
            "weight": 0.5 + torch.rand(channels, **drawn),
            "bias": 0.2 * torch.randn(channels, **drawn),
            "running_mean": 0.1 * torch.randn(channels, **drawn),
            "running_var": 0.5 + torch.rand(channels, **drawn),
        }
        *inputs, grad = (
            torch.randn(layer.shape, **drawn).to(dtype, memory_format=layout)
            for _ in range(3 if layer.residual else 2)
        )
        if layer.kinked:
            grad[self._preactivation(layer, inputs).abs() < _NEAR_KINK[layer.dtype]] = 0
        self.inputs = [t.requires_grad_(layer.program != "evaluation") for t in inputs]
        self.grad = grad

    def _preactivation(self, layer: LayerBenchmark, inputs: list[Tensor]) -> Tensor:
        mean, var = self.state["running_mean"].clone(), self.state["running_var"].clone()
        weight, bias = self.state["weight"], self.state["bias"]
        found = F.batch_norm(inputs[0].float(), mean, var, weight, bias, layer.program == "step")
        return found + inputs[1] if layer.residual else found


class Program:
    """Calling it runs the layer once; the results are the output and the gradients."""

    def __init__(self, layer: LayerBenchmark, module: nn.Module, tensors: Tensors) -> None:
        self.layer, self.inputs, self.grad = layer, tensors.inputs, tensors.grad
        self.module = module.to(self.grad.device)
        self.running: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, own in (*module.named_parameters(), *module.named_buffers()):
                last = name.rpartition(".")[2]
                if last in tensors.state:
                    own.copy_(tensors.state[last])
                if last.startswith("running_"):
                    self.running[last] = own
        if layer.program in ("evaluation", "frozen"):
            module.eval()
        if layer.program == "frozen":
            module.requires_grad_(False)
        self.wanted = [t for t in (*self.inputs, *module.parameters()) if t.requires_grad]

    def forward(self) -> Tensor:
        return self.module(*self.inputs)

    def __call__(self) -> list[Tensor]:
        if self.layer.program == "evaluation":
            with torch.no_grad():
                return [self.forward()]
        y = self.forward()
        if not self.layer.has_backward:
            return [y]
        return [y, *torch.autograd.grad(y, self.wanted, self.grad)]

    def first(self) -> dict[str, Tensor]:
        """Run once, and return all results by name, with the running statistics after it."""
        names = ["output"]
        if self.layer.has_backward:
            found = ("x", "residual") if self.layer.residual else ("x",)
            parameters = () if self.layer.program == "frozen" else ("weight", "bias")
            names += [f"gradient of {name}" for name in (*found, *parameters)]
        return dict(zip(names, self(), strict=True)) | self.running


def check_same(
    layer: LayerBenchmark, name: str, found: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    """Raise ValueError if a contender computes something else, which would not be worth timing."""
    for key, theirs in expected.items():
        ours = found[key]
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise ValueError(
                f"{layer.name}: {key} of {name} is {ours.dtype} {list(ours.shape)}, "
                f"of eager torch {theirs.dtype} {list(theirs.shape)}"
            )
        largest = theirs.detach().abs().max().item()
        apart = (ours.detach().float() - theirs.detach().float()).abs().max().item()
        if not apart <= _ROOM[layer.dtype] * largest:  # so that NaN fails, too
            raise ValueError(
                f"{layer.name}: {key} of {name} is not eager torch's: off by {apart:.3g} where the "
                f"largest is {largest:.3g}"
            )
