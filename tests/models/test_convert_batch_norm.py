"""Conversion: each pattern is fused, each trap is not, and numbers, names and modes stay."""

import copy
import io
import operator
import pickle
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sightline.models import (
    BatchNormAct2d,
    ConversionReport,
    FrozenBatchNormAct2d,
    convert_batch_norm,
    create_model,
    fold_batch_norm,
)
from sightline.models.resnet import resnet20

C = 4


def redraw(model):
    """Statistics and weights as after some training, of a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                if values is not None:
                    values.data.uniform_(0.2, 1.5, generator=generator)
    return model


def assert_same_training(theirs, ours, shape=(4, C, 6, 6), steps=3, tolerance=1e-9):
    """Outputs, gradients, buffers and weights over steps of SGD in float64, then evaluation."""
    theirs.double(), ours.double()
    assert list(theirs.state_dict()) == list(ours.state_dict())
    for step in range(steps + 1):
        training = step < steps
        theirs.train(training), ours.train(training)
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        results = []
        for model in (theirs, ours):
            model.zero_grad()
            given = x.clone().requires_grad_()
            torch.manual_seed(0)
            y = model(given * 1)
            (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
            grads = [given.grad, *(p.grad for p in model.parameters())]
            results.append((y.detach(), *grads, *model.state_dict().values()))
            with torch.no_grad():
                for p in model.parameters():
                    if p.grad is not None:
                        p -= 0.01 * p.grad
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    ours.load_state_dict(theirs.state_dict()), theirs.load_state_dict(ours.state_dict())


class Block(nn.Module):
    """A convolution, a batch norm, and what `after(self, norm's output, input)` does."""

    def __init__(self, after):
        super().__init__()
        self.conv = nn.Conv2d(C, C, 3, padding=1)
        self.bn = nn.BatchNorm2d(C)
        self.relu, self.identity = nn.ReLU(inplace=True), nn.Identity()
        self.after = after

    def forward(self, x):
        return self.after(self, self.bn(self.conv(x)), x)


PATTERNS = {
    "module": ("relu", lambda s, y, x: s.relu(y)),
    "through an identity": ("relu", lambda s, y, x: s.relu(s.identity(y))),
    "F.relu": ("relu", lambda s, y, x: F.relu(y)),
    "F.relu in place": ("relu", lambda s, y, x: F.relu(y, inplace=True)),
    "F.relu_": ("relu", lambda s, y, x: F.relu_(y)),
    "F.relu by keyword": ("relu", lambda s, y, x: F.relu(input=y)),
    "torch.relu": ("relu", lambda s, y, x: torch.relu(y)),
    "torch.relu_": ("relu", lambda s, y, x: torch.relu_(y)),
    "method": ("relu", lambda s, y, x: y.relu()),
    "method in place": ("relu", lambda s, y, x: y.relu_()),
    "F.silu": ("silu", lambda s, y, x: F.silu(y)),
    "F.leaky_relu": ("leaky_relu", lambda s, y, x: F.leaky_relu(y)),
    "F.leaky_relu with slope": ("leaky_relu", lambda s, y, x: F.leaky_relu(y, 0.3)),
    "F.leaky_relu by keyword": ("leaky_relu", lambda s, y, x: F.leaky_relu(y, negative_slope=0.2)),
    "+": ("add + relu", lambda s, y, x: F.relu(y + x)),
    "+ on the right": ("add + relu", lambda s, y, x: F.relu(x + y)),
    "add alone": ("add", lambda s, y, x: x + y),
    "operator.add": ("add + silu", lambda s, y, x: F.silu(operator.add(y, x))),
    "torch.add": ("add + relu", lambda s, y, x: s.relu(torch.add(x, y))),
    "torch.add with alpha 1": ("add + relu", lambda s, y, x: s.relu(torch.add(x, y, alpha=1))),
    "method add": ("add + relu", lambda s, y, x: y.add(x).relu()),
    "method add_": ("add + leaky_relu", lambda s, y, x: F.leaky_relu(y.add_(x), 0.5)),
    "iadd": ("add + relu", lambda s, y, x: F.relu(operator.iadd(y, x))),
    "broadcast residual": ("add + relu", lambda s, y, x: F.relu(y + x.mean((2, 3), True))),
    "larger residual": ("add + silu", lambda s, y, x: F.silu(y.mean((2, 3), True) + x)),
    "shared module": ("relu", lambda s, y, x: s.conv(s.relu(x + 1)) + s.relu(y)),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_is_fused(name):
    pattern, after = PATTERNS[name]
    theirs = redraw(Block(after))
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    if name == "larger residual":  # a mean lies between
        assert [a.reason for a in report.alone] == ["mean follows it"]
    else:
        assert [f.pattern for f in report.fused] == [f"batch norm + {pattern}"], str(report)
        assert not report.alone and not report.left
    assert type(ours.bn) is BatchNormAct2d and isinstance(ours, Block)
    assert_same_training(theirs, ours)


def double_use(s, y, x):
    return F.relu(y) + y


def with_block(s, y, x):
    with torch.no_grad():
        z = x * 2
    return F.relu(y) + z


def writes_before_the_add(s, y, x):
    z = x * 1
    return F.relu(y + z.relu_())


def random_branch(s, y, x):
    return F.relu(y) * (1 + 0 * random.random())


def keeps(s, y, x):
    s.last = x
    return F.relu(y)


TRAPS = {
    "another use": (double_use, "used 2 times"),
    "used twice by one op": (lambda s, y, x: F.relu(y + y), "used 2 times"),
    "returned": (lambda s, y, x: y, "returned"),
    "alpha": (lambda s, y, x: F.relu(torch.add(y, x, alpha=2)), "factor"),
    "scalar": (lambda s, y, x: F.relu(y + 1), "no feature map"),
    "into another": (lambda s, y, x: F.relu((x * 1).add_(y)), "in place into another"),
    "other activation": (lambda s, y, x: F.gelu(y), "gelu follows"),
    "subtraction": (lambda s, y, x: F.relu(y - x), "sub follows"),
    "in place between": (writes_before_the_add, "relu_ may change"),
    "with block": (with_block, "`with` block"),
    "checkpoint": (lambda s, y, x: F.relu(y) + checkpoint(torch.sin, x, use_reentrant=False), ""),
    "random": (random_branch, "random numbers"),
    "training": (lambda s, y, x: F.relu(y) if s.training else y * 2, "whether it trains"),
    "dropout": (lambda s, y, x: F.relu(F.dropout(y, 0.5, s.training)), "whether it trains"),
    "types": (lambda s, y, x: y if isinstance(x, list) else F.relu(y), "types"),
    "constant": (lambda s, y, x: F.relu(y) + torch.arange(6.0), ""),
    "control flow": (lambda s, y, x: F.relu(y) if y.sum() > 0 else y, "cannot be traced"),
    "no_grad helper": (lambda s, y, x: F.relu(y) + torch.no_grad()(torch.sin)(x), "`with` block"),
    "stored": (keeps, "stores `last`"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_left_alone_and_said_why(name):
    after, reason = TRAPS[name]
    theirs = redraw(Block(after))
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert not report.fused and type(ours) is Block and ours.bn.activation is None
    assert [entry.name for entry in report.alone] == ["bn"] and reason in report.alone[0].reason
    assert not hasattr(ours, "last")
    assert_same_training(theirs, ours, tolerance=1e-8)


class Mixed(Block):
    """Its forward must stay, which keeps one of its two norms from being fused."""

    def __init__(self, tail):
        super().__init__(None)
        self.bn2, self.act, self.tail = nn.BatchNorm2d(C), nn.ReLU(), tail

    def forward(self, x):
        with torch.autograd.set_detect_anomaly(False):
            y = self.act(self.bn(self.conv(x)))
        return y + self.tail(self, self.bn2(self.conv(x)), x)


@pytest.mark.parametrize(
    "tail, fused",
    [(lambda s, z, x: F.relu(z), ["bn"]), (lambda s, z, x: s.act(z + x), [])],
)
def test_module_moves_where_a_forward_cannot_be_rewritten(tail, fused):
    theirs = redraw(Mixed(tail))
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert [f.name for f in report.fused] == fused
    assert "`with` block" in report.alone[-1].reason and type(ours) is Mixed
    assert_same_training(theirs, ours)


class Optional(Block):
    def forward(self, x, skip=None):
        return F.relu(self.bn(self.conv(x)) + (x if skip is None else skip))


class Helper(Block):
    """As where convolutions are folded later: another method calls the activation."""

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))

    def forward_folded(self, x):
        return self.relu(self.conv(x))


class Reader(Block):
    """Its other methods read the norm and call what is fused, as timm's do."""

    def __init__(self):
        super().__init__(None)
        self.bn2 = nn.BatchNorm2d(C)

    def forward(self, x):
        y = self.bn(self.conv(x))
        y = self.relu(y)
        return F.silu(self.bn2(y) + x)

    def zero_init_last(self):
        if getattr(self.bn2, "weight", None) is not None:
            nn.init.zeros_(self.bn2.weight)

    def intermediates(self, x):
        x = self.conv(x)
        x = self.bn(x)
        x = self.relu(x)
        return x, self.relu(self.bn(self.conv(x)))


