"""The names of torchvision.ops, and install(): with torchvision where it is, and without it.

install() changes a process, so it is tried in processes of its own, against packages of a few lines
that fail as torchvision does, that work, or that fail otherwise.
"""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline import ops
from sightline.compat import torchvision as compat

from .. import fresh
from ..ops.box_cases import random_boxes
from ..ops.derivative_cases import assert_differentiable

needs_cpu_torch = pytest.mark.skipif(
    torch.version.cuda is not None or torch.version.hip is not None,
    reason="install() is for torch without CUDA",
)

# What torchvision's own modules do at import, in the order in which it does it.
EXTENSION = """
import torch

def _has_ops():
    return False

def _assert_has_ops():
    if not _has_ops():
        raise RuntimeError("no ops")
"""
BROKEN = {
    "__init__.py": "from . import extension, _meta, ops\n__version__ = '0'",
    "extension.py": EXTENSION,
    "_meta.py": """
import torch

@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    return dets.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.long)
""",
    "ops.py": """
import torch
from .extension import _assert_has_ops, _has_ops

def nms(boxes, scores, iou_threshold):
    _assert_has_ops()
    assert _has_ops()
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)
""",
}
WORKING = {
    **BROKEN,
    "extension.py": EXTENSION.replace("return False", "return True")
    + """
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.impl("nms", lambda dets, scores, iou_threshold: torch.arange(3), "CPU")
""",
}


def run_beside(folder: Path, package: dict[str, str] | None, code: str) -> str:
    """What `code` prints where this torchvision is the only one; None: the one installed."""
    if package is not None:
        (folder / "torchvision").mkdir()
        for name, text in package.items():
            (folder / "torchvision" / name).write_text(text)
    before = f"import sys, warnings; sys.path.insert(0, {str(folder)!r})"
    done = fresh.run(f"{before}; warnings.simplefilter('ignore')\n{code}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_cpu_torch
def test_install_supplies_the_ops_that_are_missing(tmp_path):
    said = run_beside(
        tmp_path,
        BROKEN,
        """
try:
    import torchvision
except RuntimeError as error:
    print(error)
import torch
from sightline import ops
from sightline.compat.torchvision import install
from sightline.compat._torchvision_ops import SCHEMAS
print(install(), install())
import torchvision
boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], requires_grad=True)
scores = torch.tensor([0.8, 0.9, 0.7])
print(torchvision.ops.nms(boxes, scores, 0.5).tolist())
nms = lambda b, s: torch.ops.torchvision.nms(b, s, 0.5) * 2
print(torch.compile(nms, fullgraph=True, backend="eager")(boxes, scores).tolist())
for name, schema in SCHEMAS.items():
    op = getattr(torch.ops.torchvision, name).default
    assert str(op._schema) == f"torchvision::{name}{schema}", (str(op._schema), schema)
try:
    torch.ops.torchvision.roi_pool(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 1.0, 2, 2)
except NotImplementedError as error:
    print(error)
image = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
rois = torch.tensor([[0, 0.5, 1, 4, 5], [0, 1, 1, 3, 3]], dtype=torch.float64)
arguments = (image, rois, 1.0, 2, 2, 2, True)
torch.library.opcheck(torch.ops.torchvision.roi_align.default, arguments)
align = lambda i: torch.ops.torchvision.roi_align(i, *arguments[1:])
assert torch.autograd.gradcheck(align, image, check_forward_ad=True)
assert torch.autograd.gradgradcheck(align, image, check_fwd_over_rev=True, fast_mode=True)
torch.func.hessian(lambda i: align(i).pow(3).sum())(image.detach())
""",
    ).splitlines()
    assert "operator torchvision::nms does not exist" in said[0]
    assert said[1:4] == ["True True", "[1, 2]", "[2, 4]"]
    assert "torchvision::roi_pool is not among the ops" in said[4]


def test_install_leaves_a_torchvision_that_works_alone(tmp_path):
    said = run_beside(
        tmp_path,
        WORKING,
        """
import torch
from sightline.compat.torchvision import install
print(install(), install())
import torchvision
print(torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).tolist())
print(hasattr(torch.ops.torchvision, "roi_align"), torchvision.extension._has_ops())
""",
    )
    assert said.splitlines() == ["False False", "[0, 1, 2]", "False True"]


@needs_cpu_torch
def test_install_works_where_the_import_did_not_fail(tmp_path):
    package = {**BROKEN, "_meta.py": ""}
    code = """
import torchvision
from sightline.compat.torchvision import install
import torch
print(install(), torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).tolist())
"""
    assert run_beside(tmp_path, package, code).split("\n")[0] == "True [0]"


def test_install_passes_on_what_else_is_wrong(tmp_path):
    broken = {"__init__.py": "raise RuntimeError('compiled with another CUDA')"}
    code = """
from sightline.compat.torchvision import install
try:
    install()
except RuntimeError as error:
    print(error)
import torch
print(hasattr(torch.ops.torchvision, "nms"))
"""
    said = run_beside(tmp_path, broken, code)
    assert said.splitlines() == ["compiled with another CUDA", "False"]


def test_install_refuses_a_torch_for_cuda(tmp_path):
    code = """
import torch
torch.version.cuda = "13.0"
from sightline.compat.torchvision import install
try:
    install()
except RuntimeError as error:
    print(error)
print(hasattr(torch.ops.torchvision, "nms"))
"""
    said = run_beside(tmp_path, BROKEN, code).splitlines()
    assert said[0].startswith("torchvision cannot load its library with torch")
    assert said[1] == "False"


def test_nothing_but_install_imports_torchvision(tmp_path):
    code = """
import sys
import sightline.compat.torchvision, sightline.compat.mmcv, sightline.compat.detectron2
print("torchvision" in sys.modules)
"""
    assert run_beside(tmp_path, BROKEN, code).strip() == "False"


def brute_roi_align(image, rois, scale, bins_y, bins_x, ratio, aligned):
    """RoIAlign one sample at a time."""
    _, channels, height, width = image.shape
    out = np.zeros((len(rois), channels, bins_y, bins_x))
    for k, (index, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0) for c in corners)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        count_y, count_x = (
            ratio or int(np.ceil(side / n)) for side, n in ((h, bins_y), (w, bins_x))
        )
        for i in range(bins_y):
            for j in range(bins_x):
                for sy in range(count_y):
                    for sx in range(count_x):
                        y = y1 + (i + (sy + 0.5) / count_y) * h / bins_y
                        x = x1 + (j + (sx + 0.5) / count_x) * w / bins_x
                        if not (-1 <= y <= height and -1 <= x <= width):
                            continue
                        y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
                        y0, x0 = int(y), int(x)
                        y1_, x1_ = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                        fy, fx = y - y0, x - x0
                        picture = image[int(index)]
                        out[k, :, i, j] += (
                            (1 - fy) * ((1 - fx) * picture[:, y0, x0] + fx * picture[:, y0, x1_])
                            + fy * ((1 - fx) * picture[:, y1_, x0] + fx * picture[:, y1_, x1_])
                        ) / (count_y * count_x)
    return out


