"""Synchronised batch norm: several gloo processes are one process with the whole batch.

The processes run every case in one start and save what they got; the tests compare.
"""

import copy
import itertools

import pytest
import torch
from torch import distributed as dist
from torch import nn

from sightline.models import (
    BatchNormAct1d,
    BatchNormAct2d,
    SyncBatchNormAct,
    convert_batch_norm,
    convert_sync_batch_norm,
    fold_batch_norm,
)

from ...fresh import context

C = 3
SIZES = ((2, 3, 1), (4, 0, 2), (0, 0, 5), (1, 1, 0))  # samples of each rank
ACTIVATIONS = (None, "relu", "leaky_relu", "silu")
CASES = [
    (sizes, activation, residual, tail, dtype)
    for (sizes, activation), residual, (tail, dtype) in itertools.product(
        itertools.product(SIZES, ACTIVATIONS),
        (False, True),
        (((4, 5), torch.float64), ((), torch.float64), ((2, 3, 2), torch.float32)),
    )
]
CASES += [((0, 0, 0), "relu", True, (2,), torch.float64)]
CASES += [((1, 0, 0), "relu", True, (), torch.float64)]  # one value per channel
STEPS = 2
DIFFERENTIABLE = [case for case in CASES[:-2] if case[-1] == torch.float64]


def module(activation, dtype, momentum=0.1):
    norm = SyncBatchNormAct(
        C, momentum=momentum, dtype=dtype, activation=activation, negative_slope=0.2
    )
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -1.2, 2.0])), norm.bias.copy_(torch.arange(C) / 4)
    return norm


def inputs(case, step):
    sizes, _, _, tail, dtype = case
    generator = torch.Generator().manual_seed(100 * step + len(tail))
    shape = (sum(sizes), C, *tail)
    x, residual, grad = (torch.randn(shape, dtype=dtype, generator=generator) for _ in range(3))
    return x + 10, residual, grad


def run(case, part):
    """Outputs, gradients and buffers of the samples `part` of the batch, after some steps."""
    _, activation, has_residual, _, dtype = case
    norm = module(activation, dtype, momentum=None if activation == "silu" else 0.3)
    found = []
    for step in range(STEPS):
        x, residual, grad = (t[part].clone().requires_grad_() for t in inputs(case, step))
        y = norm(x, residual if has_residual else None)
        norm.zero_grad()
        y.backward(grad.detach())
        given = [x.grad, *([residual.grad] if has_residual else [])]
        found.append(([y.detach(), *given], [norm.weight.grad, norm.bias.grad]))
    return found, [t.clone() for t in norm.buffers()]


def run_orders(case, part):
    """Derivatives of three orders by the samples `part` of the batch, and by the parameters."""
    _, activation, has_residual, _, dtype = case
    norm = module(activation, dtype)
    x, residual, grad = (t[part].clone().requires_grad_() for t in inputs(case, 0))
    by_sample = [x, residual] if has_residual else [x]
    y = norm(*by_sample)
    found, value = [], (y.pow(3) * grad).sum()
    for order in range(3):
        wanted = [*by_sample, norm.weight, norm.bias]
        grads = torch.autograd.grad(value, wanted, create_graph=order < 2)
        found.append([g.detach() for g in grads])
        value = sum(g.square().sum() for g in grads[: len(by_sample)])
    return found


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(C, C, 3), nn.BatchNorm2d(C), nn.ReLU()

    def forward(self, x):
        return self.relu(self.bn(self.conv(x))).mean((1, 2, 3))


def net_and_batch():
    torch.manual_seed(0)
    net = convert_sync_batch_norm(convert_batch_norm(Net().double())[0])[0]
    return net, torch.randn(6, C, 5, 5, dtype=torch.float64)


def count_collectives(function):
    calls = []

    def counted(collective):
        return lambda *args, **kwargs: (
            calls.append(collective.__name__) or collective(*args, **kwargs)
        )

    for name in ("all_gather_into_tensor", "all_gather", "all_reduce", "broadcast", "barrier"):
        setattr(dist, name, counted(getattr(dist, name)))
    function()
    return calls