def test_methods_that_read_a_norm_or_call_it_alike_do_not_keep_it_from_being_fused():
    theirs = redraw(Reader()).eval()
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert {f.name: f.pattern for f in report.fused} == {
        "bn": "batch norm + relu",
        "bn2": "batch norm + add + silu",
    }
    x = torch.randn(2, C, 5, 5)
    for a, b in zip(ours.intermediates(x), theirs.intermediates(x)):
        torch.testing.assert_close(a, b)
    ours.zero_init_last(), theirs.zero_init_last()
    assert_same_training(theirs, ours)


class Other(Block):
    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class Alone(Other):
    def other(self, x):
        return self.bn(x)


class Twice(Other):
    def other(self, x):
        return self.relu(self.bn(x)) + self.bn(x)


class ByName(Other):
    def other(self, x):
        return getattr(self, "bn")(x)  # noqa: B009


class Listed(Other):
    def other(self, x):
        return [self.bn, self.conv][0](x)


class Between(Other):
    @property
    def other(self):
        y = self.bn(self.conv.weight)
        z = self.relu(y)
        return y, z


@pytest.mark.parametrize("kind", [Alone, Twice, ByName, Listed, Between])
def test_method_that_calls_a_norm_otherwise_keeps_it(kind):
    model, report = convert_batch_norm(kind(None))
    assert "its method `other` uses it too" in report.alone[0].reason and not report.fused
    assert type(model.relu) is nn.ReLU and model.bn.activation is None