@pytest.mark.parametrize("ratio", [2, 0])
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align_is_the_mean_of_its_samples(ratio, aligned):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 3, 7, 9))
    corner = rng.uniform(-30, 80, (9, 2))
    rois = np.column_stack([rng.integers(0, 2, 9), corner, corner + rng.uniform(0, 60, (9, 2))])
    expected = brute_roi_align(image, rois, 0.1, 3, 2, ratio, aligned)
    tensor = torch.from_numpy(image).requires_grad_()
    got = compat.roi_align(tensor, torch.from_numpy(rois), (3, 2), 0.1, ratio or -1, aligned)
    np.testing.assert_allclose(got.detach(), expected, atol=1e-12)
    assert np.abs(expected).max() > 0


def test_derivatives_of_roi_align_are_those_of_the_value():
    image = torch.rand(2, 1, 5, 6, dtype=torch.float64)
    rois = torch.tensor([[0, 0.5, 1, 4, 5], [1, 1, 1, 3, 3], [1, 90, 90, 99, 99]]).double()
    align = lambda t: compat.roi_align(t, rois, 2, 1.0, -1, True)  # noqa: E731
    assert_differentiable(align, image)
    loss = lambda t: align(t).pow(3).sum()  # noqa: E731
    hessian = torch.autograd.functional.hessian(loss, image)
    torch.testing.assert_close(torch.func.hessian(loss)(image), hessian)
    images = torch.stack([image, 2 * image])
    assert torch.equal(torch.vmap(align)(images), torch.stack([align(t) for t in images]))
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(lambda r: compat.roi_align(image, r, 2))(torch.stack([rois, rois]))


