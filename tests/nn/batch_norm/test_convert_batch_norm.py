"""Conversion: each pattern is fused, each trap is not, and the report says why."""

import copy
import operator
import os
import random
import sysconfig

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sightline.models import (
    BatchNormAct2d,
    convert_batch_norm,
)

from .convert_cases import Block, Bottleneck, C, Lies, Net, TimmLike, assert_same_training, redraw

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
    "scalar": (lambda s, y, x: F.relu(y + 1), "not a feature map"),
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


BESIDE = """
from torch import nn

class Made(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)) + x)
"""


@pytest.mark.parametrize("folder", [torch.__path__[0], sysconfig.get_paths()["stdlib"]])
def test_module_of_a_package_whose_folder_begins_as_torch_or_python_is_fused(folder):
    made = {"__name__": "torchvision.models.made"}
    exec(compile(BESIDE, os.path.join(f"{folder}vision", "models", "made.py"), "exec"), made)
    theirs = redraw(made["Made"]())
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert [f.pattern for f in report.fused] == ["batch norm + add + relu"], str(report)
    assert_same_training(theirs, ours)