class Flag(Block):
    flag = True

    def __init__(self):
        super().__init__(None)
        self.residual = True

    def forward(self, x):
        y = self.bn(self.conv(x))
        return F.relu(y + x) if self.residual and self.flag else F.relu(y)


def test_forward_with_an_optional_argument_is_not_rewritten():
    theirs = redraw(Optional(None))
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert "optional arguments" in report.alone[0].reason
    x = torch.randn(2, C, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(x, 2 * x), theirs(x, 2 * x))


def test_activation_that_another_method_calls_stays():
    theirs = redraw(Helper(None)).eval()
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert report.fused[0].rewritten == "the model" and type(ours.relu) is nn.ReLU
    x = torch.randn(2, C, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ours.forward_folded(x), theirs.forward_folded(x))


def test_setting_that_a_rewritten_forward_read_cannot_change_silently():
    model, report = convert_batch_norm(Flag())
    assert report.fused[0].pattern == "batch norm + add + relu"
    model.residual = True
    with pytest.raises(RuntimeError, match="`flag` was True"):
        model.flag = False
    with pytest.raises(RuntimeError, match="`residual` was True when convert_batch_norm rewrote"):
        model.residual = False
    other, _ = convert_batch_norm(redraw(Flag()))
    assert type(other) is type(model)