def test_roi_align_takes_a_list_of_boxes_and_nothing():
    image = torch.rand(2, 3, 8, 8)
    boxes = [torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 1, 5, 5], [2, 2, 6, 6]])]
    rois = torch.tensor([[0.0, 0, 0, 4, 4], [1, 1, 1, 5, 5], [1, 2, 2, 6, 6]])
    assert torch.equal(compat.roi_align(image, boxes, 2), compat.roi_align(image, rois, 2))
    assert compat.roi_align(image, rois[:0], 2).shape == (0, 3, 2, 2)
    with pytest.raises(ValueError, match="`rois` must name images from 0 to 1"):
        compat.roi_align(image, rois + 2, 2)


def loss_with_constant_alpha(a, b, eps):
    """Zheng et al. 2020, equations 6 to 11, with autograd's gradient, for a given alpha."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = a.unbind(-1), b.unbind(-1)
    inter = (x2.min(u2) - x1.max(u1)).clamp(min=0) * (y2.min(v2) - y1.max(v1)).clamp(min=0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter
    iou = inter / (union + eps)
    diagonal = (x2.max(u2) - x1.min(u1)) ** 2 + (y2.max(v2) - y1.min(v1)) ** 2
    distance = ((x1 + x2 - u1 - u2) / 2) ** 2 + ((y1 + y2 - v1 - v2) / 2) ** 2
    angle1, angle2 = ((x2 - x1) / (y2 - y1)).atan(), ((u2 - u1) / (v2 - v1)).atan()
    aspect = 4 / np.pi**2 * (angle1 - angle2) ** 2
    alpha = aspect / (1 - iou + aspect + eps)
    return 1 - iou + distance / (diagonal + eps) + alpha.detach() * aspect


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_constant_alpha_gives_the_gradient_of_torchvision(reduction):
    rng = np.random.default_rng(1)
    a, b = (torch.tensor(random_boxes(rng, 50, np.float64)) for _ in range(2))
    a[:25] = b[:25] + rng.uniform(-3, 3)
    pair = a.requires_grad_(), b.requires_grad_()

    def with_gradients(loss):
        loss = loss.mean() if reduction == "mean" else loss.sum()
        return loss.detach(), *torch.autograd.grad(loss, pair)

    whole = with_gradients(compat.complete_box_iou_loss(*pair, reduction))
    ours = with_gradients(compat.complete_box_iou_loss(*pair, reduction, constant_alpha=True))
    theirs = with_gradients(loss_with_constant_alpha(*pair, 1e-7))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert whole[0] == pytest.approx(ours[0].item(), rel=1e-12)
    assert (whole[1] - ours[1]).abs().max() > 1e-5


def test_constant_alpha_keeps_what_the_loss_gives_otherwise():
    bad = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 2], [5, 5, 1, 1], [0, 0, torch.nan, 1.0]])
    bad.requires_grad_()
    good = torch.tensor([[0, 0, 2, 1], [2, 2, 3, 4], [0, 0, 4, 4], [0, 0, 1.0, 1]])
    for given, other in (
        (bad, good),
        (bad[0], good[0]),
        (bad[:0], good[:0]),
        (bad[None].half(), good[None]),
    ):
        for reduction in ("none", "mean", "sum"):
            loss = compat.complete_box_iou_loss(given, other, reduction, constant_alpha=True)
            expected = ops.complete_box_iou_loss(given, other, reduction)
            torch.testing.assert_close(loss, expected)
    compat.complete_box_iou_loss(bad, good, "sum", constant_alpha=True).backward()
    assert bad.grad.isfinite().all()
    arrays = bad.detach().numpy(), good.numpy()
    assert np.array_equal(
        compat.complete_box_iou_loss(*arrays, constant_alpha=True),
        ops.complete_box_iou_loss(*arrays),
    )
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        compat.complete_box_iou_loss(bad, good, "max", constant_alpha=True)


def test_box_convert_gives_a_copy_and_box_iou_knows_the_formats():
    boxes = torch.from_numpy(random_boxes(np.random.default_rng(0), 9))
    same = compat.box_convert(boxes, "xyxy", "xyxy")
    assert torch.equal(same, boxes) and same.data_ptr() != boxes.data_ptr()
    array = boxes.numpy()
    assert not np.shares_memory(compat.box_convert(array, "xyxy", "xyxy"), array)
    centred = compat.box_convert(boxes, "xyxy", "cxcywh")
    torch.testing.assert_close(
        compat.box_iou(centred, centred, fmt="cxcywh"), ops.box_iou(boxes, boxes)
    )
    turned = torch.cat([centred, torch.full((9, 1), 30.0)], 1)
    corners = compat.box_convert(turned, "cxcywhr", "xyxyxyxy")
    torch.testing.assert_close(
        compat.box_iou(corners, corners, fmt="xyxyxyxy"),
        ops.box_iou_rotated(turned, turned),
        rtol=1e-4,
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="`fmt` must be one of"):
        compat.box_iou(boxes, boxes, fmt="yxyx")


def test_sigmoid_focal_loss_is_the_paper():
    logits, targets = torch.randn(7, 3), (torch.rand(7, 3) > 0.5).float()
    p = logits.sigmoid()
    p_t = torch.where(targets == 1, p, 1 - p)
    alpha_t = torch.where(targets == 1, 0.25, 0.75)
    expected = -alpha_t * (1 - p_t) ** 2 * p_t.log()
    torch.testing.assert_close(compat.sigmoid_focal_loss(logits, targets), expected)
    mean = compat.sigmoid_focal_loss(logits, targets, reduction="mean")
    torch.testing.assert_close(mean, expected.mean())
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        compat.sigmoid_focal_loss(logits, targets, reduction="max")
    loss = lambda t: compat.sigmoid_focal_loss(t, targets.double())  # noqa: E731
    assert_differentiable(loss, logits.double())


needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="torchvision is not installed: `make compat` runs this beside it",
)


@needs_torchvision
def test_signatures_begin_as_those_of_torchvision(tmp_path):
    names = [n for n in compat.__all__ if n not in ("install", "patch", "patched", "unpatch")]
    code = f"""
