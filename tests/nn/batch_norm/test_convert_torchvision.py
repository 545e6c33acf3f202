"""Networks of torchvision and timm, converted and folded, where these are installed."""

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# What must be fused, of all batch norms; mobilenet's activation is ReLU6, which is left.
NETWORKS = {
    "resnet18": (17, 20),
    "densenet121": (121, 121),
    "mobilenet_v2": (10, 52),
    "regnet_y_400mf": (49, 53),
}
FOLDED = {"densenet121": 59}  # half of its batch norms come before their convolutions
SCRIPT = """
    import copy, pickle, sys
    import torch
    from torch import nn
    from sightline.compat.torchvision import install
    from sightline.models import convert_batch_norm, fold_batch_norm

    install()
    import torchvision

    torch.set_num_threads(1)
    name, number, of, folded_number = sys.argv[1], *map(int, sys.argv[2:])
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None).double()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias)
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    assert type(ours) is type(theirs) or isinstance(ours, type(theirs))
    assert (len(report.fused), len(report.fused) + len(report.alone)) == (number, of), str(report)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(2):
        x = torch.randn(2, 3, 48, 48, dtype=torch.float64)
        grads = []
        for model in (theirs, ours):
            torch.manual_seed(step)  # of dropout
            model.zero_grad()
            y = model(x)
            y.square().mean().backward()
            grads.append((y, *(p.grad for p in model.parameters()), *model.buffers()))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6 * a.abs().max().item() + 1e-12)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-8, atol=1e-8)
    assert torch.equal(pickle.loads(pickle.dumps(ours))(x), ours(x))
    for model in (theirs, ours):
        folded, report = fold_batch_norm(model)
        assert len(report.fused) == folded_number, str(report)
        expected = model(x)
        assert (folded(x) - expected).abs().max() <= 1e-8 * expected.abs().max()
"""

# Conversion alone, of what takes long to compare: the model, and what must be fused, of how many.
COUNTS = """
    from sightline.compat.torchvision import install
    from sightline.models import convert_batch_norm

    install()
    from torchvision import models

    given = {"weights": None, "weights_backbone": None}
    for model, of in (
        (models.resnet50(weights=None), (49, 53)),
        (models.detection.retinanet_resnet50_fpn(**given), (48, 53)),
    ):
        report = convert_batch_norm(model)[1]
        assert (len(report.fused), len(report.fused) + len(report.alone)) == of, str(report)
"""
OF_TIMM = """
    import copy
    import torch
    from sightline.compat.torchvision import install
    from sightline.models import convert_batch_norm, convert_sync_batch_norm, fold_batch_norm

    install()
    import timm
    from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d

    torch.manual_seed(0)
    for name, fused, of in (("resnet18", 17, 20), ("mnasnet_050", 45, 52), ("darknet53", 52, 52)):
        theirs = timm.create_model(name, num_classes=3).double()
        ours, report = convert_batch_norm(copy.deepcopy(theirs))
        found = len(report.fused), len(report.fused) + len(report.alone) + len(report.left)
        assert found == (fused, of), str(report)
        x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        for training in (True, False):
            expected = theirs.train(training)(x)
            torch.testing.assert_close(ours.train(training)(x), expected, rtol=1e-6, atol=1e-6)
        folded, report = fold_batch_norm(theirs)
        assert (len(report.fused), len(report.left)) == (of, 0), str(report)
        torch.testing.assert_close(folded(x), expected, rtol=1e-6, atol=1e-6)
    for replace in (convert_sync_batchnorm, freeze_batch_norm_2d):
        try:
            replace(copy.deepcopy(ours))
        except TypeError as error:
            assert f"timm's {replace.__name__} would drop the activation" in str(error)
        else:
            raise AssertionError(f"{replace.__name__} dropped activations")
    convert_sync_batch_norm(ours)
    torch.testing.assert_close(ours(x), expected, rtol=1e-6, atol=1e-6)
"""

SAME_NAMES = """
    from sightline.bench.batch_norm import plain_resnet
    from sightline.compat.torchvision import install

    install()
    from torchvision import models

    for name in ("resnet18", "resnet50"):
        plain, model = getattr(plain_resnet, name)(), getattr(models, name)(weights=None)
        assert list(plain.state_dict()) == list(model.state_dict())
        plain.load_state_dict(model.state_dict())
"""

BESIDE = [n for n in ("torch", "torchvision", "timm") if importlib.util.find_spec(n) is not None]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="no torchvision"
)


def run(script, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", NETWORKS)
def test_network_of_torchvision(name):
    number, of = NETWORKS[name]
    run(SCRIPT, name, str(number), str(of), str(FOLDED.get(name, of)))


def test_backbones_of_torchvision_and_what_detectors_make_of_them():
    run(COUNTS)


def test_torchvision_lies_beside_torch():
    """Elsewhere these tests would pass though its files are taken for those of torch."""
    folders = [Path(importlib.util.find_spec(name).origin).parents[1] for name in BESIDE]
    assert len(set(folders)) == 1, folders


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="no timm")
def test_networks_of_timm():
    run(OF_TIMM)


def test_plain_resnets_have_the_names_of_torchvision():
    run(SAME_NAMES)
