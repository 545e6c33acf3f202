import copy
import pickle

import pytest
import torch
from torch import nn

from sightline.models import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNormAct2d,
    SyncBatchNormAct,
    convert_batch_norm,
)


def torch_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4, momentum=None)),
        nn.BatchNorm2d(4, affine=False),
        nn.LeakyReLU(0.2),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.SiLU(),
    )


def test_converted_model_gives_the_same_outputs_gradients_and_buffers():
    theirs = torch_model()
    ours, _ = convert_batch_norm(copy.deepcopy(theirs))
    norms = [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.activation for m in norms] == ["relu", None, "leaky_relu", "silu"]
    assert all(type(m) is BatchNormAct2d for m in norms) and norms[2].negative_slope == 0.2
    for training in (True, True, False):
        theirs.train(training), ours.train(training)
        x = torch.randn(4, 3, 9, 9)
        a, b = theirs(x), ours(x)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        theirs.zero_grad(), ours.zero_grad()
        (a**2).sum().backward(), (b**2).sum().backward()
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-3)
        assert theirs.state_dict().keys() == ours.state_dict().keys()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(value, ours.state_dict()[name], msg=name)


def test_state_dict_is_that_of_torch_in_both_directions():
    theirs, ours = nn.BatchNorm2d(5), BatchNormAct2d(5)
    theirs(torch.randn(2, 5, 3, 3) + 4)
    ours.load_state_dict(theirs.state_dict())
    assert ours.num_batches_tracked == 1 and torch.equal(ours.running_mean, theirs.running_mean)
    nn.BatchNorm2d(5).load_state_dict(ours.state_dict())


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu"])
def test_module_is_norm_then_residual_then_activation(activation):
    ours, theirs = BatchNormAct2d(3, activation=activation, negative_slope=0.3), nn.BatchNorm2d(3)
    after = {
        None: nn.Identity(),
        "relu": nn.ReLU(),
        "leaky_relu": nn.LeakyReLU(0.3),
        "silu": nn.SiLU(),
    }[activation]
    x, residual = torch.randn(2, 4, 3, 5, 5)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        torch.testing.assert_close(ours(x, residual), after(theirs(x) + residual))
        torch.testing.assert_close(ours(x), after(theirs(x)))


@pytest.mark.parametrize(
    "settings", [{"affine": False}, {"track_running_stats": False}, {"momentum": None}]
)
def test_settings_mean_what_they_mean_in_torch(settings):
    ours, theirs = BatchNormAct2d(3, activation=None, **settings), nn.BatchNorm2d(3, **settings)
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        x = torch.randn(4, 3, 2, 2)
        torch.testing.assert_close(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_running_statistics_can_be_switched_off_later():
    ours, theirs = BatchNormAct2d(3, activation=None), nn.BatchNorm2d(3)
    ours.track_running_stats = theirs.track_running_stats = False
    x = torch.randn(4, 3, 2, 2)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.num_batches_tracked == 0 and ours.running_mean.eq(0).all()


def test_module_survives_copies_and_pickle():
    module = BatchNormAct2d(3, activation="leaky_relu", negative_slope=0.2)
    module(torch.randn(2, 3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.eval()(x), module.eval()(x))
    assert "activation='leaky_relu', negative_slope=0.2" in repr(module)


@pytest.mark.parametrize("kind", [BatchNormAct2d, SyncBatchNormAct, FrozenBatchNormAct2d])
def test_wrong_settings_are_refused_at_construction(kind):
    with pytest.raises(ValueError, match=r"`activation` must be one of None, .* got 'gelu'"):
        kind(4, activation="gelu")
    if kind is BatchNormAct2d:
        with pytest.raises(ValueError, match="`save` must be one of 'input', 'output', got 'x'"):
            kind(4, save="x")


def test_module_refuses_other_than_four_dimensions():
    with pytest.raises(ValueError, match="expected 4D input"):
        BatchNormAct2d(3)(torch.zeros(2, 3))


@pytest.mark.parametrize("training", [True, False])
def test_module_compiles_into_one_graph(training):
    module = BatchNormAct2d(3, activation="silu").train(training)
    twin = copy.deepcopy(module)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, 4, 4).to(memory_format=layout).requires_grad_()
        results = []
        for m in (twin, compiled):
            y = m(x, x.detach().square())
            results.append((y, *torch.autograd.grad(y.sin().sum(), (x, *m.parameters()))))
        for a, b in zip(*results, strict=True):
            assert torch.equal(a, b)
    assert torch.equal(module.running_var, twin.running_var)
    assert module.num_batches_tracked == 2 * training


def test_autocast_keeps_half_activations_and_float32_statistics():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.Conv2d(4, 2, 1))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(torch.randn(2, 3, 8, 8))
    assert y.dtype == torch.bfloat16 and model[1].running_mean.dtype == torch.float32
    y.float().square().sum().backward()
    assert model[1].weight.grad.dtype == torch.float32


