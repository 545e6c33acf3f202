"""Guarantees of batch norm on a GPU: capture in a graph, and the same result in every run."""

import copy
import itertools

import pytest
import torch

from sightline import models, ops
from tests.ops.batch_norm_cases import LAYOUTS, TOLERANCE, assert_near

# Batch, channels, height, width: columns that one block takes, that many take, that no cache holds.
LARGE = ((32, 512, 7, 7), (16, 256, 14, 14), (16, 64, 112, 112), (64, 256, 56, 56))


def inputs(cuda, shape, dtype, layout, seed=0):
    generator = torch.Generator(cuda).manual_seed(seed)
    x, grad = (torch.randn(shape, device=cuda, generator=generator).to(dtype) for _ in range(2))
    if layout == "channels_last":
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    return (x + 1).requires_grad_(), grad


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_steps_are_captured_in_a_graph(cuda, layout):
    for shape, momentum in itertools.product(((8, 128, 7, 7), (16, 64, 56, 56)), (None, 0.1)):
        torch.manual_seed(0)
        captured = models.BatchNormAct2d(shape[1], momentum=momentum, activation="silu").to(cuda)
        eager = copy.deepcopy(captured)
        x, grad = inputs(cuda, shape, torch.float16, layout)

        def step(model, x=x, grad=grad):
            return torch.autograd.grad(model(x), [x, *model.parameters()], grad)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step(captured)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = step(captured)
        step(eager)
        for seed in (1, 2, 3):
            other, _ = inputs(cuda, shape, torch.float16, layout, seed)
            with torch.no_grad():
                x.copy_(other)
            graph.replay()
            for a, b in zip(found, step(eager), strict=True):
                assert torch.equal(a, b), f"{shape} {momentum}"
            for a, b in zip(captured.buffers(), eager.buffers(), strict=True):
                assert torch.equal(a, b), f"{shape} {momentum}"
        assert captured.num_batches_tracked.item() == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_tensors_are_right_and_the_same_in_every_run_and_beside_other_work(
    cuda, layout, dtype
):
    for shape in LARGE:
        x, grad = inputs(cuda, shape, dtype, layout)
        weight, bias = (torch.rand(shape[1], device=cuda, requires_grad=True) for _ in range(2))

        def run(x=x, grad=grad, weight=weight, bias=bias):
            y = ops.batch_norm_act(x, weight, bias, None, None, activation="relu", training=True)
            return y, *torch.autograd.grad(y, [x, weight, bias], grad)

        results = [run() for _ in range(3)]
        streams = [torch.cuda.Stream() for _ in range(3)]  # their blocks share multiprocessors
        torch.cuda.synchronize()
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(run())
        torch.cuda.synchronize()
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert torch.equal(a, b), shape
        part = slice(0, 8)  # channels, for a reference that fits
        wide = x[:, part].detach().double().requires_grad_()
        parameters = [t[part].detach().double().requires_grad_() for t in (weight, bias)]
        u = torch.nn.functional.batch_norm(wide, None, None, *parameters, training=True)
        kink = (u.abs() < 1e-2).detach()  # may fall to either side
        y = u.relu()
        expected = torch.autograd.grad(y, [wide, *parameters], grad[:, part].double())
        assert_near(results[0][0][:, part].cpu(), y.detach().cpu(), dtype, f"{shape}")
        got = results[0][1][:, part].double().masked_fill(kink, 0)
        wanted = expected[0].masked_fill(kink, 0)
        room = 3 * TOLERANCE[dtype] * wanted.abs().max().item()
        assert (got - wanted).abs().max().item() <= room, shape