class Bottleneck(nn.Module):
    """One ReLU for three places, an add in place, a Sequential on the other side."""

    def __init__(self, channels=C, downsample=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, C, 1, bias=False), nn.BatchNorm2d(C)
        self.conv2, self.bn2 = nn.Conv2d(C, C, 3, padding=1, bias=False), nn.BatchNorm2d(C)
        self.conv3, self.bn3 = nn.Conv2d(C, C, 1, bias=False), nn.BatchNorm2d(C)
        self.relu = nn.ReLU(inplace=True)
        down = nn.Sequential(nn.Conv2d(channels, C, 1, bias=False), nn.BatchNorm2d(C))
        self.downsample = down if downsample else None

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(C, C, 3), nn.BatchNorm2d(C), nn.ReLU()
        self.layer1 = nn.Sequential(Bottleneck(), Bottleneck(downsample=False))
        self.fc = nn.Linear(C, 3)

    def forward(self, x):
        x = self.layer1(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(x.mean((2, 3)), 1))


def test_residual_network_is_fused_whole():
    theirs = redraw(Net())
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert {f.name: f.pattern for f in report.fused} == {
        "bn1": "batch norm + relu",
        **{f"layer1.{k}.bn{i}": "batch norm + relu" for k in (0, 1) for i in (1, 2)},
        **{f"layer1.{k}.bn3": "batch norm + add + relu" for k in (0, 1)},
    }
    assert [a.name for a in report.alone] == ["layer1.0.downsample.1"]
    assert type(ours) is Net and type(ours.relu) is nn.Identity  # no forward of it was rewritten
    assert isinstance(ours.layer1[0], Bottleneck) and ours.layer1[0].bn3.activation == "relu"
    assert_same_training(theirs, ours)
    assert "fused  layer1.0.bn3: batch norm + add + relu, forward of layer1.0 rewritten" in str(
        report
    )


class Ends(nn.Module):
    """The norm is the last of nested Sequentials; add and activation come outside."""

    def __init__(self):
        super().__init__()
        inner = nn.Sequential(nn.Conv2d(C, C, 3, padding=1), nn.BatchNorm2d(C))
        self.branch = nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU(), inner)
        self.shortcut = nn.Sequential()
        self.last = nn.Sequential(nn.Conv2d(C, C, 1), nn.BatchNorm2d(C))

    def forward(self, x):
        x = nn.functional.relu(self.branch(x) + self.shortcut(x))
        return F.silu(self.last(x))


def test_norm_at_the_end_of_sequentials_is_fused_and_their_hooks_still_fire():
    theirs = redraw(Ends())
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert [f.name for f in report.fused] == ["branch.2.1", "last.1"]
    assert_same_training(theirs, ours)
    seen = []
    for module in (ours.branch, ours.branch[2], ours.last):
        module.register_forward_hook(lambda *_: seen.append(1))
    ours(torch.randn(2, C, 5, 5).double())
    assert len(seen) == 3 and len(ours.branch) == 3


class RepVGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Conv2d(C, C, k, padding=k // 2) for k in (3, 1))
        self.bn_a, self.bn_b, self.bn = (nn.BatchNorm2d(C) for _ in range(3))

    def forward(self, x):
        return F.relu(self.bn_a(self.a(x)) + self.bn_b(self.b(x)) + self.bn(x))


def test_sum_of_three_norms_takes_one_add_each():
    theirs = redraw(RepVGG())
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert sorted(f.pattern for f in report.fused) == [
        "batch norm + add",
        "batch norm + add + relu",
    ]
    assert_same_training(theirs, ours)


def test_modules_that_are_watched_shared_or_special_are_left():
    shared, hooked, replaced = (nn.BatchNorm2d(C) for _ in range(3))
    hooked.register_forward_hook(lambda *_: None)
    replaced.forward = replaced.forward
    parametrised = nn.utils.parametrizations.weight_norm(nn.BatchNorm2d(C), dim=None)
    quantised = nn.BatchNorm2d(C)
    quantised.qconfig = object()
    watched = nn.ReLU()
    watched.register_forward_hook(lambda *_: None)
    own = type("Own", (nn.BatchNorm2d,), {})
    model = nn.Sequential(
        nn.Sequential(shared, nn.ReLU()),
        nn.Sequential(shared, nn.ReLU()),
        nn.Sequential(hooked, nn.ReLU()),
        nn.Sequential(replaced, nn.ReLU()),
        nn.Sequential(parametrised, nn.ReLU()),
        nn.Sequential(quantised, nn.ReLU()),
        nn.Sequential(own(C), nn.ReLU()),
        nn.Sequential(nn.BatchNorm2d(C), watched),
    )
    before = copy.deepcopy(model)
    _, report = convert_batch_norm(model)
    assert {a.name: a.reason for a in report.alone} == {
        "0.0": "it is used in several places",
        "7.0": "ReLU follows it",
    }
    reasons = {entry.name: entry.reason for entry in report.left}
    assert list(reasons) == ["2.0", "3.0", "4.0", "5.0", "6.0"] and not report.fused
    for name, word in zip(reasons, ("hooks", "instance", "param", "quant", "Own")):
        assert word in reasons[name]
    assert model[0][0] is model[1][0] is shared and type(shared) is BatchNormAct2d
    assert_same_training(before, model, steps=2)


class Keyword(Block):
    def forward(self, x):
        return F.relu(self.bn(input=self.conv(x)))


def test_norm_called_by_keyword_is_left():
    _, report = convert_batch_norm(Keyword(None))
    assert report.left[0].reason == "it is called with keywords" and not report.alone


def test_lazy_norm_is_left():
    _, report = convert_batch_norm(nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU()))
    assert "call the model once" in report.left[0].reason