def test_conversion_keeps_objects_and_settings():
    model = torch_model().double().eval()
    model[1].weight.requires_grad_(False)
    norm = model[1]
    new = convert_batch_norm(model)[0][1]
    assert new.weight is norm.weight and new.bias is norm.bias
    assert new.running_var is norm.running_var
    assert not new.training and not new.weight.requires_grad
    assert new.weight.dtype == torch.float64 and new.eps == norm.eps
    assert not model[2].training


def test_conversion_of_what_is_no_plain_pair():
    shared = nn.BatchNorm2d(3)
    hooked = nn.BatchNorm2d(3)
    hooked.register_forward_hook(lambda *_: None)

    class Own(nn.BatchNorm2d):
        pass

    class Backwards(nn.Sequential):
        def forward(self, x):
            return self[0](self[1](x))

    watched = nn.ReLU()
    watched.register_forward_hook(lambda *_: None)
    model = nn.Sequential(
        nn.Sequential(shared, nn.ReLU()),
        nn.Sequential(shared),
        nn.Sequential(hooked, nn.ReLU()),
        nn.Sequential(Own(3), nn.ReLU()),
        Backwards(nn.BatchNorm2d(3), nn.ReLU()),
        nn.Sequential(nn.BatchNorm2d(3), watched),
        nn.Sequential(nn.BatchNorm2d(3), nn.ReLU6()),
    ).eval()
    x = torch.randn(2, 3, 4, 4)
    expected = model(x)
    convert_batch_norm(model)
    assert model[0][0] is model[1][0] and model[0][0].activation is None
    assert model[2][0] is hooked and type(model[3][0]) is Own
    assert [model[k][0].activation for k in (4, 5, 6)] == [None] * 3
    assert [type(model[k][1]) for k in (4, 5, 6)] == [nn.ReLU, nn.ReLU, nn.ReLU6]
    torch.testing.assert_close(model(x), expected)
    assert type(convert_batch_norm(nn.BatchNorm2d(3))[0]) is BatchNormAct2d


def test_conversion_twice_changes_nothing_more():
    model, _ = convert_batch_norm(torch_model())
    before = [(name, type(m)) for name, m in model.named_modules()]
    convert_batch_norm(model)
    assert before == [(name, type(m)) for name, m in model.named_modules()]


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (BatchNormAct1d, nn.BatchNorm1d, (6, 3)),
        (BatchNormAct1d, nn.BatchNorm1d, (6, 3, 7)),
        (BatchNormAct3d, nn.BatchNorm3d, (4, 3, 2, 5, 3)),
    ],
)
def test_other_dimensions(ours, theirs, shape):
    a, b = ours(3, activation="silu"), theirs(3)
    assert isinstance(a, theirs)
    for training in (True, False):
        a.train(training), b.train(training)
        x = torch.randn(shape)
        torch.testing.assert_close(a(x), nn.functional.silu(b(x)))
    for name, value in b.state_dict().items():
        torch.testing.assert_close(a.state_dict()[name], value)
    with pytest.raises(ValueError, match="expected"):
        a(torch.zeros(3))


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu"])
@pytest.mark.parametrize("with_residual", [False, True])
def test_frozen_module_is_batch_norm_in_evaluation(activation, with_residual):
    torch.manual_seed(0)
    norm = BatchNormAct2d(3, activation=activation)
    norm(torch.randn(4, 3, 5, 5) + 2)
    with torch.no_grad():
        norm.weight.uniform_(-1, 1), norm.bias.uniform_(-1, 1)
    frozen = FrozenBatchNormAct2d(3, activation=activation)
    frozen.load_state_dict(norm.state_dict())
    assert not list(frozen.parameters())
    x, residual = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    inputs = (x, residual) if with_residual else (x,)
    results = []
    for module in (norm.eval(), frozen.train()):
        y = module(*inputs)
        results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_ghost_batches_have_statistics_of_their_own():
    ghost, plain = BatchNormAct2d(3, ghost_batches=2), BatchNormAct2d(3)
    x, residual = torch.randn(2, 6, 3, 4, 4)
    y = ghost(x, residual)
    expected = torch.cat([plain(x[:3], residual[:3]), plain(x[3:], residual[3:])])
    assert torch.equal(y, expected)
    assert torch.equal(ghost.running_var, plain.running_var) and ghost.num_batches_tracked == 2
    assert torch.equal(ghost.eval()(x), plain.eval()(x))
    with pytest.raises(ValueError, match="multiple of ghost_batches=2 samples, got 5"):
        ghost.train()(x[:5])
    with pytest.raises(ValueError, match="`ghost_batches` must be >= 1"):
        BatchNormAct2d(3, ghost_batches=0)


def test_module_that_keeps_its_output():
    torch.manual_seed(0)
    settings = {"activation": "leaky_relu", "negative_slope": 0.1}
    ours, theirs = BatchNormAct2d(3, save="output", **settings), BatchNormAct2d(3, **settings)
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    found = []
    for module in (ours, theirs):
        y = module(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, *module.parameters()))))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
