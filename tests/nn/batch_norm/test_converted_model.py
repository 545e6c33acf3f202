"""A converted model: its numbers, names, modes, copies, and what else torch does with it."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from sightline.models import (
    ConversionReport,
    FrozenBatchNormAct2d,
    convert_batch_norm,
    create_model,
    fold_batch_norm,
)
from sightline.models.classifiers.resnet import resnet20

from .convert_cases import C, Net, assert_same_training, redraw


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