import inspect
from sightline.compat import torchvision as compat
compat.install()
import torchvision
for name in {names!r}:
    print(name, *(f"{{p.name}}={{p.default}}" for p in
        inspect.signature(getattr(torchvision.ops, name)).parameters.values()), sep="|")
"""
    for line in run_beside(tmp_path, None, code).splitlines():
        name, *theirs = line.split("|")
        parameters = inspect.signature(getattr(compat, name)).parameters.values()
        ours = [f"{p.name}={p.default}" for p in parameters]
        assert ours[: len(theirs)] == theirs, name
        more = list(parameters)[len(theirs) :]
        # `fmt`, which torchvision's box_iou alone has, is one for all overlaps of ours.
        assert all(p.kind is p.KEYWORD_ONLY or p.name == "fmt" for p in more), name


@needs_torchvision
@needs_cpu_torch
def test_suppression_of_torchvision_is_ours(tmp_path):
    code = """
from sightline import ops
from sightline.compat.torchvision import install
assert install()
import torch, torchvision
torch.manual_seed(0)
boxes = torch.rand(3000, 4) * 300
boxes[:, 2:] += boxes[:, :2]
scores, labels = torch.rand(3000), torch.randint(0, 5, (3000,))
assert torch.equal(torchvision.ops.nms(boxes, scores, 0.5), ops.nms(boxes, scores, 0.5))
for some in (slice(0, 500), slice(None)):
    given = boxes[some], scores[some], labels[some], 0.5
    assert torch.equal(torchvision.ops.batched_nms(*given), ops.batched_nms(*given))
"""
    run_beside(tmp_path, None, code)


@needs_torchvision
@needs_cpu_torch
@pytest.mark.parametrize(
    "name",
    [
        "retinanet_resnet50_fpn",
        "ssdlite320_mobilenet_v3_large",
        "ssd300_vgg16",
        "fcos_resnet50_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    ],
)
def test_detectors_of_torchvision_train_and_predict(tmp_path, name):
    code = f"""
from sightline.compat.torchvision import install
install()
import torch, torchvision
torch.manual_seed(0)
settings = dict(weights=None, weights_backbone=None, num_classes=5)
if "ssd" not in {name!r}:
    settings.update(min_size=128, max_size=160)
model = getattr(torchvision.models.detection, {name!r})(**settings)
images = [torch.rand(3, 120, 130), torch.rand(3, 110, 140)]
boxes = torch.tensor([[10.0, 10, 60, 70], [50, 40, 110, 100]])
targets = [dict(boxes=boxes, labels=torch.tensor([1, 2])) for _ in images]
before = [p.clone() for p in model.parameters()]
sum(model(images, targets).values()).backward()
torch.optim.SGD(model.parameters(), 1e-3).step()
assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
assert any(not torch.equal(b, p) for b, p in zip(before, model.parameters()))
model.eval()
for part in (model, getattr(model, "roi_heads", model)):
    part.score_thresh = 0.0
with torch.no_grad():
    found = model(images)
print(*(len(f["boxes"]) for f in found))
"""
    counts = run_beside(tmp_path, None, code).split()
    assert len(counts) == 2 and all(int(count) > 0 for count in counts)