def test_one_activation_object_in_a_sequential_goes_only_from_where_a_norm_is():
    relu = nn.LeakyReLU(0.3)
    theirs = nn.Sequential(nn.Conv2d(C, C, 1), relu, nn.Conv2d(C, C, 1), nn.BatchNorm2d(C), relu)
    ours, report = convert_batch_norm(copy.deepcopy(redraw(theirs)))
    assert [type(m) for m in ours[1::3]] == [nn.LeakyReLU, nn.Identity] or isinstance(
        ours[4], nn.Identity
    )
    assert ours[3].negative_slope == 0.3 and len(report.fused) == 1
    assert_same_training(theirs, ours)


class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(C), nn.BatchNorm2d(C)
        self.act1 = self.act2 = nn.LeakyReLU(0.5)

    def forward(self, x):
        return self.act2(self.bn2(self.act1(self.bn1(x))))


def test_activation_under_two_names_goes_from_both():
    theirs = redraw(TwoNames())
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert len(report.fused) == 2 and type(ours.act2) is nn.Identity
    assert_same_training(theirs, ours)


class TimmLike(nn.BatchNorm2d):
    """The batch norm and activation in one module, as timm writes it."""

    def __init__(self, channels, act):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act

    def forward(self, x):
        self._check_input_dim(x)
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
        x = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum,
            self.eps,
        )
        return self.act(self.drop(x))


TimmLike.__name__ = "BatchNormAct2d"


class Lies(TimmLike):
    def forward(self, x):
        return super().forward(x) * 2


Lies.__name__ = "BatchNormAct2d"


def test_norm_with_its_own_activation_is_fused_where_it_computes_that():
    theirs = redraw(
        nn.Sequential(
            nn.Conv2d(C, C, 1),
            TimmLike(C, nn.SiLU()),
            TimmLike(C, nn.Identity()),
            nn.ReLU(),
            Lies(C, nn.ReLU()),
            TimmLike(C, nn.GELU()),
        )
    )
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert [ours[i].activation for i in (1, 2)] == ["silu", "relu"]
    assert {entry.name: entry.reason for entry in report.left} == {
        "4": "it is a subclass, BatchNormAct2d with ReLU",
        "5": "it is a subclass, BatchNormAct2d with GELU",
    }
    assert_same_training(theirs, ours)


@pytest.mark.parametrize(
    "settings",
    [{"affine": False}, {"track_running_stats": False}, {"momentum": None}, {"eps": 0.1}],
)
def test_settings_of_the_norm_are_kept(settings):
    theirs = nn.Sequential(nn.Conv2d(C, C, 3), nn.BatchNorm2d(C, **settings), nn.SiLU())
    ours, report = convert_batch_norm(copy.deepcopy(redraw(theirs)))
    assert report.fused and (ours[1].affine, ours[1].momentum) == (
        theirs[1].affine,
        theirs[1].momentum,
    )
    assert_same_training(theirs, ours)