def part_of(sizes, rank):
    return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(SIZES[0])
    )
    results = [run(case, part_of(case[0], rank)) for case in CASES]
    net, batch = net_and_batch()
    wrapped = nn.parallel.DistributedDataParallel(net)
    wrapped(batch[2 * rank : 2 * rank + 2]).mean().backward()
    # One process alone in evaluation waits for nobody.
    alone = module("relu", torch.float64).eval()(batch) if rank == 0 else None
    orders = [run_orders(case, part_of(case[0], rank)) for case in DIFFERENTIABLE]
    calls = count_collectives(lambda: run(CASES[0], part_of(CASES[0][0], rank)))
    grads = [p.grad for p in net.parameters()]
    torch.save((results, grads, alone, calls, orders), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    running = [context.Process(target=work, args=(rank, folder)) for rank in range(len(SIZES[0]))]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
        process.kill()
        process.join()
    assert [process.exitcode for process in running] == [0] * len(running)
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(running))]


def whole(case):
    """What one process gets of the whole batch."""
    found, buffers = run(case, slice(None))
    return found, buffers


@pytest.mark.parametrize("k", range(len(CASES) - 2))
def test_processes_are_one_with_the_whole_batch(ranks, k):
    case = CASES[k]
    close = (
        {"rtol": 1e-9, "atol": 1e-9} if case[-1] == torch.float64 else {"rtol": 3e-5, "atol": 3e-5}
    )
    steps, buffers = whole(case)
    parts = [results[k] for results, *_ in ranks]
    for step, (by_sample, of_parameters) in enumerate(steps):
        for i, expected in enumerate(by_sample):
            got = torch.cat([found[step][0][i] for found, _ in parts])
            torch.testing.assert_close(got, expected, **close)
        for i, expected in enumerate(of_parameters):
            got = sum(found[step][1][i] for found, _ in parts)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    for _, got in parts:
        for a, b, first in zip(got, buffers, parts[0][1], strict=True):
            torch.testing.assert_close(a, b, **close)
            assert torch.equal(a, first)  # the same bits on every rank


