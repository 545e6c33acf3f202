"""Folding: each kind of layer, with what is known to go wrong elsewhere, and each refusal."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sightline.models import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNormAct2d,
    convert_batch_norm,
    convert_sync_batch_norm,
    fold_batch_norm,
)
from sightline.models.classifiers.resnet import resnet20
from sightline.nn.batch_norm.fold import AddAct

from .convert_cases import C, Lies, TimmLike

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def redraw(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "running_mean") and module.running_mean is not None:
            module.running_mean.uniform_(-1, 1, generator=generator)
            module.running_var.uniform_(0.1, 2, generator=generator)
            if module.weight is not None:
                module.weight.data.uniform_(-1.5, 1.5, generator=generator)
                module.bias.data.uniform_(-1, 1, generator=generator)
    return model.eval()


def assert_folded(model, x, number=1):
    before = copy.deepcopy(model)
    expected = model(x)
    folded, report = fold_batch_norm(model)
    assert len(report.fused) == number and not report.left, str(report)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    got = folded(x)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert str(model) == str(before)  # a copy was folded
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    return folded


@pytest.mark.parametrize("groups, out", [(1, 10), (2, 10), (6, 6), (6, 12)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_is_folded(dims, kind, bias, groups, out):
    torch.manual_seed(0)
    layer = getattr(nn, f"{kind}{dims}d")(6, out, 3, 2, 1, groups=groups, bias=bias)
    model = redraw(nn.Sequential(layer, NORMS[dims](out), nn.ReLU()))
    assert_folded(model, torch.randn(2, 6, *(7, 6, 5)[:dims]))


@pytest.mark.parametrize("settings", [{"padding_mode": "reflect"}, {"dilation": 2}])
def test_settings_of_the_convolution_do_not_matter(settings):
    model = redraw(nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, **settings), nn.BatchNorm2d(4)))
    assert_folded(model, torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_folded_for_two_dimensions(bias):
    model = redraw(nn.Sequential(nn.Linear(3, 5, bias=bias), nn.BatchNorm1d(5), nn.SiLU()))
    folded = assert_folded(model, torch.randn(4, 3))
    # Of [4, 5, 3] the norm would take the middle one for channels.
    with pytest.raises(ValueError, match="for inputs of 2 dimensions, got \\[4, 5, 5\\]"):
        folded(torch.randn(4, 5, 3))


@pytest.mark.parametrize("settings", [{"affine": False}, {"eps": 0.5}, {"momentum": None}])
def test_settings_of_the_norm_are_folded(settings):
    model = redraw(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **settings)))
    assert_folded(model, torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu"])
def test_activation_and_residual_of_a_fused_norm_stay(activation):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 4, 1), BatchNormAct2d(4, activation=activation)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), BatchNormAct2d(4, activation=activation)
            self.bn.negative_slope = 0.3

        def forward(self, x):
            return self.bn2(self.conv2(self.bn(self.conv(x))), x)

    folded = assert_folded(redraw(Block()), torch.randn(2, 4, 5, 5), 2)
    assert type(folded.bn) is AddAct and folded.bn.activation == activation


def test_other_fused_norms_are_folded():
    for layer, norm, shape in (
        (nn.Linear(3, 4), BatchNormAct1d(4), (5, 3)),
        (nn.Conv1d(3, 4, 1), BatchNormAct1d(4), (5, 3, 6)),
        (nn.Conv2d(3, 4, 1), FrozenBatchNormAct2d(4), (5, 3, 6, 6)),
        (nn.Conv3d(3, 4, 1), BatchNormAct3d(4), (5, 3, 6, 6, 2)),
    ):
        assert_folded(redraw(nn.Sequential(layer, norm)), torch.randn(shape))


def test_own_and_converted_networks_are_folded():
    torch.manual_seed(0)
    model = redraw(resnet20(width=4))
    x = torch.randn(2, 3, 16, 16)
    folded, report = fold_batch_norm(model)
    # The outermost forward checks its images, which a tracer's stand-ins do not pass.
    assert len(report.fused) == 18 and [entry.name for entry in report.left] == ["bn1"]
    assert (folded(x) - model(x)).abs().max() <= 1e-5 * model(x).abs().max()
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4), nn.ReLU())
    assert_folded(redraw(convert_batch_norm(plain)[0]), torch.randn(2, 3, 8, 8))


def test_float64_and_half_types_keep_their_dtype():
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.bfloat16, 2e-2)):
        model = redraw(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(dtype))
        x = torch.randn(2, 3, 6, 6, dtype=dtype)
        folded, _ = fold_batch_norm(model)
        assert folded[0].weight.dtype == folded[0].bias.dtype == dtype
        expected = model(x)
        assert (folded(x) - expected).abs().max() <= tolerance * expected.abs().max()


def test_folding_in_place_keeps_the_module_and_requires_grad():
    model = redraw(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    model[0].weight.requires_grad_(False)
    folded, _ = fold_batch_norm(model, inplace=True)
    assert folded is model and type(model[1]) is nn.Identity
    assert not model[0].weight.requires_grad and not model[0].bias.requires_grad


class Net(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.bn2, self.conv2, self.relu = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU()
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def other_use(s, x):
    y = s.conv(x)
    return s.bn(y) + y


REFUSALS = {
    "other use": (other_use, "layer before it is used 2 times"),
    "layer twice": (lambda s, x: s.bn(s.conv(x)) + s.conv(2 * x), "used in several places"),
    "norm twice": (lambda s, x: s.bn(s.conv(x)) + s.bn(s.conv2(x)), "used in several places"),
    "two norms": (lambda s, x: s.bn(s.conv(x)) + s.bn2(s.conv(x)), "used in several places"),
    "relu between": (lambda s, x: s.bn(s.relu(s.conv(x))), "ReLU comes before it"),
    "function between": (lambda s, x: s.bn(F.relu(s.conv(x))), "relu comes before it"),
    "before": (lambda s, x: s.conv(s.bn(x)), "nothing that its caller runs"),
    "branch": (lambda s, x: s.bn(s.conv(x)) if x.sum() > 0 else x, "cannot be traced"),
    "mode": (lambda s, x: s.bn(s.conv(x)) if s.training else s.bn(x), "whether it trains"),
    "keyword": (lambda s, x: s.bn(input=s.conv(x)), "keywords"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_folded_is_left_and_said_why(name):
    forward, reason = REFUSALS[name]
    model = redraw(Net(forward))
    x = torch.randn(2, 4, 5, 5)
    folded, report = fold_batch_norm(model)
    reasons = {entry.name: entry.reason for entry in report.left}
    assert reason in reasons["bn"] and not report.fused
    assert torch.equal(folded(x), model(x))


def _hooked(model):
    model[0].register_forward_hook(lambda *_: None)


def _weight_norm(model):
    nn.utils.parametrizations.weight_norm(model[0])


def _no_statistics(model):
    model[1] = nn.BatchNorm2d(4, track_running_stats=False).eval()


def _subclass(model):
    model[0].__class__ = type("Standardised", (nn.Conv2d,), {})


def _other_size(model):
    model[1] = nn.BatchNorm1d(4).eval()


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda m: m.train(), "it is in training mode: call model.eval()"),
        (lambda m: m[1].train(), "it is in training mode: call model.eval()"),
        (lambda m: m[0].train(), "the layer before it is in training mode: call model.eval()"),
        (_hooked, "hooks"),
        (_weight_norm, "ParametrizedConv2d comes before"),
        (_no_statistics, "no running statistics"),
        (_subclass, "Standardised comes before"),
        (_other_size, "does not fit Conv2d"),
    ],
)
def test_modules_that_are_special_are_left(change, reason):
    model = redraw(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    change(model)
    weight = model[0].weight.clone()
    folded, report = fold_batch_norm(model)
    assert reason in report.left[0].reason and torch.equal(folded[0].weight, weight)


def test_training_frozen_norm_is_folded():
    model = redraw(nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNormAct2d(4))).train()
    assert_folded(model, torch.randn(2, 3, 5, 5))


def test_tied_weights_are_untied():
    model = redraw(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)))
    model[2].weight = model[0].weight
    assert_folded(model, torch.randn(2, 4, 5, 5))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.conv, self.bn = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = F.relu(self.f(x) + x)
        return F.silu(self.bn(self.conv(y)) + y.mean((2, 3), keepdim=True))


def test_forward_that_conversion_rewrote_is_folded():
    plain = redraw(Residual())
    converted, report = convert_batch_norm(copy.deepcopy(plain))
    assert [f.pattern for f in report.fused] == [
        "batch norm + add + relu",
        "batch norm + add + silu",
    ]
    x = torch.randn(2, 4, 5, 5)
    folded = assert_folded(converted, x, 2)
    torch.testing.assert_close(folded(x), plain(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.3), nn.SiLU(), nn.Identity()])
def test_norm_with_its_own_activation_is_folded(act):
    model = redraw(nn.Sequential(nn.Conv2d(3, C, 1), TimmLike(C, act), nn.Conv2d(C, 2, 1)))
    assert_folded(model, torch.randn(2, 3, 5, 5))


def test_norm_that_does_more_than_its_own_activation_is_left():
    model = redraw(nn.Sequential(nn.Conv2d(3, C, 1), Lies(C, nn.ReLU())))
    folded, report = fold_batch_norm(model)
    assert report.left[0].reason == "it is a subclass, BatchNormAct2d with ReLU"
    assert str(folded) == str(model)


def test_report_says_folded():
    _, report = fold_batch_norm(redraw(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))))
    assert repr(report) == "ConversionReport(1 folded, 0 left)"
    assert str(report) == "batch norms: 1 folded, 0 left\n  folded  1: Conv2d + batch norm"


@pytest.mark.parametrize("function", [convert_batch_norm, convert_sync_batch_norm, fold_batch_norm])
def test_what_is_no_module_is_named(function):
    said = r"must be a torch\.nn\.Module, got str 'resnet18': sightline\.models\.create_model"
    with pytest.raises(TypeError, match=said):
        function("resnet18")
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got NoneType$"):
        function(None)