def test_conversion_keeps_objects_modes_and_what_was_added_to_them():
    model = Net().eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = list(model.parameters())
    norms[0].note = "kept"
    norms[0].weight.requires_grad_(False)
    norms[1].train()
    convert_batch_norm(model)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    after = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(a is b for a, b in zip(norms, after, strict=True))
    assert after[0].note == "kept" and not after[0].weight.requires_grad
    assert [m.training for m in after] == [False, True] + [False] * (len(after) - 2)
    assert not model.relu.training


def test_conversion_twice_changes_nothing_more():
    model, _ = convert_batch_norm(redraw(Net()))
    before = [(name, type(m)) for name, m in model.named_modules()]
    again, report = convert_batch_norm(model)
    assert again is model and report == ConversionReport()
    assert before == [(name, type(m)) for name, m in model.named_modules()]


def test_converted_model_copies_pickles_saves_and_loads():
    model = convert_batch_norm(redraw(Net()))[0].eval()
    x = torch.randn(2, C, 8, 8)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    twins = (
        copy.deepcopy(model),
        copy.copy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(saved, weights_only=False),
    )
    for twin in twins:
        assert torch.equal(twin(x), model(x))
        assert type(twin.layer1[0]) is type(model.layer1[0])
    plain = Net().eval()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(x), model(x), rtol=1e-5, atol=1e-5)


def test_converted_model_compiles_into_one_graph():
    model = convert_batch_norm(redraw(Net()))[0]
    twin = copy.deepcopy(model)
    torch._dynamo.reset()  # of sizes that other tests made dynamic
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, C, 8, 8)
    a, b = compiled(x), twin(x)
    assert torch.equal(a, b)
    a.sum().backward(), b.sum().backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_converted_and_folded_models_are_traced_by_torch_fx():
    """Each batch norm as one step, which goes on following the mode of its module."""
    model = convert_batch_norm(redraw(Net()))[0]
    traced = torch.fx.symbolic_trace(model)
    steps = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert {"bn1", "layer1.0.bn3", "layer1.0.downsample.1"} <= set(steps)
    x = torch.randn(2, C, 8, 8)
    for training in (True, False):
        traced.train(training), model.train(training)
        assert torch.equal(traced(x), model(x))
    folded = fold_batch_norm(model)[0]
    assert torch.equal(torch.fx.symbolic_trace(folded)(x), folded(x))
    frozen = nn.Sequential(FrozenBatchNormAct2d(C))
    assert torch.equal(torch.fx.symbolic_trace(frozen)(x), frozen(x))


def test_own_models_are_fused_already():
    for model in (resnet20(), create_model("light_detector", num_classes=2)):
        before = str(model)
        _, report = convert_batch_norm(model)
        assert not report.fused and not report.left and not report.alone
        assert str(model) == before


def test_float32_stays_within_the_stated_tolerance():
    theirs = redraw(Net())
    ours, _ = convert_batch_norm(copy.deepcopy(theirs))
    x = torch.randn(8, C, 16, 16)
    a, b = theirs(x), ours(x)
    assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    a.square().sum().backward(), b.square().sum().backward()
    grads, others = ([p.grad for p in m.parameters()] for m in (theirs, ours))
    largest = max(g.abs().max() for g in grads)
    for g, other in zip(grads, others, strict=True):
        assert (g - other).abs().max() <= 1e-4 * largest


@pytest.mark.parametrize(
    "conv, norm, shape",
    [
        (nn.Linear(C, C), nn.BatchNorm1d, (6, C)),
        (nn.Conv1d(C, C, 3), nn.BatchNorm1d, (4, C, 9)),
        (nn.Conv3d(C, C, 3), nn.BatchNorm3d, (2, C, 4, 5, 6)),
    ],
)
def test_other_dimensions_are_fused(conv, norm, shape):
    theirs = redraw(nn.Sequential(conv, norm(C), nn.SiLU()))
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert report.fused and type(ours[1]).__name__ == norm.__name__.replace("Norm", "NormAct")
    assert_same_training(theirs, ours, shape)