@pytest.mark.parametrize("k", range(len(DIFFERENTIABLE)))
def test_derivatives_of_every_order_are_those_of_the_whole_batch(ranks, k):
    whole_batch = run_orders(DIFFERENTIABLE[k], slice(None))
    samples = 2 if DIFFERENTIABLE[k][2] else 1
    for order, expected in enumerate(whole_batch):
        for i, b in enumerate(expected):
            parts = [orders[k][order][i] for *_, orders in ranks]
            a = torch.cat(parts) if i < samples else sum(parts)
            scale = max(b.abs().max().item(), 1)
            torch.testing.assert_close(a, b, rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("k", [-2, -1])
def test_fewer_than_two_values_leave_the_running_statistics(ranks, k):
    for results, *_ in ranks:
        steps, (mean, var, count) = results[k]
        assert mean.eq(0).all() and var.eq(1).all() and count == 0
        for by_sample, of_parameters in steps:
            assert all(t.isfinite().all() for t in (*by_sample, *of_parameters))
    if k == -1:  # x - mean is 0
        y = ranks[0][0][k][0][0][0][0]
        _, residual, _ = inputs(CASES[k], 0)
        torch.testing.assert_close(y, (residual + torch.arange(C) / 4).relu())


def test_model_under_ddp_has_the_gradients_of_the_whole_batch(ranks):
    net, batch = net_and_batch()
    net(batch).mean().backward()
    for _, grads, *_ in ranks:
        for a, p in zip(grads, net.parameters(), strict=True):
            torch.testing.assert_close(a, p.grad, rtol=1e-9, atol=1e-12)


def test_a_step_takes_one_collective_forward_and_one_backward(ranks):
    for *_, calls, _ in ranks:
        assert calls == ["all_gather_into_tensor", "all_reduce"] * STEPS


def test_evaluation_is_local(ranks):
    _, batch = net_and_batch()
    assert torch.equal(ranks[0][2], module("relu", torch.float64).eval()(batch))


def test_conversion_keeps_activations_objects_and_settings():
    theirs = nn.Sequential(
        nn.Conv2d(C, C, 1),
        BatchNormAct2d(C, activation="leaky_relu", negative_slope=0.3, momentum=None, eps=0.1),
        nn.BatchNorm2d(C),
        nn.SyncBatchNorm(C),
        BatchNormAct2d(C, ghost_batches=2),
    ).eval()
    ours, report = convert_sync_batch_norm(copy.deepcopy(theirs))
    assert [f.pattern for f in report.fused] == ["batch norm + leaky_relu", *["batch norm"] * 2]
    assert [entry.name for entry in report.left] == ["4"] and "ghost" in report.left[0].reason
    assert all(type(m) is SyncBatchNormAct for m in ours[1:4]) and not ours[1].training
    x = torch.randn(2, C, 4, 4)
    assert torch.equal(ours[:3](x), theirs[:3](x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert "activation='leaky_relu', negative_slope=0.3" in repr(ours[1])
    again, report = convert_sync_batch_norm(ours)
    assert again is ours and not report.fused


def test_conversion_of_a_single_norm_and_of_torch_sync_norms():
    assert type(convert_sync_batch_norm(BatchNormAct1d(C))[0]) is SyncBatchNormAct
    model, report = convert_batch_norm(nn.Sequential(nn.SyncBatchNorm(C), nn.ReLU()))
    assert report.fused[0].pattern == "batch norm + relu" and type(model[0]) is SyncBatchNormAct


def test_sync_norm_is_folded():
    model = nn.Sequential(nn.Conv2d(C, C, 1), SyncBatchNormAct(C, activation="silu")).eval()
    model[1].running_mean.uniform_(), model[1].running_var.uniform_(0.5, 1)
    folded, report = fold_batch_norm(model)
    x = torch.randn(2, C, 4, 4)
    assert report.fused
    torch.testing.assert_close(folded(x), model(x))


def test_one_process_is_the_plain_module():
    ours, theirs = SyncBatchNormAct(C), BatchNormAct2d(C)
    x = torch.randn(2, C, 4, 4)
    assert torch.equal(ours(x, x), theirs(x, x))
    assert torch.equal(ours.running_var, theirs.running_var)
    with pytest.raises(ValueError, match="`x` must have shape"):
        ours(torch.zeros(3))


def test_conversion_of_torch_refuses_to_drop_what_a_batch_norm_of_torch_does_not_do():
    refused = {
        "the activation 'relu'": BatchNormAct2d(C),
        "the activation 'silu'": SyncBatchNormAct(C, activation="silu"),
        "the 2 ghost batches": BatchNormAct2d(C, activation=None, ghost_batches=2),
    }
    for lost, norm in refused.items():
        said = rf"torch's convert_sync_batchnorm would drop {lost} .*convert_sync_batch_norm\("
        with pytest.raises(TypeError, match=said):
            nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, C, 1), norm))
        with pytest.raises(TypeError, match=said):
            nn.SyncBatchNorm.convert_sync_batchnorm(norm)


def test_conversion_of_torch_refuses_to_drop_an_addition():
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(C)

        def forward(self, x):
            return self.bn(x * 2) + x

    model, report = convert_batch_norm(Adds())
    assert [f.pattern for f in report.fused] == ["batch norm + add"]
    for given in (model, copy.deepcopy(model)):
        with pytest.raises(TypeError, match="would drop the residual add of a BatchNormAct2d"):
            nn.SyncBatchNorm.convert_sync_batchnorm(given)


def test_conversion_of_torch_takes_what_is_a_batch_norm_alone():
    norm = BatchNormAct2d(C, momentum=0.3, activation=None)
    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(norm))[0]
    assert type(theirs) is nn.SyncBatchNorm and theirs.weight is norm.weight
    assert (theirs.num_features, theirs.momentum) == (C, 0.3)
    x = torch.randn(4, C, 2, 2)
    torch.testing.assert_close(theirs.eval()(x), norm.eval()(x))


def test_number_of_features_is_read_and_set_as_of_any_batch_norm():
    norm = BatchNormAct2d(C)
    norm.num_features = 5
    assert norm.num_features == 5 and copy.deepcopy(norm).num_features == 5
    assert "num_features=" not in repr(norm) and repr(norm).startswith("BatchNormAct2d(5, eps")
